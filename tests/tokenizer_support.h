// Parts of small tokenizer.json files over a, b and c.
#ifndef CARREL_TESTS_TOKENIZER_SUPPORT_H
#define CARREL_TESTS_TOKENIZER_SUPPORT_H

#include "support.h"

#define MODEL                                                                                                \
    "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"\u2581\": 5, "   \
    "\" \": 6},"                                                                                             \
    "\"merges\": [\"a b\", \"ab c\"]}"

#define ADDED(id, content, more) "{\"id\": " #id ", \"content\": \"" content "\"" more "}"

#endif
