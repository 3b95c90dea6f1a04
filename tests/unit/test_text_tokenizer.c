// text/: tokenizer.json, encoding and decoding, with small files written here.
#include "tokenizer_support.h"

#include "base/thread.h"
#include "text/tokenizer.h"

#include <stdio.h>

// SentencePiece style: byte tokens 3-258 are written by make_sentencepiece.
static const char sentencepiece_tail[] = "\"\u2581\": 259, \"a\": 260, \"b\": 261, \"ab\": 262, "
                                         "\"\u2581ab\": 263, \"\u2581a\": 264, \"\u00e4\": 265},"
                                         "\"merges\": [\"a b\", [\"\u2581\", \"ab\"], \"\u2581 a\"]}}";

static struct cr_tokenizer *make_sentencepiece(void)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    assert_ok(cr_append_format(
        &json, "{\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true},"
               "{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, \"content\": \"</s>\", "
               "\"special\": true}],"
               "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
               "\"prepend\": \"\u2581\"},"
               "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]},"
               "\"pre_tokenizer\": null, \"post_processor\": {\"type\": \"TemplateProcessing\","
               "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
               "\"A\", \"type_id\": 0}}],"
               "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},"
               "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
               "{\"String\": \"\u2581\"},"
               "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},"
               "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},"
               "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true, "
               "\"byte_fallback\": true,"
               "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, "));
    for (unsigned byte = 0; byte < 256; byte++)
        assert_ok(cr_append_format(&json, "\"<0x%02X>\": %u, ", byte, byte + 3));
    assert_ok(cr_append_format(&json, "%s", sentencepiece_tail));
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(cr_tokenizer_parse(cr_buffer_slice(&json), "small.json", &tokenizer));
    return tokenizer;
}

static void assert_text(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip,
                        const char *wanted)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer got = {0};
    assert_ok(cr_tokenizer_decode(tokenizer, ids, count, skip, &got));
    assert_string_equal(cr_buffer_text(&got), wanted);
}

static void check_parts(struct parts parts, const char *text, const char *wanted)
{
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(parse_parts(parts, &tokenizer));
    assert_ids(tokenizer, text, false, wanted);
    cr_tokenizer_free(tokenizer);
}

static void sentencepiece_style(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = make_sentencepiece();
    assert_int_equal(cr_tokenizer_vocabulary(tokenizer), 266);
    assert_ids(tokenizer, "ab", true, "1 263");
    assert_ids(tokenizer, "ab", false, "263");
    assert_ids(tokenizer, "", true, "1");
    assert_ids(tokenizer, "a ab", false, "264 263");
    assert_ids(tokenizer, "\u00e4", false, "259 265");
    assert_ids(tokenizer, "\u00fc", false, "259 198 191"); // bytes C3 BC
    assert_ids(tokenizer, "ab</s>ab", false, "263 2 263");
    const uint32_t ids[] = {1, 263, 198, 191, 263, 2};
    assert_text(tokenizer, ids, 6, true, "ab\u00fc ab");
    assert_text(tokenizer, ids, 6, false, "<s> ab\u00fc ab</s>");
    const uint32_t cut[] = {198, 263}; // half a character
    assert_text(tokenizer, cut, 2, true, "\ufffd ab");
    uint32_t bos = 9, eos = 9;
    assert_true(cr_tokenizer_bos(tokenizer, &bos) && cr_tokenizer_eos(tokenizer, &eos));
    assert_int_equal(bos, 1);
    assert_int_equal(eos, 2);
    assert_true(cr_slice_equal(cr_tokenizer_token(tokenizer, 262), cr_slice_of_string("ab")));
    assert_null(cr_tokenizer_token(tokenizer, 9999).data);
    cr_tokenizer_free(tokenizer);
}

static void a_run_of_bytes_settles_when_it_ends(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = make_sentencepiece();
    const uint32_t ids[] = {263, 13, 2, 9999, 229, 263}; // " ab", <0x0A>, </s>, none, <0xE2>, " ab"
    assert_text(tokenizer, ids, 3, true, "ab\n");
    assert_text(tokenizer, ids, 6, true, "ab\ufffd\ufffd ab");
    static const size_t settled[] = {0, 1, 1, 1, 1, 1, 6};
    for (size_t i = 0; i < sizeof settled / sizeof *settled; i++)
        assert_int_equal(cr_tokenizer_settled(tokenizer, ids, i), settled[i]);
    assert_int_equal(cr_tokenizer_settled(tokenizer, ids + 1, 4), 0);
    cr_tokenizer_free(tokenizer);
}

