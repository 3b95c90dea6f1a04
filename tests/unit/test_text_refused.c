// text/: tokenizer.json files that are refused, and what a hostile one is kept from.
#include "tokenizer_support.h"

#define SEQUENCE(step) "{\"type\": \"Sequence\", \"normalizers\": [" step "]}"

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct parts parts;
        enum cr_status status;
        const char *part;
    } cases[] = {
        {{.model = "{\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}"}, CR_INVALID, "id 0 is both"},
        {{.model = "{\"vocab\": {\"a\": 16777216}, \"merges\": []}"}, CR_INVALID, "must be an integer"},
        {{.model = "{\"vocab\": {\"a\": -1}, \"merges\": []}"}, CR_INVALID, "must be an integer"},
        {{.model = "{\"vocab\": {\"a\": 1.5}, \"merges\": []}"}, CR_INVALID, "must be an integer"},
        {{.model = "{\"vocab\": {\"\": 0}, \"merges\": []}"}, CR_INVALID, "empty token"},
        {{.model = "{\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]}"},
         CR_INVALID,
         "\"ab\" is not in the vocabulary"},
        {{.model = "{\"vocab\": {\"a\": 0, \"ab\": 1}, \"merges\": [\"a b\"]}"},
         CR_INVALID,
         "\"b\" is not in the vocabulary"},
        {{.model = "{\"vocab\": {\"a\": 0}, \"merges\": [\" a\"]}"}, CR_INVALID, "cyclic"},
        {{.model = "{\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"\"]]}"}, CR_INVALID, "cyclic"},
        {{.model = "{\"vocab\": {\"a\": 0}, \"merges\": [7]}"}, CR_INVALID, "merge 0 must be"},
        {{.model = "{\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"u\"}"}, CR_INVALID, "unk_token"},
        {{.model = "{\"type\": \"Unigram\", \"vocab\": []}"}, CR_UNSUPPORTED, "model \"Unigram\""},
        {{.model = "{\"vocab\": {}, \"merges\": [], \"end_of_word_suffix\": \"</w>\"}"},
         CR_UNSUPPORTED,
         "end_of_word_suffix"},
        {{.model = "{\"vocab\": {}, \"merges\": [], \"dropout\": 0.1}"}, CR_UNSUPPORTED, "dropout"},
        {{.model = "null"}, CR_INVALID, "there is no \"model\""},
        {{.normalizer = "{\"type\": \"Nmt\"}"}, CR_UNSUPPORTED, "normalizer \"Nmt\""},
        {{.normalizer = "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"\"}"},
         CR_UNSUPPORTED,
         "Replace"},
        {{.splitter = "{\"type\": \"BertPreTokenizer\"}"},
         CR_UNSUPPORTED,
         "pre_tokenizer \"BertPreTokenizer\""},
        {{.splitter = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "expression"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a{1,2}+\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "after"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?R)\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "group"},
        {{.splitter = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Odd\"}"},
         CR_UNSUPPORTED,
         "\"Odd\""},
        {{.processor = "{\"type\": \"BertProcessing\"}"},
         CR_UNSUPPORTED,
         "post_processor \"BertProcessing\""},
        {{.normalizer = "{\"type\": \"Prepend\", \"prepend\": 1}"},
         CR_INVALID,
         "normalizer: \"prepend\" must be a string"},
        {{.decoder = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"a\"}"},
         CR_INVALID,
         "decoder: Replace of an empty string"},
        {{.normalizer = "{\"type\": \"Sequence\", \"normalizers\": {}}"}, CR_INVALID, "without a list"},
        {{.normalizer = SEQUENCE(SEQUENCE(
              SEQUENCE(SEQUENCE(SEQUENCE(SEQUENCE(SEQUENCE(SEQUENCE(SEQUENCE("{\"type\": \"NFC\"}")))))))))},
         CR_INVALID,
         "nested too deep"},
        {{.decoder = "{\"type\": \"WordPiece\"}"}, CR_UNSUPPORTED, "decoder \"WordPiece\""},
        {{.added = "[" ADDED(1, "a", "") "]"}, CR_INVALID, "contradicts"},
        {{.added = "[" ADDED(0, "x", "") "]"}, CR_INVALID, "contradicts"},
        {{.added = "[" ADDED(8, "x", "") "]"}, CR_UNSUPPORTED, "has id 8, where Transformers gives it 7"},
        {{.added = "[" ADDED(2, "c", "") "," ADDED(7, "x", "") "," ADDED(7, "y", "") "]"},
         CR_UNSUPPORTED,
         "\"y\" has id 7, where Transformers gives it 8"},
        {{.added = "[" ADDED(7, "", "") "]"}, CR_INVALID, "\"content\""},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\p{L\"}, \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "no \"}\" after offset 0"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\\\\x{61\"}, \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "no \"}\" after offset 1"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\\\\\"}, \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "ends in a backslash"},
        {{.splitter = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a\"}, \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "has no \"]\""},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\h\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\h at offset 0 is not"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\z]\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\z at offset 1 is not"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\W]\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\W at offset 1 is not"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\b]\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\b at offset 1 is not"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\pL\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\p at"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\x61\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\x at"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\u006\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\u at"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\u006g\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\u at"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a)\\\\1\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\\1 at"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[[:alpha:]]\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "a class within a class"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\"&&\" in a class"},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(*ACCEPT)\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "\"(*\""},
        {{.splitter =
              "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a{,3}\"}, \"behavior\": \"Isolated\"}"},
         CR_UNSUPPORTED,
         "without a lower bound"},
        {{.splitter = "{\"type\": \"Split\", \"behavior\": \"Isolated\"}"},
         CR_INVALID,
         "Split without a pattern"},
        {{.splitter = "{\"type\": \"Metaspace\", \"prepend_scheme\": \"odd\"}"},
         CR_UNSUPPORTED,
         "prepend_scheme \"odd\""},
        {{.splitter = "{\"type\": \"Metaspace\", \"replacement\": \"ab\"}"},
         CR_INVALID,
         "replacement must be one character"},
        {{.splitter = "{\"type\": \"Metaspace\", \"replacement\": \"\"}"},
         CR_INVALID,
         "replacement must be one character"},
        {{.decoder = "{\"type\": \"Strip\", \"content\": \"ab\"}"},
         CR_INVALID,
         "\"content\" must be one character"},
        {{.decoder = "{\"type\": \"Strip\", \"content\": \"\"}"},
         CR_INVALID,
         "\"content\" must be one character"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                       "\"x\"}}], \"special_tokens\": {}}"},
         CR_INVALID,
         "special token \"x\" has no ids"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                       "\"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [7]}}}"},
         CR_INVALID,
         "an id of \"x\" is outside the vocabulary"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                       "\"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [-1]}}}"},
         CR_INVALID,
         "an id of \"x\" is outside the vocabulary"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                       "\"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [\"a\"]}}}"},
         CR_INVALID,
         "an id of \"x\" is outside the vocabulary"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": {}, \"special_tokens\": {}}"},
         CR_INVALID,
         "\"single\" must be a list"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [], \"special_tokens\": {}}"},
         CR_UNSUPPORTED,
         "leaves out the text"},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\"}}, "
                       "{\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {}}"},
         CR_UNSUPPORTED,
         "part 1 of \"single\""},
        {{.processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"B\"}}], "
                       "\"special_tokens\": {}}"},
         CR_UNSUPPORTED,
         "part 0 of \"single\""},
        {{.processor = "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"TemplateProcessing\", "
                       "\"single\": [{\"SpecialToken\": {\"id\": \"x\"}}, {\"Sequence\": {\"id\": \"A\"}}], "
                       "\"special_tokens\": {\"x\": {\"ids\": [1]}}}, {\"type\": \"TemplateProcessing\", "
                       "\"single\": [{\"SpecialToken\": {\"id\": \"x\"}}, {\"Sequence\": {\"id\": \"A\"}}], "
                       "\"special_tokens\": {\"x\": {\"ids\": [1]}}}]}"},
         CR_UNSUPPORTED,
         "two templates"},
        {{.added = "{}"}, CR_INVALID, "\"added_tokens\" must be a list"},
        {{.model = "{\"vocab\": [], \"merges\": []}"}, CR_INVALID, "\"vocab\" must be an object"},
        {{.model = "{\"vocab\": {\"a\": 0}, \"merges\": {}}"}, CR_INVALID, "\"merges\" must be a list"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        assert_fails(cases[i].status, cases[i].part, parse_parts(cases[i].parts, &tokenizer));
        assert_non_null(strstr(cr_error_message(), "small.json"));
        assert_null(tokenizer);
    }
}

