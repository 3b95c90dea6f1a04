// Parts of small tokenizer.json files over a, b and c, a tokenizer of bytes, and what one makes of a text.
#ifndef CARREL_TESTS_TOKENIZER_SUPPORT_H
#define CARREL_TESTS_TOKENIZER_SUPPORT_H

#include "support.h"

#include "text/tokenizer.h"
#include "text/trainer.h"

#define MODEL                                                                                                \
    "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"\u2581\": 5, "   \
    "\" \": 6},"                                                                                             \
    "\"merges\": [\"a b\", \"ab c\"]}"

#define ADDED(id, content, more) "{\"id\": " #id ", \"content\": \"" content "\"" more "}"

// Parts of a small tokenizer over a, b, c; each test changes one.
struct parts {
    const char *added, *normalizer, *splitter, *processor, *decoder, *model;
};

static inline enum cr_status parse_parts(struct parts parts, struct cr_tokenizer **out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    CR_TRY(cr_append_format(&json,
                            "{\"added_tokens\": %s, \"normalizer\": %s, \"pre_tokenizer\": %s, "
                            "\"post_processor\": %s, \"decoder\": %s, \"model\": %s}",
                            parts.added ? parts.added : "[]", parts.normalizer ? parts.normalizer : "null",
                            parts.splitter ? parts.splitter : "null",
                            parts.processor ? parts.processor : "null",
                            parts.decoder ? parts.decoder : "null", parts.model ? parts.model : MODEL));
    return cr_tokenizer_parse(cr_buffer_slice(&json), "small.json", out);
}

// Byte-level without merges: ids are <s> 0, </s> 1, then one for each byte.
static inline struct cr_tokenizer *byte_tokenizer(const char *bos)
{
    const char *const special[] = {"<s>", "</s>"};
    struct cr_bpe_options options = {
        .vocabulary = 258, .special = special, .special_count = 2, .bos = bos, .eos = "</s>"};
    struct cr_slice text = cr_slice_of_string("a");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    assert_ok(cr_bpe_train(&text, 1, &options, &json));
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(cr_tokenizer_parse(cr_buffer_slice(&json), "bytes.json", &tokenizer));
    return tokenizer;
}

// The ids, with spaces between them. `special`: with what stands around a text.
static inline void assert_ids(const struct cr_tokenizer *tokenizer, const char *text, bool special,
                              const char *wanted)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer got = {0};
    assert_ok(cr_tokenizer_encode(tokenizer, cr_slice_of_string(text), special, &ids));
    for (size_t i = 0; i < ids.count; i++)
        assert_ok(cr_append_format(&got, "%s%u", i > 0 ? " " : "", ids.items[i]));
    assert_string_equal(cr_buffer_text(&got), wanted);
}

#endif