static void merges_go_by_rank(void **state)
{
    (void)state;
    check_parts((struct parts){0}, "abcab", "4 3");
    // "b c" ranks before "a b", so "abc" is never "ab" and "c".
    check_parts((struct parts){.model = "{\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4},"
                                        "\"merges\": [\"b c\", \"a b\"]}"},
                "abcab", "0 4 3");
    check_parts((struct parts){.model = "{\"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\"]}"}, "aaaaa",
                "1 1 0");
    // The whole piece is looked up first where merges are ignored.
    check_parts(
        (struct parts){.model =
                           "{\"ignore_merges\": true, \"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": []}"},
        "aa", "1");
    // Characters outside the vocabulary: left out, the unknown token for each, or one for a run of them.
    check_parts((struct parts){0}, "axxb", "3");
    check_parts(
        (struct parts){.model = "{\"unk_token\": \"?\", \"vocab\": {\"a\": 0, \"?\": 1}, \"merges\": []}"},
        "axxa", "0 1 1 0");
    check_parts(
        (struct parts){.model = "{\"unk_token\": \"?\", \"fuse_unk\": true, \"vocab\": {\"a\": 0, \"?\": 1},"
                                "\"merges\": []}"},
        "axxa", "0 1 0");
}

#define SPLIT(behaviour, invert)                                                                             \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"b\"}, \"behavior\": \"" behaviour                      \
    "\", \"invert\": " invert "}"

static void text_is_split_before_merging(void **state)
{
    (void)state;
    check_parts((struct parts){.splitter = SPLIT("Isolated", "false")}, "abc", "0 1 2");
    check_parts((struct parts){.splitter = SPLIT("Removed", "false")}, "abc", "0 2");
    check_parts((struct parts){.splitter = SPLIT("Removed", "true")}, "abc", "1");
    check_parts((struct parts){.splitter = SPLIT("MergedWithPrevious", "false")}, "abcb", "3 2 1");
    check_parts((struct parts){.splitter = SPLIT("MergedWithNext", "false")}, "abc", "0 1 2");
    check_parts((struct parts){.splitter = SPLIT("Contiguous", "false")}, "abbc", "0 1 1 2");
    // As in Ruby each line has a start.
    check_parts((struct parts){.splitter = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"^a\"}, "
                                           "\"behavior\": \"Removed\"}"},
                "ab\nab", "1 1");
    check_parts(
        (struct parts){.splitter =
                           "{\"type\": \"Metaspace\", \"replacement\": \"\u2581\", \"prepend_scheme\": "
                           "\"first\", \"split\": true}"},
        "ab ab", "5 3 5 3");
    check_parts((struct parts){.splitter = "{\"type\": \"Metaspace\", \"replacement\": \"\u2581\", "
                                           "\"add_prefix_space\": false}"},
                "ab", "3");
}

static void normal_forms(void **state)
{
    (void)state;
    const char *model = "{\"vocab\": {\"a\": 0, \"\u00e1\": 1, \"\u0301\": 2, \"f\": 3, \"i\": 4, "
                        "\"\u0323\": 5, \"\u1ea1\": 6},"
                        "\"merges\": []}";
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"NFC\"}"}, "a\u0301\u00e1", "1 1");
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"NFD\"}"}, "\u00e1", "0 2");
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"NFKC\"}"}, "\ufb01", "3 4");
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"NFKD\"}"}, "\ufb01\u00e1",
                "3 4 0 2");
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"NFC\"}"}, "a\u0301\u0323",
                "6 2"); // reordered
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"Lowercase\"}"}, "FIA", "3 4 0");
    check_parts((struct parts){.model = model, .normalizer = "{\"type\": \"Strip\"}"}, " \u00a0a\t", "0");
    check_parts((struct parts){.model = "{\"vocab\": {\"a\": 0, \"\u3000\": 1}, \"merges\": []}",
                               .normalizer = "{\"type\": \"Strip\"}"},
                "\u3000a\u3000", "0");
    // Before nothing nothing is put.
    check_parts((struct parts){.model = model,
                               .normalizer =
                                   "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Strip\"}, "
                                   "{\"type\": \"Prepend\", \"prepend\": \"f\"}]}"},
                " ", "");
    // What is stripped was first: what is left is not.
    const struct parts first = {.model = "{\"vocab\": {\"a\": 0, \"\u2581\": 1}, \"merges\": []}",
                                .normalizer = "{\"type\": \"Strip\"}",
                                .splitter = "{\"type\": \"Metaspace\", \"replacement\": \"\u2581\", "
                                            "\"prepend_scheme\": \"first\"}"};
    check_parts(first, "a", "1 0");
    check_parts(first, " a", "0");
}

