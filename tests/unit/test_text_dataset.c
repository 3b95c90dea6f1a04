// text/: datasets.
#include "dataset_support.h"

#include "base/signals.h"
#include "text/example.h"

#include <stdio.h>

static uint32_t id_of(const struct cr_tokenizer *tokenizer, char c)
{
    const struct cr_slice token = {(const unsigned char *)&c, 1};
    uint32_t id = 0;
    while (!cr_slice_equal(cr_tokenizer_token(tokenizer, id), token)) assert_true(++id < 512);
    return id;
}

static void text_rows_label_every_token(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text("\n{\"text\": \"ab\"}\n\n{\"text\": \"\"}\r\n{\"text\": \"c\"}", tokenizer,
                        (struct cr_dataset_options){.append_eos = true}, &dataset));
    assert_int_equal(cr_dataset_count(dataset), 2);
    assert_int_equal(cr_dataset_skipped(dataset), 1);
    struct cr_example example = cr_dataset_at(dataset, 0);
    uint32_t a = id_of(tokenizer, 'a'), b = id_of(tokenizer, 'b');
    const uint32_t tokens[] = {0, a, b, 1};
    const int32_t labels[] = {(int32_t)a, (int32_t)b, 1, CR_LABEL_IGNORE};
    assert_int_equal(example.count, 4);
    assert_int_equal(example.labelled, 3);
    assert_memory_equal(example.tokens, tokens, sizeof tokens);
    assert_memory_equal(example.labels, labels, sizeof labels);
    assert_int_equal(cr_dataset_at(dataset, 1).count, 3);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

// One that ends with the end token already is given no second one.
static void a_text_ends_once(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text("{\"text\": \"a</s>\"}", tokenizer, (struct cr_dataset_options){.append_eos = true},
                        &dataset));
    const uint32_t tokens[] = {0, id_of(tokenizer, 'a'), 1};
    struct cr_example example = cr_dataset_at(dataset, 0);
    assert_int_equal(example.count, 3);
    assert_memory_equal(example.tokens, tokens, sizeof tokens);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

static const char alpaca_rows[] = "[{\"instruction\": \"Add.\", \"input\": \"1 {2}\", \"output\": \"3\"},\n"
                                  " {\"instruction\": \"Say \\\"]}\\\".\", \"output\": \"hi\"}]\n";

static void alpaca_prompts_are_masked(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text(alpaca_rows, tokenizer, (struct cr_dataset_options){0}, &dataset));
    assert_int_equal(cr_dataset_count(dataset), 2);
    struct cr_example example = cr_dataset_at(dataset, 0);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer prompt = {0};
    assert_ok(cr_alpaca_prompt(cr_slice_of_string("Add."), cr_slice_of_string("1 {2}"), &prompt));
    assert_string_equal(
        cr_buffer_text(&prompt),
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd."
        "\n\n### Input:\n1 {2}\n\n### Response:");
    // BOS, the prompt's bytes, the answer, EOS; the last place of the prompt predicts the answer.
    assert_int_equal(example.count, 1 + prompt.size + 2);
    assert_int_equal(example.labelled, 2);
    for (size_t i = 0; i < prompt.size; i++) assert_int_equal(example.labels[i], CR_LABEL_IGNORE);
    assert_int_equal(example.labels[prompt.size], id_of(tokenizer, '3'));
    assert_int_equal(example.labels[prompt.size + 1], 1);
    assert_int_equal(example.labels[prompt.size + 2], CR_LABEL_IGNORE);
    assert_int_equal(cr_dataset_at(dataset, 1).labelled, 3);
    cr_dataset_free(dataset);

    assert_ok(open_text(alpaca_rows, tokenizer,
                        (struct cr_dataset_options){.train_on_prompt = true, .limit = 1}, &dataset));
    assert_int_equal(cr_dataset_count(dataset), 1);
    example = cr_dataset_at(dataset, 0);
    assert_int_equal(example.labelled, example.count - 1);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