// Of more steps than a tokenizer has room for, and a file that is no object.
static void files_of_another_shape_are_refused(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = NULL;
    static const char *const step[] = {"{\"type\": \"NFC\"}", "{\"type\": \"Digits\"}",
                                       "{\"type\": \"Fuse\"}"};
    static const char *const part[] = {"normalizer: more than 32", "pre_tokenizer: more than 32",
                                       "decoder: more than 32"};
    static const char *const key[] = {"normalizers", "pretokenizers", "decoders"};
    for (size_t i = 0; i < 3; i++)
        for (size_t count = 32; count <= 33; count++) {
            CR_CLEANUP(cr_buffer_release) struct cr_buffer steps = {0};
            assert_ok(cr_append_format(&steps, "{\"type\": \"Sequence\", \"%s\": [", key[i]));
            for (size_t k = 0; k < count; k++)
                assert_ok(cr_append_format(&steps, "%s%s", k > 0 ? ", " : "", step[i]));
            assert_ok(cr_append_format(&steps, "]}"));
            const char *json = cr_buffer_text(&steps);
            struct parts parts = {.normalizer = i == 0 ? json : NULL,
                                  .splitter = i == 1 ? json : NULL,
                                  .decoder = i == 2 ? json : NULL};
            if (count == 32)
                assert_ok(parse_parts(parts, &tokenizer));
            else
                assert_fails(CR_INVALID, part[i], parse_parts(parts, &tokenizer));
            cr_tokenizer_free(tokenizer);
            tokenizer = NULL;
        }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer many = {0};
    for (size_t i = 0; i <= 1 << 17; i++) assert_ok(cr_append_format(&many, "%s0", i == 0 ? "[" : ","));
    assert_ok(cr_append_format(&many, "]"));
    assert_fails(CR_INVALID, "131073 added tokens are over the limit of 131072",
                 parse_parts((struct parts){.added = cr_buffer_text(&many)}, &tokenizer));
    for (int depth = 64; depth <= 65; depth++) {
        char open[66] = "", close[66] = "", split[256];
        memset(open, '(', (size_t)depth);
        memset(close, ')', (size_t)depth);
        snprintf(split, sizeof split,
                 "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"%sa%s\"}, \"behavior\": \"Isolated\"}",
                 open, close);
        const struct parts parts = {.splitter = split};
        if (depth == 64)
            assert_ok(parse_parts(parts, &tokenizer));
        else
            assert_fails(CR_INVALID, "expression: parentheses are too deeply nested",
                         parse_parts(parts, &tokenizer));
        cr_tokenizer_free(tokenizer);
        tokenizer = NULL;
    }
    assert_fails(CR_INVALID, "must be an object",
                 cr_tokenizer_parse(cr_slice_of_string("[]"), "small.json", &tokenizer));
}

