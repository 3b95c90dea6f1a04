// text/: rows of TRL's, and files that hold none.
#include "dataset_support.h"

#include "text/rows.h"

static void prompts_and_completions(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
        enum cr_chat_template template;
    } cases[] = {
        {"{\"prompt\": \"q\", \"completion\": \" a\"}", "<s>q[ a</s>", CR_CHAT_DEFAULT},
        {"{\"prompt\": \"\", \"completion\": \"a\"}", "<s>[a</s>", CR_CHAT_DEFAULT},
        {"{\"prompt\": \"q\", \"completion\": \"a\"}", "<s>q\n[a</s>", CR_CHAT_PLAIN},
        {"{\"prompt\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
         "\"q\"}], \"completion\": [{\"role\": \"assistant\", \"content\": \"a\"}]}",
         "<s>s\nq\n[a</s>", CR_CHAT_PLAIN},
        // What a prompt has of the assistant is no part of the completion.
        {"{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": "
         "\"a\"}, {\"role\": \"user\", \"content\": \"r\"}], \"completion\": [{\"role\": \"assistant\", "
         "\"content\": \"b\"}]}",
         "<s>q\na</s>r\n[b</s>", CR_CHAT_PLAIN},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": "
         "\"a\"}, {\"role\": \"user\", \"content\": \"r\"}, {\"role\": \"assistant\", \"content\": \"b\", "
         "\"weight\": 0}]}",
         "<s>q\n[a</s>]r\nb</s>", CR_CHAT_PLAIN},
        // What stands beside a conversation is not one of these rows.
        {"{\"prompt\": \"p\", \"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
         "\"assistant\", \"content\": \"a\"}]}",
         "<s>q\n[a</s>", CR_CHAT_PLAIN},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_dataset *dataset = NULL;
        assert_ok(open_text(cases[i].text, tokenizer,
                            (struct cr_dataset_options){.chat_template = cases[i].template}, &dataset));
        assert_shown(cases[i].wanted, tokenizer, cr_dataset_at(dataset, 0));
        cr_dataset_free(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

// A prompt and its completion are one text: they are cut into tokens together.
static void a_token_may_lie_in_both(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = NULL;
    struct cr_dataset *dataset = NULL;
    assert_ok(cr_tokenizer_parse(
        cr_slice_of_string("{\"added_tokens\": [{\"id\": 4, \"content\": \"</s>\"}], \"model\": {\"vocab\": "
                           "{\"a\": 0, \"b\": 1, \"ab\": 2, \"c\": 3}, \"merges\": [\"a b\"]}}"),
        "pair.json", &tokenizer));
    assert_ok(open_text("{\"prompt\": \"ca\", \"completion\": \"bc\"}", tokenizer,
                        (struct cr_dataset_options){0}, &dataset));
    assert_shown("c[abc</s>", tokenizer, cr_dataset_at(dataset, 0));
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

static void messages_in_the_wrong_part(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"[{\"role\": \"assistant\", \"content\": \"z\"}], \"completion\": [{\"role\": \"assistant\", "
         "\"content\": \"a\"}]",
         ":1: message 1 is of assistant where user is to speak"},
        {"[{\"role\": \"user\", \"content\": \"q\"}], \"completion\": [{\"role\": \"user\", \"content\": "
         "\"a\"}]",
         ":1: message 2: all of a \"completion\" is learned"},
        {"[{\"role\": \"user\", \"content\": \"q\"}], \"completion\": \"a\"",
         ":1: \"completion\" must be a list of messages"},
        {"[], \"completion\": []", ":1: \"prompt\" must be a list of messages"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        struct cr_dataset *dataset = NULL;
        snprintf(text, sizeof text, "{\"prompt\": %s}", wrong[i][0]);
        assert_fails(CR_INVALID, wrong[i][1],
                     open_text(text, tokenizer, (struct cr_dataset_options){.chat_template = CR_CHAT_PLAIN},
                               &dataset));
    }
    cr_tokenizer_free(tokenizer);
}

static void files_of_another_kind(void **state)
{
    (void)state;
    static const char *const others[][3] = {
        {"rows.jsonl.gz", "\x1f\x8b\x08", ": gzip, not JSONL or a JSON array (gunzip it first)"},
        {"rows.jsonl", "version https://git-lfs.github.com/spec/v1\noid",
         ": a Git LFS pointer, not the file"},
        {"rows.parquet", "PAR1\x15", ": Parquet, not JSONL"},
        {"rows.jsonl", "\xff\xfe{", ": UTF-16, not JSONL"},
        {"rows.csv", "instruction,output\na,b\n", ": CSV, not JSONL"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    char directory[] = "/tmp/carrel-rows-XXXXXX", file[64];
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct cr_dataset *dataset = NULL;
        snprintf(file, sizeof file, "%s/%s", directory, others[i][0]);
        write_text(file, others[i][1]);
        assert_fails(
            CR_INVALID, others[i][2],
            cr_dataset_open(file, tokenizer, &(struct cr_dataset_options){.max_length = 8}, &dataset));
        assert_non_null(strstr(cr_error_message(), file));
        unlink(file);
    }
    rmdir(directory);
    cr_tokenizer_free(tokenizer);
}

static void a_byte_order_mark_is_no_text(void **state)
{
    (void)state;
    static const char *const files[] = {
        "\xef\xbb\xbf{\"prompt\": \"q\", \"completion\": \"a\"}\n",
        "\xef\xbb\xbf[{\"prompt\": \"q\", \"completion\": \"a\"}]\n",
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct cr_dataset *dataset = NULL;
        assert_ok(open_text(files[i], tokenizer, (struct cr_dataset_options){0}, &dataset));
        assert_shown("<s>q[a</s>", tokenizer, cr_dataset_at(dataset, 0));
        cr_dataset_free(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

// Whoever reads them one by one meets what training does.
static void all_rows_are_of_the_first_ones_kind(void **state)
{
    (void)state;
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    struct cr_row row;
    bool found;
    write_text(path, "{\"text\": \"a\"}\n{\"prompt\": \"q\", \"completion\": \"a\"}");
    assert_ok(cr_row_reader_open(path, &rows));
    assert_ok(cr_row_reader_next(&rows, &found, &row));
    assert_fails(CR_INVALID, ":2: \"text\" is missing", cr_row_reader_next(&rows, &found, &row));
}

// What a row that cannot be read says goes into logs and run directories.
static void no_more_of_a_row_is_told_than_40_bytes(void **state)
{
    (void)state;
#define FORTY "0123456789012345678901234567890123456789"
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_fails(CR_INVALID, "\"role\" is \"" FORTY "\": ",
                 open_text("{\"messages\": [{\"role\": \"" FORTY "x\", \"content\": \"a\"}]}", tokenizer,
                           (struct cr_dataset_options){0}, &dataset));
    assert_fails(CR_INVALID, "duplicate object key",
                 open_text("{\"" FORTY "\": 1, \"" FORTY "\": 2}", tokenizer, (struct cr_dataset_options){0},
                           &dataset));
    assert_null(strstr(cr_error_message(), FORTY));
    static const char *const words[] = {"no", "yes"};
    const struct cr_dataset_options options = {
        .max_length = 64, .label_words = words, .label_count = 2, .label_prompt = "{text}"};
    char tabs[] = "/tmp/carrel-dataset-XXXXXX.tsv";
    int fd = mkstemps(tabs, 4);
    assert_true(fd >= 0 && close(fd) == 0);
    write_text(tabs, "a\t" FORTY "x\n");
    assert_fails(CR_INVALID, "label \"" FORTY "\" is of no label word",
                 cr_dataset_open(tabs, tokenizer, &options, &dataset));
    assert_int_equal(unlink(tabs), 0);
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_and_completions),
        cmocka_unit_test(a_token_may_lie_in_both),
        cmocka_unit_test(messages_in_the_wrong_part),
        cmocka_unit_test(files_of_another_kind),
        cmocka_unit_test(a_byte_order_mark_is_no_text),
        cmocka_unit_test(all_rows_are_of_the_first_ones_kind),
        cmocka_unit_test(no_more_of_a_row_is_told_than_40_bytes),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