static void added_tokens_are_cut_out(void **state)
{
    (void)state;
    check_parts((struct parts){.added = "[" ADDED(1, "b", ", \"normalized\": false") "]"}, "abc", "0 1 2");
    check_parts((struct parts){.added = "[" ADDED(7, "[A]", "") "," ADDED(8, "[A]b", "") "]"}, "a[A]bc[A]c",
                "0 8 2 7 2");
    check_parts((struct parts){.added = "[" ADDED(2, "c", ", \"single_word\": true") "]"}, "abc c ab",
                "4 6 2 6 3");
    check_parts((struct parts){.added = "[" ADDED(7, "[A]", ", \"lstrip\": true, \"rstrip\": true") "]"},
                "a [A] \t b", "0 7 1");
    // A token within the white space that the one before took, as Hugging Face has it.
    struct parts both = {.added = "[" ADDED(7, "  ", ", \"lstrip\": true, \"rstrip\": true") "]"};
    check_parts(both, "    ", "7");
    check_parts(both, "a     b", "0 7 1");
    struct parts two = {.added = "[" ADDED(7, "[A]", ", \"rstrip\": true") "," ADDED(8, "  ", "") "]"};
    check_parts(two, "a[A]   b", "0 7 8 6 1");
    check_parts(two, "[A]  \t", "7 8");
    // Numbers go on from how many the vocabulary has, were there larger ones.
    check_parts((struct parts){.added = "[" ADDED(2, "[A]", "") "]",
                               .model = "{\"vocab\": {\"a\": 0, \"b\": 5}, \"merges\": []}"},
                "a[A]b", "0 2 5");
}

// Text never becomes a special token that is not cut out: where nothing else stands for a character, or a
// byte that ByteLevel spells so, it is refused, not left out.
static void what_only_a_special_token_has_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct parts parts;
        const char *text;
    } cases[] = {
        {{.added = "[" ADDED(2, "c", ", \"special\": true, \"single_word\": true") "]"}, "ab ca"},
        {{.added = "[" ADDED(1, "\u00e9", ", \"special\": true") "]",
          .splitter = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
          .model = "{\"vocab\": {\"a\": 0, \"\u00e9\": 1}, \"merges\": []}"},
         "a\u9036"}, // whose first byte is 0xe9
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
        assert_ok(parse_parts(cases[i].parts, &tokenizer));
        assert_fails(CR_INVALID, "is a special token of this tokenizer, which has no other for it",
                     cr_tokenizer_encode(tokenizer, cr_slice_of_string(cases[i].text), true, &ids));
        cr_tokenizer_free(tokenizer);
    }
}

static void bad_texts_and_ids_are_refused(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = make_sentencepiece();
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_fails(CR_INVALID, "at byte 2",
                 cr_tokenizer_encode(tokenizer, cr_slice_of_string("ab\xff"), true, &ids));
    assert_fails(CR_INVALID, "at byte 0",
                 cr_tokenizer_encode(tokenizer, cr_slice_of_string("\xed\xa0\x80"), true, &ids));
    assert_int_equal(ids.count, 0);
    // Too long a text is refused before its first byte is read.
    assert_fails(CR_NO_MEMORY, "a text of 1073741825 bytes is over the limit",
                 cr_tokenizer_encode(tokenizer, (struct cr_slice){(const unsigned char *)"", (1u << 30) + 1},
                                     true, &ids));
    const uint32_t outside[] = {263, 266, UINT32_MAX}; // as models with longer embeddings write them
    assert_ok(cr_tokenizer_decode(tokenizer, outside, 3, false, &text));
    assert_string_equal(cr_buffer_text(&text), "ab");
    cr_tokenizer_free(tokenizer);
}

