#include "text/dataset.h"

#include "text/rows.h"
#include "text/template.h"

#include <stdlib.h>
#include <string.h>

struct cr_dataset {
    uint32_t *tokens; // of all examples, one after the other
    int32_t *labels;
    size_t count, capacity; // tokens
    struct entry {
        size_t start, labelled; // its tokens end where the next entry's start
    } * entries;
    size_t entry_count, entry_capacity;
    size_t skipped;
};

enum cr_status cr_alpaca_prompt(struct cr_slice instruction, struct cr_slice input, struct cr_buffer *out)
{
    const char *lead =
        input.size > 0 ? "Below is an instruction that describes a task, paired with an input that provides "
                         "further context. Write a response that appropriately completes the request."
                       : "Below is an instruction that describes a task. Write a response that appropriately "
                         "completes the request.";
    CR_TRY(cr_append_format(out, "%s\n\n### Instruction:\n", lead));
    CR_TRY(cr_append(out, instruction.data, instruction.size));
    if (input.size > 0) {
        CR_TRY(cr_append_format(out, "\n\n### Input:\n"));
        CR_TRY(cr_append(out, input.data, input.size));
    }
    return cr_append_format(out, "\n\n### Response:");
}

// The tokens of a row: special tokens, prompt (*prompt counts up to here), answer, special tokens, EOS.
static enum cr_status encode_row(const struct cr_tokenizer *tokenizer, const struct cr_row *row,
                                 bool append_eos, struct cr_buffer *text, struct cr_ids *ids, size_t *prompt)
{
    const struct cr_template *template = cr_tokenizer_template(tokenizer);
    ids->count = 0;
    *prompt = 0;
    CR_TRY(cr_ids_append_all(ids, &template->before));
    if (row->kind == CR_ROW_ALPACA) {
        cr_buffer_clear(text);
        CR_TRY(cr_alpaca_prompt(row->instruction, row->input, text));
        CR_TRY(cr_tokenizer_encode(tokenizer, cr_buffer_slice(text), false, ids));
        *prompt = ids->count;
        CR_TRY(cr_tokenizer_encode(tokenizer, row->output, false, ids));
    } else {
        CR_TRY(cr_tokenizer_encode(tokenizer, row->text, false, ids));
    }
    CR_TRY(cr_ids_append_all(ids, &template->after));
    uint32_t eos;
    bool ends = (append_eos || row->kind == CR_ROW_ALPACA) && cr_tokenizer_eos(tokenizer, &eos);
    if (ends && (ids->count == 0 || ids->items[ids->count - 1] != eos)) CR_TRY(cr_ids_append(ids, eos));
    return CR_OK;
}

static enum cr_status make_room(struct cr_dataset *dataset, size_t more)
{
    if (dataset->capacity - dataset->count < more) {
        size_t capacity = dataset->capacity + dataset->capacity / 2 + more + 4096;
        CR_TRY(cr_reallocate(capacity, sizeof *dataset->tokens, &dataset->tokens));
        CR_TRY(cr_reallocate(capacity, sizeof *dataset->labels, &dataset->labels));
        dataset->capacity = capacity;
    }
    if (dataset->entry_count == dataset->entry_capacity) {
        size_t capacity = dataset->entry_capacity + dataset->entry_capacity / 2 + 256;
        CR_TRY(cr_reallocate(capacity, sizeof *dataset->entries, &dataset->entries));
        dataset->entry_capacity = capacity;
    }
    return CR_OK;
}

// Place i predicts token i + 1, so the last place of an example has nothing to predict. Tokens before
// `masked` are no labels.
static enum cr_status add_example(struct cr_dataset *dataset, const struct cr_ids *ids, size_t count,
                                  size_t masked)
{
    CR_TRY(make_room(dataset, count));
    size_t start = dataset->count, labelled = 0;
    for (size_t i = 0; i < count; i++) {
        bool labels = i + 1 < count && i + 1 >= masked;
        dataset->tokens[start + i] = ids->items[i];
        dataset->labels[start + i] = labels ? (int32_t)ids->items[i + 1] : CR_LABEL_IGNORE;
        labelled += labels;
    }
    if (labelled == 0) {
        dataset->skipped++;
        return CR_OK;
    }
    dataset->entries[dataset->entry_count++] = (struct entry){start, labelled};
    dataset->count += count;
    return CR_OK;
}

static enum cr_status read_rows(struct cr_dataset *dataset, struct cr_row_reader *rows,
                                const struct cr_tokenizer *tokenizer,
                                const struct cr_dataset_options *options)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    while (options->limit == 0 || rows->count < options->limit) {
        bool found;
        struct cr_row row;
        CR_TRY(cr_row_reader_next(rows, &found, &row));
        if (!found) break;
        if ((row.kind == CR_ROW_ALPACA ? row.output.size : row.text.size) == 0) {
            dataset->skipped++;
            continue;
        }
        size_t prompt;
        enum cr_status status = encode_row(tokenizer, &row, options->append_eos, &text, &ids, &prompt);
        if (status != CR_OK) return cr_fail_within(status, "%s", cr_buffer_text(&rows->where));
        size_t count = ids.count < options->max_length ? ids.count : options->max_length;
        CR_TRY(add_example(dataset, &ids, count, options->train_on_prompt ? 0 : prompt));
    }
    if (dataset->entry_count > 0) return CR_OK;
    if (rows->count == 0) return cr_fail(CR_INVALID, "%s: there are no rows", rows->path);
    return cr_fail(CR_INVALID,
                   "%s: no row can be trained on: %zu are empty or have no answer within %zu tokens",
                   rows->path, dataset->skipped, options->max_length);
}

enum cr_status cr_dataset_open(const char *path, const struct cr_tokenizer *tokenizer,
                               const struct cr_dataset_options *options, struct cr_dataset **out)
{
    if (options->max_length < 2)
        return cr_fail(CR_INVALID, "%s: examples of at most %zu tokens hold nothing to predict", path,
                       options->max_length);
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    CR_TRY(cr_row_reader_open(path, &rows));
    struct cr_dataset *dataset;
    CR_TRY(cr_allocate(1, sizeof *dataset, &dataset));
    enum cr_status status = read_rows(dataset, &rows, tokenizer, options);
    if (status != CR_OK)
        cr_dataset_free(dataset);
    else
        *out = dataset;
    return status;
}

void cr_dataset_free(struct cr_dataset *dataset)
{
    if (!dataset) return;
    free(dataset->tokens);
    free(dataset->labels);
    free(dataset->entries);
    free(dataset);
}

size_t cr_dataset_count(const struct cr_dataset *dataset)
{
    return dataset->entry_count;
}

size_t cr_dataset_skipped(const struct cr_dataset *dataset)
{
    return dataset->skipped;
}

struct cr_example cr_dataset_at(const struct cr_dataset *dataset, size_t i)
{
    size_t start = dataset->entries[i].start;
    size_t end = i + 1 < dataset->entry_count ? dataset->entries[i + 1].start : dataset->count;
    return (struct cr_example){.tokens = dataset->tokens + start,
                               .labels = dataset->labels + start,
                               .count = end - start,
                               .labelled = dataset->entries[i].labelled};
}
