// A hostile dataset file: whatever is accepted keeps the promises of dataset.h. The first byte chooses the
// chat template, and whether the rest is a .tsv.
#include "text/dataset.h"
#include "text/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct cr_tokenizer *make_tokenizer(void)
{
    const char *const special[] = {"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>"};
    struct cr_bpe_options options = {
        .vocabulary = 266, .special = special, .special_count = 5, .bos = "<s>", .eos = "</s>"};
    struct cr_slice text = cr_slice_of_string("the other");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    struct cr_tokenizer *tokenizer = NULL;
    if (cr_bpe_train(&text, 1, &options, &json) != CR_OK ||
        cr_tokenizer_parse(cr_buffer_slice(&json), "fuzz", &tokenizer) != CR_OK)
        abort();
    return tokenizer;
}

static void check_example(struct cr_example example, size_t max_length)
{
    size_t labelled = 0;
    if (example.count == 0 || example.count > max_length) abort();
    for (size_t i = 0; i < example.count; i++) {
        if (example.labels[i] == CR_LABEL_IGNORE) continue;
        if (i + 1 == example.count || example.labels[i] != (int32_t)example.tokens[i + 1]) abort();
        labelled++;
    }
    if (labelled != example.labelled || labelled == 0) abort();
}

static void check_dataset(const struct cr_dataset *dataset, const struct cr_dataset_options *options)
{
    size_t count = cr_dataset_count(dataset), choices = cr_dataset_choices(dataset);
    if (count == 0 || choices == 0 || count % choices != 0) abort();
    if (cr_dataset_bad_rows(dataset) > options->max_bad_rows) abort();
    for (size_t i = 0; i < count; i++) check_example(cr_dataset_at(dataset, i), options->max_length);
    for (size_t i = 0; i < count; i += choices) {
        size_t right = 0;
        for (size_t k = 0; k < choices; k++) right += cr_dataset_at(dataset, i + k).right;
        if (right != 1) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_tokenizer *tokenizer;
    static struct cr_pool *pool;
    static char path[64], tabs[64];
    static const char *const words[] = {"the", "x=other"};
    if (!tokenizer) {
        tokenizer = make_tokenizer();
        if (cr_pool_new(2, &pool) != CR_OK) abort();
        // The name tells a .tsv, so the same memory needs a second one.
        int fd = memfd_create("dataset", 0);
        if (fd < 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        snprintf(tabs, sizeof tabs, "/tmp/carrel-fuzz-%d.tsv", (int)getpid());
    }
    if (size == 0) return 0;
    int fd = atoi(path + sizeof "/proc/self/fd/" - 1);
    bool tsv = data[0] & 8;
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data + 1, size - 1, 0) != (ssize_t)(size - 1)) abort();
    if (tsv && symlink(path, tabs) != 0) abort();
    for (int option = 0; option < 2; option++) {
        struct cr_dataset_options options = {
            .max_length = option ? 16 : 1024,
            .train_on_prompt = option,
            .append_eos = !option,
            .chat_template = (enum cr_chat_template)((data[0] & 7) % CR_CHAT_TEMPLATES),
            .label_words = words,
            .label_count = 2,
            .label_prompt = CR_LABEL_PROMPT,
            .all_choices = option,
            .max_bad_rows = option ? 0 : 2,
            .pool = option ? NULL : pool,
        };
        struct cr_dataset *dataset = NULL;
        if (cr_dataset_open(tsv ? tabs : path, tokenizer, &options, &dataset) != CR_OK) continue;
        check_dataset(dataset, &options);
        cr_dataset_free(dataset);
    }
    if (tsv) unlink(tabs);
    return 0;
}
