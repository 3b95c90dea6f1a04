#include "text/dataset.h"

#include "base/clock.h"
#include "base/signals.h"
#include "base/words.h"
#include "text/row_block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    size_t start, labelled; // its tokens end where the next entry's begin
    bool right;
};

struct cr_dataset {
    uint32_t *tokens; // of all examples, one after the other
    int32_t *labels;
    size_t count, capacity; // tokens
    struct entry *entries;
    size_t entry_count, entry_capacity;
    size_t skipped, cut;
    size_t choices;
    size_t bad_rows;
    bool chats;
    struct cr_buffer first_bad;
};

enum { BAD_ROWS_SHOWN = 3 };
static const double seconds_between = 1; // between two progress events

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

// Place i predicts token i + 1, so the last place of an example has nothing to predict.
static enum cr_status add_example(struct cr_dataset *dataset, const struct cr_encoded *encoded,
                                  const struct cr_dataset_options *options, bool right)
{
    size_t count = cr_least(encoded->ids.count, options->max_length);
    CR_TRY(make_room(dataset, count));
    size_t start = dataset->count, labelled = 0;
    for (size_t i = 0; i < count; i++) {
        bool labels = i + 1 < count && (options->train_on_prompt || encoded->labelled.items[i + 1]);
        dataset->tokens[start + i] = encoded->ids.items[i];
        dataset->labels[start + i] = labels ? (int32_t)encoded->ids.items[i + 1] : CR_LABEL_IGNORE;
        labelled += labels;
    }
    dataset->entries[dataset->entry_count++] = (struct entry){start, labelled, right};
    dataset->count += count;
    return CR_OK;
}

// Choices are compared by the sum of their tokens' log-probabilities, so a word whose tokens are a prefix of
// another's would never be less likely than the other. `first`: the example with the first label word.
static enum cr_status check_choices(const struct cr_dataset *dataset, size_t first,
                                    const struct cr_dataset_options *options)
{
    for (size_t i = 0; i < dataset->choices; i++)
        for (size_t j = 0; j < dataset->choices; j++) {
            struct cr_example one = cr_dataset_at(dataset, first + i);
            struct cr_example other = cr_dataset_at(dataset, first + j);
            if (i == j || one.count > other.count ||
                memcmp(one.tokens, other.tokens, one.count * sizeof *one.tokens) != 0)
                continue;
            return cr_fail(CR_UNSUPPORTED,
                           "the tokens of label word \"%.40s\" begin those of \"%.40s\", which can therefore "
                           "not be told from it: a chat template, whose end token ends the word "
                           "(data.chat_template), or other words (data.label_words) help",
                           options->label_words[i], options->label_words[j]);
        }
    return CR_OK;
}

// Adds the examples of one row: all of them, or none if one has nothing to predict.
static enum cr_status add_row(struct cr_dataset *dataset, const struct cr_encoded_row *row,
                              const struct cr_dataset_options *options)
{
    size_t first = dataset->entry_count, count = dataset->count;
    bool labelled = row->kind == CR_ROW_LABELLED;
    dataset->choices = labelled ? cr_row_choices(options) : 1;
    dataset->chats = row->kind == CR_ROW_CHAT;
    for (size_t k = 0; k < dataset->choices; k++) {
        const struct cr_encoded *encoded = &row->encoded[k];
        enum cr_status status = add_example(dataset, encoded, options, k == row->right);
        bool whole = status == CR_OK && dataset->entries[first + k].labelled > 0;
        // A truncated label word is another word.
        if (labelled && encoded->ids.count > options->max_length) whole = false;
        if (whole) continue;
        dataset->entry_count = first;
        dataset->count = count;
        dataset->skipped += status == CR_OK;
        return status;
    }
    for (size_t k = 0; k < dataset->choices; k++)
        dataset->cut += row->encoded[k].ids.count > options->max_length;
    return check_choices(dataset, first, options);
}

// Skips a row that could not be read or encoded, if max_bad_rows allows one more. `status` and the current
// error message are the row's failure.
static enum cr_status pass_over(struct cr_dataset *dataset, const struct cr_encoded_row *row,
                                enum cr_status status, size_t allowed)
{
    if (status != CR_INVALID || row->broken || (dataset->bad_rows == 0 && allowed == 0)) return status;
    if (dataset->bad_rows < BAD_ROWS_SHOWN)
        CR_TRY(cr_append_format(&dataset->first_bad, "%s%s", dataset->bad_rows > 0 ? "; " : "",
                                cr_error_message()));
    dataset->bad_rows++;
    if (dataset->bad_rows <= allowed) return CR_OK;
    return cr_fail(CR_INVALID, "more than %zu bad row%s (data.max_bad_rows); the first: %s", allowed,
                   cr_plural(allowed), cr_buffer_text(&dataset->first_bad));
}

static enum cr_status take_in(struct cr_dataset *dataset, const struct cr_row_form *form,
                              const struct cr_encoded_row *row, const struct cr_dataset_options *options)
{
    enum cr_status status = row->status;
    if (status != CR_OK) {
        // There was no memory for the message either.
        (void)cr_fail(status, "%s", row->why.size > 0 ? cr_buffer_text(&row->why) : "out of memory: a row");
    } else {
        status = add_row(dataset, row, options);
        if (status != CR_OK) (void)cr_row_fail_at(form, &row->item, status);
    }
    return status == CR_OK ? CR_OK : pass_over(dataset, row, status, options->max_bad_rows);
}

