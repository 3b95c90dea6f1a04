// A hostile dataset file: whatever is accepted keeps the promises of dataset.h.
#include "text/dataset.h"
#include "text/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cr_tokenizer *make_tokenizer(void)
{
    const char *const special[] = {"<s>", "</s>"};
    struct cr_bpe_options options = {
        .vocabulary = 260, .special = special, .special_count = 2, .bos = "<s>", .eos = "</s>"};
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_tokenizer *tokenizer;
    if (!tokenizer) tokenizer = make_tokenizer();
    int fd = memfd_create("dataset", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int option = 0; option < 2; option++) {
        struct cr_dataset_options options = {
            .max_length = option ? 16 : 1024, .train_on_prompt = option, .append_eos = !option};
        struct cr_dataset *dataset = NULL;
        if (cr_dataset_open(path, tokenizer, &options, &dataset) != CR_OK) continue;
        if (cr_dataset_count(dataset) == 0) abort();
        for (size_t i = 0; i < cr_dataset_count(dataset); i++)
            check_example(cr_dataset_at(dataset, i), options.max_length);
        cr_dataset_free(dataset);
    }
    close(fd);
    return 0;
}
