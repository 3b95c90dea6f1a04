// Datasets out of texts, and what is learned of them.
#ifndef CARREL_TESTS_DATASET_SUPPORT_H
#define CARREL_TESTS_DATASET_SUPPORT_H

#include "support.h"

#include "base/file.h"
#include "text/dataset.h"
#include "tokenizer_support.h"

#include <stdio.h>

static char path[] = "/tmp/carrel-dataset-XXXXXX";

static inline int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static inline int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static inline enum cr_status open_text(const char *text, const struct cr_tokenizer *tokenizer,
                                       struct cr_dataset_options options, struct cr_dataset **out)
{
    write_text(path, text);
    if (options.max_length == 0) options.max_length = 512;
    return cr_dataset_open(path, tokenizer, &options, out);
}

// What each row reads as, shown as the text of its tokens with the labels in brackets.
static inline void assert_shown(const char *wanted, const struct cr_tokenizer *tokenizer,
                                struct cr_example example)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    bool within = false;
    for (size_t i = 0; i < example.count; i++) {
        bool label = i > 0 && example.labels[i - 1] != CR_LABEL_IGNORE;
        if (label != within) assert_ok(cr_append(&text, label ? "[" : "]", 1));
        within = label;
        assert_ok(cr_tokenizer_decode(tokenizer, &example.tokens[i], 1, false, &text));
    }
    assert_string_equal(cr_buffer_text(&text), wanted);
}

#endif
