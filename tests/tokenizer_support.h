// Parts of small tokenizer.json files over a, b and c, and what a tokenizer makes of a text.
#ifndef CARREL_TESTS_TOKENIZER_SUPPORT_H
#define CARREL_TESTS_TOKENIZER_SUPPORT_H

#include "support.h"

#include "text/tokenizer.h"

#define MODEL                                                                                                \
    "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"\u2581\": 5, "   \
    "\" \": 6},"                                                                                             \
    "\"merges\": [\"a b\", \"ab c\"]}"

#define ADDED(id, content, more) "{\"id\": " #id ", \"content\": \"" content "\"" more "}"

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
