// text/row_block: rows come in their order and as they are, whatever the threads.
#include "temporary.h"

#include "base/file.h"
#include "text/dataset.h"
#include "text/row_block.h"
#include "tokenizer_support.h"

static const char *path;

static void write_data(const char *name, const struct cr_buffer *text)
{
    path = in_directory(name);
    write_bytes(path, cr_buffer_slice(text));
}

enum { ROWS = 3000 };

// Rows of many lengths, some of them empty, every 97th one not to be read.
static void append_row(struct cr_buffer *text, size_t i)
{
    if (i % 97 == 50) {
        assert_ok(cr_append_format(text, "{\"text\": %zu}", i));
    } else {
        assert_ok(cr_append_format(text, "{\"text\": \""));
        for (size_t n = i * 7919 % 61 * (i % 500 == 3 ? 3000 : 1); n > 0; n--)
            assert_ok(cr_append_format(text, "%c", (int)('a' + (i + n) % 26)));
        assert_ok(cr_append_format(text, "\"}"));
    }
}

static void append_lines(struct cr_buffer *text)
{
    for (size_t i = 0; i < ROWS; i++) {
        append_row(text, i);
        assert_ok(cr_append_format(text, "\n"));
    }
}

static void append_array(struct cr_buffer *text)
{
    for (size_t i = 0; i < ROWS; i++) {
        assert_ok(cr_append_format(text, "%s", i ? ",\n" : "["));
        append_row(text, i);
    }
    assert_ok(cr_append_format(text, "]\n"));
}

// Here every 89th one cannot be encoded.
static void append_tabs(struct cr_buffer *text)
{
    assert_ok(cr_append_format(text, "sentence\tlabel\n"));
    for (size_t i = 0; i < ROWS; i++)
        if (i % 97 == 50)
            assert_ok(cr_append_format(text, "no label %zu\n", i));
        else
            assert_ok(cr_append_format(text, "number %zu is\t%zu\n", i, i % 89 == 40 ? 7 : i % 3));
}

static const char *const words[] = {"none", "one", "two"};

static struct cr_dataset_options options_of(struct cr_pool *pool)
{
    return (struct cr_dataset_options){.max_length = 200000,
                                       .max_bad_rows = ROWS,
                                       .append_eos = true,
                                       .label_words = words,
                                       .label_count = 3,
                                       .label_prompt = CR_LABEL_PROMPT,
                                       .all_choices = true,
                                       .pool = pool};
}

// The examples of the file are those of its rows, read and encoded one after the other.
static void check_examples(const struct cr_dataset *dataset, const struct cr_tokenizer *tokenizer)
{
    const struct cr_dataset_options options = options_of(NULL);
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    CR_CLEANUP(cr_encoded_release) struct cr_encoded encoded = {0};
    struct cr_row row;
    size_t at = 0, bad = 0, skipped = 0;
    assert_ok(cr_row_reader_open(path, &rows));
    for (bool found = true; found;) {
        enum cr_status status = cr_row_reader_next(&rows, &found, &row);
        if (status == CR_OK && !found) break;
        size_t right = 0, choices = status == CR_OK && row.kind == CR_ROW_LABELLED ? 3 : 1;
        if (choices > 1) status = cr_row_choice(&row, &options, &right);
        for (size_t i = 0; status == CR_OK && i < choices; i++) {
            status = cr_row_encode(&row, i, tokenizer, &options, &encoded);
            if (status != CR_OK) break;
            if (encoded.ids.count < 2) {
                skipped++;
                continue;
            }
            struct cr_example example = cr_dataset_at(dataset, at++);
            assert_int_equal(example.right, i == right);
            assert_int_equal(example.count, encoded.ids.count);
            assert_memory_equal(example.tokens, encoded.ids.items, example.count * sizeof *example.tokens);
        }
        bad += status != CR_OK;
    }
    assert_true(at > ROWS / 2 && bad > ROWS / 100);
    assert_int_equal(cr_dataset_count(dataset), at);
    assert_int_equal(cr_dataset_bad_rows(dataset), bad);
    assert_int_equal(cr_dataset_skipped(dataset), skipped);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*append)(struct cr_buffer *text);
        const char *first_bad;
    } files[] = {
        {"lines.jsonl", append_lines, "lines.jsonl:51: \"text\" must be a string"},
        {"array.json", append_array, "array.json:51: item 51: \"text\" must be"},
        {"tabs.tsv", append_tabs, "tabs.tsv:42: label \"7\" is of no label word"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        files[f].append(&text);
        write_data(files[f].name, &text);
        for (size_t threads = 0; threads < 4; threads++) {
            struct cr_pool *pool = NULL;
            if (threads > 0) assert_ok(cr_pool_new(threads, &pool));
            const struct cr_dataset_options options = options_of(pool);
            struct cr_dataset *dataset = NULL;
            assert_ok(cr_dataset_open(path, tokenizer, &options, &dataset));
            check_examples(dataset, tokenizer);
            assert_non_null(strstr(cr_dataset_first_bad(dataset), files[f].first_bad));
            cr_dataset_free(dataset);

            // The same row is the first of too many, and the last of enough, whoever meets it.
            struct cr_dataset_options strict = options;
            strict.max_bad_rows = 0;
            assert_fails(CR_INVALID, files[f].first_bad, cr_dataset_open(path, tokenizer, &strict, &dataset));
            strict = options;
            strict.enough = 150;
            assert_ok(cr_dataset_open(path, tokenizer, &strict, &dataset));
            assert_int_equal(cr_dataset_count(dataset), 150);
            cr_dataset_free(dataset);
            cr_pool_free(pool);
        }
        assert_int_equal(unlink(path), 0);
    }
    cr_tokenizer_free(tokenizer);
}