// A vocabulary that lacks every character leaves nothing of a row but the EOS.
static void a_row_may_have_no_tokens_of_its_own(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = NULL;
    struct cr_dataset *dataset = NULL;
    assert_ok(
        cr_tokenizer_parse(cr_slice_of_string("{\"added_tokens\": [{\"id\": 1, \"content\": \"</s>\"}],"
                                              "\"model\": {\"vocab\": {\"\u4e2d\": 0}, \"merges\": []}}"),
                           "other.json", &tokenizer));
    assert_ok(open_text("[{\"instruction\": \"hello\", \"output\": \"\u4e2d\"},"
                        "{\"instruction\": \"hello\", \"output\": \"x\"}]",
                        tokenizer, (struct cr_dataset_options){.max_bad_rows = 1}, &dataset));
    assert_int_equal(cr_dataset_at(dataset, 0).count, 2);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

static void long_rows_are_cut(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer(NULL);
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text("{\"text\": \"abcdef\"}", tokenizer,
                        (struct cr_dataset_options){.max_length = 3, .append_eos = true}, &dataset));
    struct cr_example example = cr_dataset_at(dataset, 0);
    assert_int_equal(example.count, 3); // no BOS: the template has none
    assert_int_equal(example.tokens[0], id_of(tokenizer, 'a'));
    assert_int_equal(example.labels[1], id_of(tokenizer, 'c'));
    assert_int_equal(example.labels[2], CR_LABEL_IGNORE);
    assert_int_equal(cr_dataset_cut(dataset), 1);
    cr_dataset_free(dataset);
    // One that just fits is whole.
    assert_ok(
        open_text("{\"text\": \"abc\"}", tokenizer, (struct cr_dataset_options){.max_length = 3}, &dataset));
    assert_int_equal(cr_dataset_cut(dataset), 0);
    cr_dataset_free(dataset);
    // A prompt that fills the whole length leaves nothing to learn.
    dataset = NULL;
    assert_fails(CR_INVALID, "no answer within 20 tokens (max_length)",
                 open_text(alpaca_rows, tokenizer, (struct cr_dataset_options){.max_length = 20}, &dataset));
    assert_null(dataset);
    cr_tokenizer_free(tokenizer);
}

