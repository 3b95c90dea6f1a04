// Hostile files beside a tokenizer.json: tokenizer_config.json, special_tokens_map.json, config.json and
// generation_config.json, each up to a zero byte; an empty one is not there.
#include "text/tokenizer.h"
#include "tuning/end_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char tokenizer_json[] =
    "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}, {\"id\": 4, \"content\": "
    "\"</s>\"}],"
    "\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"\u2581\"},"
    "\"model\": {\"vocab\": {\"a\": 0, \"\u2581\": 1, \"\u2581a\": 2}, \"merges\": [\"\u2581 a\"]}}";
static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json", "config.json",
                                    "generation_config.json", "tokenizer.json"};
enum { NAMES = sizeof names / sizeof *names, HOSTILE = NAMES - 1 };
static char directory[] = "/tmp/carrel-fuzz-XXXXXX";

static const char *path_of(size_t i)
{
    static char path[80];
    snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    return path;
}

static void put(size_t i, const void *bytes, size_t size)
{
    unlink(path_of(i));
    if (size == 0) return;
    FILE *file = fopen(path_of(i), "w");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) abort();
}

static void remove_all(void)
{
    for (size_t i = 0; i < NAMES; i++) unlink(path_of(i));
    rmdir(directory);
}

static void begin(void)
{
    if (directory[strlen(directory) - 1] != 'X') return;
    if (!mkdtemp(directory) || atexit(remove_all) != 0) abort();
    put(HOSTILE, tokenizer_json, sizeof tokenizer_json - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    for (size_t i = 0; i < HOSTILE; i++) {
        const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
        size_t part = zero ? (size_t)(zero - data) : size;
        put(i, data, part);
        data += zero ? part + 1 : part;
        size -= zero ? part + 1 : part;
    }
    struct cr_tokenizer *tokenizer = NULL;
    if (cr_tokenizer_open(directory, &tokenizer) != CR_OK) return 0;
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ends = {0};
    if (cr_tokenizer_encode(tokenizer, cr_slice_of_string("a <s> a</s>a"), true, &ids) != CR_OK) abort();
    for (size_t i = 0; i < ids.count; i++)
        if (ids.items[i] >= cr_tokenizer_vocabulary(tokenizer)) abort();
    if (cr_end_tokens_read(directory, tokenizer, &ends) == CR_OK)
        for (size_t i = 0; i < ends.count; i++)
            if (ends.items[i] >= cr_tokenizer_vocabulary(tokenizer)) abort();
    cr_tokenizer_free(tokenizer);
    return 0;
}