// What comes before the place where an array is broken has been read.
static void a_broken_array_ends_behind_its_rows(void **state)
{
    (void)state;
    static const char *const ends[][2] = {
        {" {\"text\": \"more\"}]", "broken.json:1: item 300: \",\" or \"]\" is wanted after it"},
        {", {\"text\": \"more}]", "broken.json:1"},
        {"] []", "broken.json:1: there is more after the array"},
        {",]", "broken.json:1: item 301: an object is wanted"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_pool *pool;
    assert_ok(cr_pool_new(2, &pool));
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        for (size_t i = 0; i < 300; i++)
            assert_ok(
                cr_append_format(&text, "%s{\"text\": %s}", i ? ", " : "[", i == 7 ? "7" : "\"seven\""));
        assert_ok(cr_append_format(&text, "%s", ends[e][0]));
        write_data("broken.json", &text);
        struct cr_dataset_options options = options_of(pool);
        struct cr_dataset *dataset = NULL;
        assert_fails(CR_INVALID, ends[e][1], cr_dataset_open(path, tokenizer, &options, &dataset));
        options.max_bad_rows = 0; // an earlier row's failure comes first
        assert_fails(CR_INVALID, "broken.json:1: item 8: \"text\" must be a string",
                     cr_dataset_open(path, tokenizer, &options, &dataset));
        options.max_bad_rows = 1;
        options.limit = 200;
        assert_ok(cr_dataset_open(path, tokenizer, &options, &dataset));
        assert_int_equal(cr_dataset_count(dataset), 199);
        cr_dataset_free(dataset);
        assert_int_equal(unlink(path), 0);
    }
    cr_pool_free(pool);
    cr_tokenizer_free(tokenizer);
}

// A tokenizer may be larger than its model: what data have of it must be the model's, as far as it is kept.
static void tokens_beyond_the_model_are_refused(void **state)
{
    (void)state;
    path = in_directory("beyond");
    write_text(path, "{\"text\": \"ab\"}\n");
    struct cr_tokenizer *tokenizer = byte_tokenizer(NULL);
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    assert_ok(cr_tokenizer_encode(tokenizer, cr_slice_of_string("ab"), false, &ids));
    assert_true(ids.count == 2 && ids.items[1] == ids.items[0] + 1);
    struct cr_dataset_options options = {.max_length = 3, .vocabulary = ids.items[1]};
    struct cr_dataset *dataset = NULL;
    assert_fails(CR_UNSUPPORTED, "is outside the model's vocabulary",
                 cr_dataset_open(path, tokenizer, &options, &dataset));
    options.vocabulary++;
    assert_ok(cr_dataset_open(path, tokenizer, &options, &dataset));
    cr_dataset_free(dataset);
    options.vocabulary--;
    options.max_length = 2;
    write_text(path, "{\"text\": \"aab\"}\n");
    assert_ok(cr_dataset_open(path, tokenizer, &options, &dataset)); // without its b
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_broken_array_ends_behind_its_rows),
        cmocka_unit_test(tokens_beyond_the_model_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