// Between two blocks of rows.
static enum cr_status pause_between(const struct cr_row_reader *rows, const struct cr_event_sink *sink,
                                    double *told_at)
{
    const char *path = rows->parser.form.path;
    char count[CR_COUNT_SIZE];
    if (cr_stop_asked())
        return cr_fail(CR_CANCELLED, "%s: stopped after %s rows were read", path,
                       cr_count_text(rows->count, count));
    if (!sink) return CR_OK;
    double now = cr_clock_monotonic();
    if (now - *told_at < seconds_between) return CR_OK;
    *told_at = now;
    cr_emit(sink, CR_EVENT_INFO, "train.reading", NULL, CR_FIELD_TEXT("file", path),
            CR_FIELD("rows", rows->count), CR_FIELD("part", (double)rows->at / (double)rows->file.size));
    return CR_OK;
}

static enum cr_status read_rows(struct cr_dataset *dataset, struct cr_row_reader *rows,
                                const struct cr_tokenizer *tokenizer,
                                const struct cr_dataset_options *options)
{
    CR_CLEANUP(cr_row_block_release) struct cr_row_block *block = NULL;
    CR_TRY(cr_row_block_new(rows, tokenizer, options, &block));
    const struct cr_row_form *form = &rows->parser.form;
    size_t limit = options->limit > 0 ? options->limit : SIZE_MAX;
    size_t enough = options->enough > 0 ? options->enough : SIZE_MAX;
    double told_at = cr_clock_monotonic();
    while (rows->count < limit && dataset->entry_count < enough) {
        CR_TRY(pause_between(rows, options->sink, &told_at));
        const struct cr_encoded_row *row;
        size_t count, most = cr_least(limit - rows->count, enough - dataset->entry_count);
        CR_TRY(cr_row_block_next(block, most, &row, &count));
        if (count == 0) break;
        for (size_t i = 0; i < count && dataset->entry_count < enough; i++)
            CR_TRY(take_in(dataset, form, &row[i], options));
    }
    if (dataset->entry_count > 0) return CR_OK;
    if (rows->count == 0) return cr_fail(CR_INVALID, "%s: there are no rows", form->path);
    char within[64] = "";
    if (options->max_length < SIZE_MAX)
        snprintf(within, sizeof within, " within %zu tokens (max_length)", options->max_length);
    return cr_fail(CR_INVALID, "%s: no row is of use: %zu are empty or have no answer%s%s%s", form->path,
                   dataset->skipped, within, dataset->bad_rows > 0 ? ", and the others are bad: " : "",
                   cr_buffer_text(&dataset->first_bad));
}

enum cr_status cr_dataset_open(const char *path, const struct cr_tokenizer *tokenizer,
                               const struct cr_dataset_options *options, struct cr_dataset **out)
{
    if (options->max_length < 2)
        return cr_fail(CR_INVALID, "%s: examples of at most %zu tokens hold nothing to predict", path,
                       options->max_length);
    CR_TRY(cr_label_words_check(options));
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

enum cr_status cr_dataset_new(struct cr_dataset **out)
{
    CR_TRY(cr_allocate(1, sizeof **out, out));
    (*out)->choices = 1;
    return CR_OK;
}

enum cr_status cr_dataset_add(struct cr_dataset *dataset, const int32_t *labels, size_t count)
{
    struct entry entry = {.start = dataset->count, .right = true};
    CR_TRY(make_room(dataset, count));
    memset(dataset->tokens + entry.start, 0, count * sizeof *dataset->tokens);
    memcpy(dataset->labels + entry.start, labels, count * sizeof *labels);
    for (size_t i = 0; i < count; i++) entry.labelled += labels[i] != CR_LABEL_IGNORE;
    dataset->entries[dataset->entry_count++] = entry;
    dataset->count += count;
    return CR_OK;
}

void cr_dataset_free(struct cr_dataset *dataset)
{
    if (!dataset) return;
    if (dataset->tokens) cr_wipe(dataset->tokens, dataset->capacity * sizeof *dataset->tokens);
    if (dataset->labels) cr_wipe(dataset->labels, dataset->capacity * sizeof *dataset->labels);
    free(dataset->tokens);
    free(dataset->labels);
    free(dataset->entries);
    cr_buffer_release(&dataset->first_bad);
    free(dataset);
}

void cr_dataset_release(struct cr_dataset **dataset)
{
    cr_dataset_free(*dataset);
    *dataset = NULL;
}

size_t cr_dataset_count(const struct cr_dataset *dataset)
{
    return dataset->entry_count;
}

size_t cr_dataset_skipped(const struct cr_dataset *dataset)
{
    return dataset->skipped;
}

size_t cr_dataset_cut(const struct cr_dataset *dataset)
{
    return dataset->cut;
}

size_t cr_dataset_choices(const struct cr_dataset *dataset)
{
    return dataset->choices;
}

bool cr_dataset_chats(const struct cr_dataset *dataset)
{
    return dataset->chats;
}

size_t cr_dataset_memory(const struct cr_dataset *dataset)
{
    return dataset->capacity * (sizeof *dataset->tokens + sizeof *dataset->labels) +
           dataset->entry_capacity * sizeof *dataset->entries;
}

size_t cr_dataset_bad_rows(const struct cr_dataset *dataset)
{
    return dataset->bad_rows;
}

const char *cr_dataset_first_bad(const struct cr_dataset *dataset)
{
    return cr_buffer_text(&dataset->first_bad);
}

struct cr_example cr_dataset_at(const struct cr_dataset *dataset, size_t i)
{
    size_t start = dataset->entries[i].start;
    size_t end = i + 1 < dataset->entry_count ? dataset->entries[i + 1].start : dataset->count;
    return (struct cr_example){.tokens = dataset->tokens + start,
                               .labels = dataset->labels + start,
                               .count = end - start,
                               .labelled = dataset->entries[i].labelled,
                               .number = i,
                               .right = dataset->entries[i].right};
}