// A word of a million characters, and a million combining marks in the worst order: seconds, were either
// quadratic, would be hours.
static void long_words_are_not_quadratic(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = make_sentencepiece();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    for (size_t i = 0; i < 500000; i++) assert_ok(cr_append(&text, "ab", 2));
    assert_ok(cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), false, &ids));
    assert_int_equal(ids.count, 500000);
    cr_tokenizer_free(tokenizer);

    assert_ok(parse_parts((struct parts){.normalizer = "{\"type\": \"NFC\"}"}, &tokenizer));
    cr_buffer_clear(&text);
    for (size_t i = 0; i < 250000; i++) assert_ok(cr_append(&text, "\u0301\u0323", 4));
    ids.count = 0;
    assert_ok(cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), false, &ids));
    assert_int_equal(ids.count, 0);
    cr_tokenizer_free(tokenizer);
}

// A long piece is cut where no merge reaches across, and remembers its words; nothing of this shows.
static void long_pieces_encode_as_short_ones(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = make_sentencepiece();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    // Of the two spaces the first is a mark of its own, the second goes with its word.
    static const uint32_t wanted[] = {263, 264, 259, 198, 191, 259, 263, 259, 261};
    enum { WANTED = sizeof wanted / sizeof *wanted, TIMES = 1000 };
    for (size_t i = 0; i < TIMES; i++)
        assert_ok(cr_append_format(&text, "%sab a \u00fc  ab b", i > 0 ? " " : ""));
    assert_ok(cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), false, &ids));
    assert_int_equal(ids.count, TIMES * WANTED);
    for (size_t i = 0; i < ids.count; i++) assert_int_equal(ids.items[i], wanted[i % WANTED]);
    cr_tokenizer_free(tokenizer);

    // A run of unknown characters is fused into one token, however long it is.
    assert_ok(parse_parts(
        (struct parts){.model = "{\"unk_token\": \"?\", \"fuse_unk\": true,"
                                "\"vocab\": {\"a\": 0, \"?\": 1, \"aa\": 2}, \"merges\": [\"a a\"]}"},
        &tokenizer));
    cr_buffer_clear(&text);
    ids.count = 0;
    for (size_t i = 0; i < TIMES; i++) assert_ok(cr_append(&text, "x", 1));
    assert_ok(cr_append(&text, "aaa", 3));
    assert_ok(cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), false, &ids));
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.items[0], 1);
    assert_int_equal(ids.items[1], 2);
    cr_tokenizer_free(tokenizer);
}

enum { THREADED_TEXTS = 64 };

struct threaded {
    const struct cr_tokenizer *tokenizer;
    struct cr_ids ids[THREADED_TEXTS];
};

static void encode_item(void *context, size_t i, size_t thread)
{
    (void)thread;
    struct threaded *threaded = context;
    char text[64];
    snprintf(text, sizeof text, "ab %zu abba %zu", i % 4, i % 4);
    if (cr_tokenizer_encode(threaded->tokenizer, cr_slice_of_string(text), true, &threaded->ids[i]) != CR_OK)
        threaded->ids[i].count = 0;
}

static void threads_encode_at_once(void **state)
{
    (void)state;
    struct threaded threaded = {.tokenizer = make_sentencepiece()};
    struct cr_pool *pool;
    assert_ok(cr_pool_new(4, &pool));
    cr_pool_run(pool, THREADED_TEXTS, encode_item, &threaded);
    for (size_t i = 0; i < THREADED_TEXTS; i++) {
        assert_true(threaded.ids[i].count > 0);
        assert_int_equal(threaded.ids[i].count, threaded.ids[i % 4].count);
        assert_memory_equal(threaded.ids[i].items, threaded.ids[i % 4].items,
                            threaded.ids[i].count * sizeof(uint32_t));
    }
    for (size_t i = 0; i < THREADED_TEXTS; i++) cr_ids_release(&threaded.ids[i]);
    cr_pool_free(pool);
    struct cr_tokenizer *tokenizer = (struct cr_tokenizer *)(uintptr_t)threaded.tokenizer;
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece_style),
        cmocka_unit_test(a_run_of_bytes_settles_when_it_ends),
        cmocka_unit_test(merges_go_by_rank),
        cmocka_unit_test(text_is_split_before_merging),
        cmocka_unit_test(normal_forms),
        cmocka_unit_test(added_tokens_are_cut_out),
        cmocka_unit_test(what_only_a_special_token_has_is_refused),
        cmocka_unit_test(bad_texts_and_ids_are_refused),
        cmocka_unit_test(long_words_are_not_quadratic),
        cmocka_unit_test(long_pieces_encode_as_short_ones),
        cmocka_unit_test(threads_encode_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