static void bad_rows_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "empty"},
        {" \n ", "empty"},
        {"[]", "there are no rows"},
        {"{\"text\": \"\"}", "no row is of use"},
        {"{\"question\": \"a\", \"answer\": \"b\", \"context\": \"c\"}", ":1: \"context\": what"},
        {"{\"question\": \"a\", \"answer\": \"b\", \"choices\": [\"b\", \"c\"]}", ":1: \"choices\": what"},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"options\": {\"A\": \"b\"}}", ":1: \"options\": what"},
        {"{\"text\": \"a\"}\n{\"text\": 7}\n", ":2: \"text\" must be a string"},
        {"{\"text\": \"a\"}\n{\"txet\": \"a\"}\n", ":2: \"text\" is missing"},
        {"{\"prompt\": \"a\"}", ":1: a row needs \"text\""},
        {"{\"prompt\": \"a\", \"completion\": []}", ":1: \"completion\" must be a string"},
        {"{\"messages\": []}", ":1: \"messages\" holds no message"},
        {"{\"messages\": [7]}", ":1: message 1: \"role\" and \"content\" must be strings"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", ":1: message 1: \"role\" is \"tool\""},
        {"{\"conversations\": [{\"from\": \"gpt\", \"value\": null}]}", ":1: message 1: \"from\" and"},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"a\"]]}", ":1: \"history\" must be"},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"system\": \"c\"}", ":1: \"system\" and \"history\""},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": \"c\"}", ":1: \"history\" must be a list"},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": {\"c\": 1}}", ":1: \"history\" must be a"},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"tools\": [{}]}", ":1: \"tools\": calls of tools"},
        {"{\"instruction\": \"a\"}", ":1: \"output\" is missing"},
        {"[{\"text\": \"a\"},\n{\"text\": null}]", ":2: item 2: \"text\" must be a string"},
        {"[{\"text\": \"a\"} {\"text\": \"b\"}]", "\",\" or \"]\" is wanted"},
        {"[{\"text\": \"a\"},]", "item 2: an object is wanted"},
        {"[{\"text\": \"a\"}] x", "more after the array"},
        {"[{\"text\": \"a\"", ":1:"},
        {"[, {\"text\": \"a\"}]", "item 1: an object is wanted"},
        {"[7]", ":1: item 1: a row must be an object"},
        {"7", ":1: a row must be an object"},
        {"{\"text\": \"a\"\n", ":1:"},
        {"{\"text\": \"a\xff\"}\n", ":1:"},
        {"{\"text\": \"a\", \"text\": \"b\"}\n", ":1:"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_dataset *dataset = NULL;
        assert_fails(CR_INVALID, cases[i].part,
                     open_text(cases[i].text, tokenizer, (struct cr_dataset_options){0}, &dataset));
        assert_non_null(strstr(cr_error_message(), path));
        assert_null(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

// What says of a message, or beside the messages, that other things are to be learned than are.
static void what_is_not_learned_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *user, *assistant, *row, *part;
    } cases[] = {
        {"", ", \"weight\": 0.5", "", ":1: message 2: \"weight\" must be 0 or 1"},
        {"", ", \"weight\": \"1\"", "", ":1: message 2: \"weight\" must be 0 or 1"},
        {"", ", \"weight\": 0", "", ": no row is of use"},
        {"", ", \"train\": false", "", ": no row is of use"},
        {"", ", \"training\": 0", "", ":1: message 2: \"training\" must be true or false"},
        {", \"train\": true", "", "", ":1: message 1: \"train\" must be false"},
        {"", ", \"tool_calls\": [{}]", "", ":1: message 2: \"tool_calls\": calls of tools"},
        {"", ", \"function_call\": {\"name\": \"f\"}", "",
         ":1: message 2: \"function_call\": calls of tools"},
        {"", ", \"reasoning_content\": \"so\"", "", ":1: message 2: \"reasoning_content\": thoughts"},
        {"", ", \"thinking\": \"so\"", "", ":1: message 2: \"thinking\": thoughts"},
        {"", "", ", \"tools\": \"[{}]\"", ":1: \"tools\": calls of tools"},
        {"", "", ", \"images\": [\"a.png\"]", ":1: \"images\": text alone"},
        {", \"weight\": 0.5, \"train\": false, \"training\": null", // what one who is not learned weighs
         ", \"weight\": 1, \"train\": true, \"tool_calls\": [], \"function_call\": null",
         ", \"tools\": \"[]\"", NULL},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct cr_dataset *dataset = NULL;
        snprintf(text, sizeof text,
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"%s}, {\"role\": \"assistant\", "
                 "\"content\": \"a\"%s}]%s}",
                 cases[i].user, cases[i].assistant, cases[i].row);
        enum cr_status status =
            open_text(text, tokenizer, (struct cr_dataset_options){.chat_template = CR_CHAT_PLAIN}, &dataset);
        if (cases[i].part)
            assert_fails(CR_INVALID, cases[i].part, status);
        else
            assert_ok(status);
        cr_dataset_free(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

// A ShareGPT conversation may have been cut out of a longer one; of one by "messages" nothing is left out.
static void one_who_speaks_before_the_user(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"z\"}, {\"role\": \"user\", \"content\": "
         "\"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}",
         ":1: message 1 is of assistant where user is to speak"},
        {"{\"conversations\": [{\"from\": \"gpt\", \"value\": \"z\"}]}", ":1: there is no message of a user"},
        {"{\"conversations\": [{\"from\": \"gpt\", \"value\": \"y\"}, {\"from\": \"gpt\", \"value\": "
         "\"z\"}]}",
         "is of assistant where user is to speak"},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cr_dataset *dataset = NULL;
        assert_fails(CR_INVALID, wrong[i][1],
                     open_text(wrong[i][0], tokenizer,
                               (struct cr_dataset_options){.chat_template = CR_CHAT_PLAIN}, &dataset));
    }
    cr_tokenizer_free(tokenizer);
}

static void a_zero_byte_is_a_character(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(open_text("{\"text\": \"a\\u0000b\"}", tokenizer, (struct cr_dataset_options){0}, &dataset));
    struct cr_example example = cr_dataset_at(dataset, 0);
    assert_int_equal(example.count, 4);
    assert_ok(cr_tokenizer_decode(tokenizer, example.tokens, example.count, true, &text));
    assert_int_equal(text.size, 3);
    assert_memory_equal(text.data, "a\0b", 3);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

static void conversations_are_told_by_their_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
        enum cr_chat_template template;
        bool train_on_prompt;
    } cases[] = {
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", "
         "\"content\": \"a\"}]}",
         "<s>q\n[a</s>", CR_CHAT_PLAIN, false},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": "
         "\"a\"}, {\"from\": \"human\", \"value\": \"r\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}",
         "<s>q\n[a</s>]r\n[b</s>", CR_CHAT_PLAIN, false},
        {"{\"conversations\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
         "\"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}], \"system\": \"other\"}",
         "<s>[s\nq\na</s>", CR_CHAT_PLAIN, true},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": "
         "\"a\"}], \"system\": \"s\"}",
         "<s>s\nq\n[a</s>", CR_CHAT_PLAIN, false},
        {"{\"conversations\": [{\"from\": \"gpt\", \"value\": \"z\"}, {\"from\": \"human\", \"value\": "
         "\"q\"}, {\"from\": \"gpt\", \"value\": \"a\"}], \"system\": \"s\"}",
         "<s>s\nq\n[a</s>", CR_CHAT_PLAIN, false},
        {"{\"instruction\": \"q\", \"input\": \"i\", \"output\": \"a\", \"system\": \"s\", \"history\": "
         "[[\"h\", \"g\"]]}",
         "<s>s\nh\n[g</s>]q\ni\n[a</s>", CR_CHAT_PLAIN, false},
        {"{\"instruction\": \"\", \"input\": \"i\", \"output\": \"a\"}", "<s>i\n[a</s>", CR_CHAT_PLAIN,
         false},
        {"{\"question\": \"q\", \"answer\": \"a\"}", "<s>q\n[a</s>", CR_CHAT_PLAIN, false},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"</s>\"}, {\"role\": \"assistant\", "
         "\"content\": \"a\"}]}",
         "<s>[INST] </s> [/INST][ a </s>", CR_CHAT_LLAMA2, false},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_dataset *dataset = NULL;
        assert_ok(open_text(cases[i].text, tokenizer,
                            (struct cr_dataset_options){.chat_template = cases[i].template,
                                                        .train_on_prompt = cases[i].train_on_prompt},
                            &dataset));
        assert_shown(cases[i].wanted, tokenizer, cr_dataset_at(dataset, 0));
        cr_dataset_free(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

static void label_words_are_the_labels(void **state)
{
    (void)state;
    static const char *const by_place[] = {"bad", "good"}, *const by_name[] = {"neg=bad", "pos=good"};
    const char *rows[] = {"sentence\tlabel\nok then\t1\r\n\nno\t0\n", "ok then\tpos\nno\tneg"};
    char tabs[] = "/tmp/carrel-dataset-XXXXXX.tsv";
    int fd = mkstemps(tabs, 4);
    assert_true(fd >= 0 && close(fd) == 0);
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    for (size_t i = 0; i < 2; i++) {
        struct cr_dataset_options options = {.max_length = 64,
                                             .label_words = i == 0 ? by_place : by_name,
                                             .label_count = 2,
                                             .label_prompt = "<{text}>:"};
        write_text(tabs, rows[i]);
        assert_ok(cr_dataset_open(tabs, tokenizer, &options, &dataset));
        assert_int_equal(cr_dataset_count(dataset), 2);
        assert_int_equal(cr_dataset_choices(dataset), 1);
        assert_shown("<s><ok then>:[ good", tokenizer, cr_dataset_at(dataset, 0));
        assert_shown("<s><no>:[ bad", tokenizer, cr_dataset_at(dataset, 1));
        cr_dataset_free(dataset);

        options.all_choices = true;
        options.max_length = 15; // the longer row does not fit with both words
        assert_ok(cr_dataset_open(tabs, tokenizer, &options, &dataset));
        assert_int_equal(cr_dataset_skipped(dataset), 1);
        assert_int_equal(cr_dataset_count(dataset), 2);
        assert_int_equal(cr_dataset_choices(dataset), 2);
        assert_shown("<s><no>:[ good", tokenizer, cr_dataset_at(dataset, 1));
        assert_true(cr_dataset_at(dataset, 0).right && !cr_dataset_at(dataset, 1).right);
        cr_dataset_free(dataset);
    }
    static const char *const wrong[][3] = {{"bad", "1=", "label \"1=\" has an empty word"},
                                           {"same", "1=same", "two labels have the word \"same\""},
                                           {"x=a", "x=b", "label \"x\" has two words"},
                                           {"a", "0=b", "label \"0\" has two words"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct cr_dataset_options options = {
            .max_length = 64, .label_words = wrong[i], .label_count = 2, .label_prompt = "{text}"};
        assert_fails(CR_INVALID, wrong[i][2], cr_dataset_open(tabs, tokenizer, &options, &dataset));
    }
    static const struct {
        const char *rows, *prompt, *part;
        size_t words;
    } cases[] = {
        {"a\t2", "{text}", ":1: label \"2\" is of no label word", 2},
        {"a\t0\nb", "{text}", ":2: a sentence, one TAB", 2},
        {"a\t0\t1", "{text}", ":1: a sentence, one TAB", 2},
        {"a\t0", "{txet}", "has no {text}", 2},
        {"a\t0", "{text}", "data.label_words", 0},
        {"\xff\t0", "{text}", ":1: text is not UTF-8", 2},
        {"sentence\tlabel\n", "{text}", "there are no rows", 2},
        {"a\t0\nb\tlabel\n", "{text}", ":2: label \"label\" is of no label word", 2}, // no heading
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cr_dataset_options options = {.max_length = 64,
                                                   .label_words = by_place,
                                                   .label_count = cases[i].words,
                                                   .label_prompt = cases[i].prompt};
        write_text(tabs, cases[i].rows);
        assert_fails(CR_INVALID, cases[i].part, cr_dataset_open(tabs, tokenizer, &options, &dataset));
    }
    cr_tokenizer_free(tokenizer);
    assert_int_equal(unlink(tabs), 0);
}

// "10" is never likelier than the "1" that it begins with, unless something ends that.
static void label_words_that_begin_others(void **state)
{
    (void)state;
    static const char *const words[] = {"10=10", "1=1"}, *const same[] = {"10=10", "x=10 "};
    char tabs[] = "/tmp/carrel-dataset-XXXXXX.tsv";
    int fd = mkstemps(tabs, 4);
    assert_true(fd >= 0 && close(fd) == 0);
    write_text(tabs, "a\t10\nb\t10\n");
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    struct cr_dataset_options options = {.max_length = 64,
                                         .label_words = words,
                                         .label_count = 2,
                                         .label_prompt = "{text}:",
                                         .all_choices = true,
                                         .max_bad_rows = 9};
    assert_fails(CR_UNSUPPORTED, ":1: the tokens of label word \"1=1\" begin those of \"10=10\"",
                 cr_dataset_open(tabs, tokenizer, &options, &dataset));
    options.label_words = same;
    assert_fails(CR_UNSUPPORTED, "label word \"10=10\" begin those of \"x=10 \"",
                 cr_dataset_open(tabs, tokenizer, &options, &dataset));
    options.chat_template = CR_CHAT_PLAIN;
    assert_ok(cr_dataset_open(tabs, tokenizer, &options, &dataset));
    cr_dataset_free(dataset);
    options.chat_template = CR_CHAT_DEFAULT;
    options.all_choices = false;
    assert_ok(cr_dataset_open(tabs, tokenizer, &options, &dataset));
    assert_int_equal(cr_dataset_count(dataset), 2);
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
    // Nor can two be told apart that are the same tokens.
    static const char *const alike[] = {"10=A", "x=a"};
    assert_ok(cr_tokenizer_parse(
        cr_slice_of_string(
            "{\"normalizer\": {\"type\": \"Lowercase\"}, \"model\": {\"vocab\": {\"a\": 0, \"b\": "
            "1, \":\": 2, \" \": 3}, \"merges\": []}}"),
        "lower.json", &tokenizer));
    options.label_words = alike;
    options.all_choices = true;
    assert_fails(CR_UNSUPPORTED, "label word \"10=A\" begin those of \"x=a\"",
                 cr_dataset_open(tabs, tokenizer, &options, &dataset));
    cr_tokenizer_free(tokenizer);
    assert_int_equal(unlink(tabs), 0);
}

static void some_bad_rows_are_passed_over(void **state)
{
    (void)state;
    static const char rows[] = "{\"text\": \"a\"}\n{\"text\": 7}\n{\"text\": \n{\"text\": \"b\"}\nx\n";
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text(rows, tokenizer, (struct cr_dataset_options){.max_bad_rows = 3}, &dataset));
    assert_int_equal(cr_dataset_count(dataset), 2);
    assert_int_equal(cr_dataset_bad_rows(dataset), 3);
    assert_non_null(strstr(cr_dataset_first_bad(dataset), ":2: \"text\" must be a string; "));
    assert_non_null(strstr(cr_dataset_first_bad(dataset), ":5:"));
    cr_dataset_free(dataset);
    dataset = NULL;
    assert_fails(CR_INVALID, "more than 2 bad rows",
                 open_text(rows, tokenizer, (struct cr_dataset_options){.max_bad_rows = 2}, &dataset));
    assert_non_null(strstr(cr_error_message(), ":3:"));
    // Three of them are shown, however many there are.
    assert_ok(open_text("1\n2\n3\n4\n{\"text\": \"b\"}\n", tokenizer,
                        (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
    assert_int_equal(cr_dataset_bad_rows(dataset), 4);
    assert_non_null(strstr(cr_dataset_first_bad(dataset), ":3: "));
    assert_null(strstr(cr_dataset_first_bad(dataset), ":4: "));
    cr_dataset_free(dataset);
    // A first row that is bad tells no kind.
    assert_ok(open_text("{\"txet\": \"a\"}\n{\"text\": \"b\"}", tokenizer,
                        (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
    cr_dataset_free(dataset);
    assert_ok(open_text("[{\"text\": 7}, {\"text\": \"b\"}]", tokenizer,
                        (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
    assert_int_equal(cr_dataset_bad_rows(dataset), 1);
    cr_dataset_free(dataset);
    dataset = NULL;
    assert_fails(
        CR_INVALID, "the others are bad",
        open_text("{\"text\": 7}", tokenizer, (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
    // Of a file of messages, whichever key they have.
    assert_ok(open_text(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", "
        "\"content\": \"a\"}]}\n{\"text\": \"b\"}",
        tokenizer, (struct cr_dataset_options){.max_bad_rows = 9, .chat_template = CR_CHAT_PLAIN}, &dataset));
    assert_non_null(
        strstr(cr_dataset_first_bad(dataset), ":2: \"messages\" (or \"conversations\") is missing"));
    cr_dataset_free(dataset);
    dataset = NULL;
    // What the settings lack is no row's fault.
    assert_fails(CR_UNSUPPORTED, ":1: messages need a chat template",
                 open_text("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n{\"text\": \"b\"}",
                           tokenizer, (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
    cr_tokenizer_free(tokenizer);
}

// Whatever stands between the commas of an array is a row; what has no end cannot be passed over.
static void bad_items_of_an_array_are_passed_over(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"text\": \"a\\ud800\"}",
                                      "{\"text\" 7}",
                                      "{\"text\": [}",
                                      "7",
                                      "null",
                                      "\"],\"",
                                      "[[1, 2], {}]",
                                      "[{]",
                                      "x }"};
    static const char *const endless[] = {"{\"text\": \"a\"} 7", "{\"text\": {}", "\"", "[", ""};
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    char text[128];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "[{\"text\": \"ab\"}, %s , {\"text\": \"ok\"}]", bad[i]);
        assert_ok(open_text(text, tokenizer, (struct cr_dataset_options){.max_bad_rows = 1}, &dataset));
        assert_int_equal(cr_dataset_bad_rows(dataset), 1);
        assert_int_equal(cr_dataset_count(dataset), 2);
        cr_dataset_free(dataset);
    }
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        dataset = NULL;
        snprintf(text, sizeof text, "[{\"text\": \"ab\"}, %s, {\"text\": \"ok\"}]", endless[i]);
        assert_fails(CR_INVALID, path,
                     open_text(text, tokenizer, (struct cr_dataset_options){.max_bad_rows = 9}, &dataset));
        assert_null(dataset);
    }
    cr_tokenizer_free(tokenizer);
}

// Lines and columns are the file's, however a row lies in it.
static void bad_rows_are_placed_in_their_file(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } cases[] = {
        {"{\"text\": \"a\"}\n  {\"text\": \"\u00e9\xff\"}", ":2:14: invalid UTF-8"},
        {"[{\"text\": \"\u00e9\"}, {\"text\": \"\xff\"}]", ":1:27: invalid UTF-8"},
        {"[\n {\n  \"text\":\n   \"\xff\"\n }\n]", ":4:5: invalid UTF-8"},
        {"[\n {\n  \"text\": 7\n }\n]", ":2: item 1: \"text\" must be"},
        {"[{\"text\": \"a\"},\n{\"text\": x}]", ":2:10: "},
    };
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char wanted[128];
        struct cr_dataset *dataset = NULL;
        snprintf(wanted, sizeof wanted, "%s%s", path, cases[i].place);
        assert_fails(CR_INVALID, wanted,
                     open_text(cases[i].text, tokenizer, (struct cr_dataset_options){0}, &dataset));
    }
    cr_tokenizer_free(tokenizer);
}

static void reading_ends_where_a_stop_is_asked_for(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    cr_stop_ask();
    assert_fails(CR_CANCELLED, "stopped after 0 rows were read",
                 open_text("{\"text\": \"ab\"}", tokenizer, (struct cr_dataset_options){0}, &dataset));
    assert_null(dataset);
    cr_tokenizer_free(tokenizer);
}

// A mark that stands before a text alone (Metaspace's "first") stands behind the BOS of every kind of row, as
// it does where the text is encoded by itself.
static void a_text_begins_behind_bos(void **state)
{
    (void)state;
    const char *words[] = {"b"};
    struct cr_dataset_options options = {.label_words = words, .label_count = 1, .label_prompt = "{text}:"};
    struct cr_slice a = cr_slice_of_string("the cat"), b = cr_slice_of_string(" b");
    const struct {
        struct cr_row row;
        const char *text;
        size_t more; // tokens behind it
    } cases[] = {{{.kind = CR_ROW_COMPLETION, .text = a, .output = b}, "the cat b", 1},
                 {{.kind = CR_ROW_LABELLED, .text = a}, "the cat: b", 0}};
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(cr_tokenizer_open("tests/golden/templates/metaspace", &tokenizer));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
        CR_CLEANUP(cr_encoded_release) struct cr_encoded encoded = {0};
        assert_ok(cr_tokenizer_encode(tokenizer, cr_slice_of_string(cases[i].text), true, &ids));
        assert_ok(cr_row_encode(&cases[i].row, 0, tokenizer, &options, &encoded));
        assert_int_equal(encoded.ids.count, ids.count + cases[i].more);
        assert_memory_equal(encoded.ids.items, ids.items, ids.count * sizeof *ids.items);
        assert_int_equal(encoded.labelled.count, encoded.ids.count);
        assert_int_equal(encoded.labelled.items[0], 0);
    }
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_begins_behind_bos),
        cmocka_unit_test(text_rows_label_every_token),
        cmocka_unit_test(a_text_ends_once),
        cmocka_unit_test(alpaca_prompts_are_masked),
        cmocka_unit_test(a_row_may_have_no_tokens_of_its_own),
        cmocka_unit_test(long_rows_are_cut),
        cmocka_unit_test(bad_rows_are_named),
        cmocka_unit_test(what_is_not_learned_is_refused),
        cmocka_unit_test(one_who_speaks_before_the_user),
        cmocka_unit_test(a_zero_byte_is_a_character),
        cmocka_unit_test(conversations_are_told_by_their_keys),
        cmocka_unit_test(label_words_are_the_labels),
        cmocka_unit_test(label_words_that_begin_others),
        cmocka_unit_test(some_bad_rows_are_passed_over),
        cmocka_unit_test(bad_items_of_an_array_are_passed_over),
        cmocka_unit_test(bad_rows_are_placed_in_their_file),
        cmocka_unit_test(reading_ends_where_a_stop_is_asked_for), // last: the process keeps it
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
