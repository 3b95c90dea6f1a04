#include "text/row_block.h"

#include <stdlib.h>

enum {
    ROWS = 64,         // rows of a block, for each thread
    BYTES = 1 << 18,   // bytes after which a block takes no more rows, for each thread
    KEPT_IDS = 1 << 14 // ids for which an encoding keeps its memory for the next row
};

struct cr_row_block {
    struct cr_row_reader *rows;
    const struct cr_tokenizer *tokenizer;
    const struct cr_dataset_options *options;
    size_t threads, count, capacity;
    struct cr_row_parser *parsers; // [threads]
    struct cr_encoded_row *items;  // [capacity]
    struct cr_encoded *encoded;    // [capacity * cr_row_choices]
};

size_t cr_row_choices(const struct cr_dataset_options *options)
{
    return options->all_choices ? cr_most(1, options->label_count) : 1;
}

enum cr_status cr_row_block_new(struct cr_row_reader *rows, const struct cr_tokenizer *tokenizer,
                                const struct cr_dataset_options *options, struct cr_row_block **out)
{
    CR_CLEANUP(cr_row_block_release) struct cr_row_block *block = NULL;
    CR_TRY(cr_allocate(1, sizeof *block, &block));
    size_t threads = cr_pool_threads(options->pool), choices = cr_row_choices(options);
    *block = (struct cr_row_block){.rows = rows,
                                   .tokenizer = tokenizer,
                                   .options = options,
                                   .threads = threads,
                                   .capacity = threads * ROWS};
    CR_TRY(cr_allocate(threads, sizeof *block->parsers, &block->parsers));
    CR_TRY(cr_allocate(block->capacity, sizeof *block->items, &block->items));
    CR_TRY(cr_allocate(block->capacity * choices, sizeof *block->encoded, &block->encoded));
    for (size_t i = 0; i < block->capacity; i++) block->items[i].encoded = block->encoded + i * choices;
    *out = block;
    block = NULL;
    return CR_OK;
}

void cr_row_block_release(struct cr_row_block **out)
{
    struct cr_row_block *block = *out;
    *out = NULL;
    if (!block) return;
    for (size_t i = 0; block->parsers && i < block->threads; i++) cr_row_parser_release(&block->parsers[i]);
    for (size_t i = 0; block->items && i < block->capacity; i++) cr_buffer_release(&block->items[i].why);
    for (size_t i = 0; block->encoded && i < block->capacity * cr_row_choices(block->options); i++)
        cr_encoded_release(&block->encoded[i]);
    free(block->parsers);
    free(block->items);
    free(block->encoded);
    free(block);
}

// For a tokenizer that has more tokens than its model: checks the ids that occur in the data.
static enum cr_status check_tokens(const struct cr_row_block *block, const struct cr_ids *ids)
{
    size_t vocabulary = block->options->vocabulary, count = cr_least(ids->count, block->options->max_length);
    for (size_t i = 0; vocabulary > 0 && i < count; i++)
        if (ids->items[i] >= vocabulary)
            return cr_fail(CR_UNSUPPORTED,
                           "token %u of the tokenizer's %zu is outside the model's vocabulary of %zu",
                           ids->items[i], cr_tokenizer_vocabulary(block->tokenizer), vocabulary);
    return CR_OK;
}

static enum cr_status encode(const struct cr_row_block *block, const struct cr_row *row,
                             struct cr_encoded_row *item)
{
    bool labelled = row->kind == CR_ROW_LABELLED;
    size_t right = 0, choices = labelled ? cr_row_choices(block->options) : 1;
    if (labelled) CR_TRY(cr_row_choice(row, block->options, &right));
    for (size_t i = 0; i < choices; i++) {
        CR_TRY(
            cr_row_encode(row, choices > 1 ? i : right, block->tokenizer, block->options, &item->encoded[i]));
        CR_TRY(check_tokens(block, &item->encoded[i].ids));
    }
    item->right = choices > 1 ? right : 0;
    return CR_OK;
}

static void encode_item(void *context, size_t i, size_t thread)
{
    const struct cr_row_block *block = context;
    struct cr_row_parser *parser = &block->parsers[thread];
    struct cr_encoded_row *item = &block->items[i];
    struct cr_row row;
    if (item->status != CR_OK) return;
    item->status = cr_row_parse(parser, &item->item, &row);
    if (item->status == CR_OK) {
        item->kind = row.kind;
        item->status = encode(block, &row, item);
        if (item->status != CR_OK) (void)cr_row_fail_at(&parser->form, &item->item, item->status);
    }
    if (item->status != CR_OK && cr_append_format(&item->why, "%s", cr_error_message()) != CR_OK)
        item->status = CR_NO_MEMORY;
}

// Takes rows for a block. Until one row could be read, which decides on the kind of all, a block has one row.
static enum cr_status take_rows(struct cr_row_block *block, size_t most)
{
    struct cr_row_reader *rows = block->rows;
    const struct cr_row_form *form = &rows->parser.form;
    bool is_told = form->kind != CR_ROW_UNKNOWN || form->lines_of_tabs;
    most = cr_least(most, is_told ? block->capacity : 1);
    for (size_t bytes = 0; block->count < most && bytes < block->threads * BYTES;) {
        struct cr_encoded_row *item = &block->items[block->count];
        bool found = true;
        cr_buffer_clear(&item->why);
        item->kind = CR_ROW_UNKNOWN;
        item->status = cr_row_reader_take(rows, &found, &item->item);
        item->broken = rows->broken;
        if (!found) return CR_OK;
        block->count++;
        bytes += item->item.text.size;
        if (item->status != CR_OK) return cr_append_format(&item->why, "%s", cr_error_message());
        if (item->broken) return CR_OK;
    }
    return CR_OK;
}

enum cr_status cr_row_block_next(struct cr_row_block *block, size_t most, const struct cr_encoded_row **out,
                                 size_t *count)
{
    size_t encoded = block->capacity * cr_row_choices(block->options);
    for (size_t i = 0; i < encoded; i++)
        if (block->encoded[i].ids.capacity > KEPT_IDS) {
            cr_encoded_release(&block->encoded[i]);
            block->encoded[i] = (struct cr_encoded){0};
        }
    block->count = 0;
    CR_TRY(take_rows(block, most));
    for (size_t i = 0; i < block->threads; i++) block->parsers[i].form = block->rows->parser.form;
    cr_pool_run(block->options->pool, block->count, encode_item, block);
    if (block->count > 0 && block->items[0].kind != CR_ROW_UNKNOWN)
        block->rows->parser.form.kind = block->items[0].kind;
    block->rows->broken = false;
    *out = block->items;
    *count = block->count;
    return CR_OK;
}