// A short text becomes no long one, however many times a step repeats its content.
static void growth_is_bounded(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer step = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    assert_ok(cr_append_format(
        &step, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"%04000d\"}", 0));
    assert_ok(parse_parts(
        (struct parts){.normalizer = cr_buffer_text(&step), .decoder = cr_buffer_text(&step)}, &tokenizer));
    static const uint32_t letters[64];
    for (size_t i = 0; i < 64; i++) assert_ok(cr_append(&text, "a", 1));
    assert_ok(cr_ids_append(&ids, 7));
    assert_fails(CR_INVALID, "normalizer makes",
                 cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), false, &ids));
    assert_int_equal(ids.count, 1);
    assert_fails(CR_INVALID, "decoder makes over", cr_tokenizer_decode(tokenizer, letters, 64, false, &text));
    assert_int_equal(text.size, 64);
    cr_tokenizer_free(tokenizer);
}

static void a_hostile_expression_stops(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(parse_parts(
        (struct parts){.splitter = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a+)+b|(a|a)*c\"},"
                                   "\"behavior\": \"Isolated\"}"},
        &tokenizer));
    char text[64];
    memset(text, 'a', sizeof text);
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    assert_fails(
        CR_INVALID, "takes too long",
        cr_tokenizer_encode(tokenizer, (struct cr_slice){(unsigned char *)text, sizeof text}, false, &ids));
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(files_of_another_shape_are_refused),
        cmocka_unit_test(growth_is_bounded),
        cmocka_unit_test(a_hostile_expression_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
