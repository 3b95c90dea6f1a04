// Any bytes as settings: refused, or what is written from them reads back to the same canonical bytes. What
// follows a zero byte is set as one key's value, as a command line does.
#include "fuzz_support.h"

#include "format/options.h"

#include <stdlib.h>
#include <string.h>

struct record {
    char *name;
    size_t weight;
};

struct settings {
    char *path;
    bool on;
    int mode;
    uint64_t seed;
    size_t r;
    double rate;
    struct cr_string_list modules;
    struct cr_size_list layers;
    struct cr_record_list records;
};

static const char *const modes[] = {"lora", "full", NULL};

static const struct cr_option record_options[] = {
    {.key = "name", .type = CR_OPTION_STRING, .offset = offsetof(struct record, name), .required = true},
    {.key = "a.weight", .type = CR_OPTION_SIZE, .offset = offsetof(struct record, weight), .most = 9},
};
static const struct cr_option_table record_table = {record_options, 2, sizeof(struct record)};

#define AT(member) .offset = offsetof(struct settings, member)
static const struct cr_option options[] = {
    {.key = "path", .type = CR_OPTION_STRING, AT(path)},
    {.key = "on", .type = CR_OPTION_BOOL, AT(on), .fallback = "true"},
    {.key = "mode", .type = CR_OPTION_CHOICE, AT(mode), .choices = modes},
    {.key = "a.seed", .type = CR_OPTION_SEED, AT(seed)},
    {.key = "a.b.r", .type = CR_OPTION_SIZE, AT(r), .fallback = "8", .least = 1, .most = 64},
    {.key = "a.b.rate", .type = CR_OPTION_NUMBER, AT(rate), .fallback = "1e-8"},
    {.key = "modules", .type = CR_OPTION_STRINGS, AT(modules), .fallback = "[q_proj, v_proj]"},
    {.key = "layers", .type = CR_OPTION_SIZES, AT(layers)},
    {.key = "records", .type = CR_OPTION_RECORDS, AT(records), .records = &record_table},
};
static const struct cr_option_table table = {options, sizeof options / sizeof *options,
                                             sizeof(struct settings)};

static void rewrite(const struct settings *settings)
{
    struct cr_buffer first = {0}, second = {0};
    struct settings again;
    check(cr_options_write(&table, settings, &first) == CR_OK);
    check(cr_options_parse(&table, cr_buffer_slice(&first), "again", &again, NULL) == CR_OK);
    check(cr_options_write(&table, &again, &second) == CR_OK);
    check(cr_slice_equal(cr_buffer_slice(&first), cr_buffer_slice(&second)));
    cr_options_release(&table, &again);
    cr_buffer_release(&first);
    cr_buffer_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t length = zero ? (size_t)(zero - data) : size;
    struct settings settings;
    if (cr_options_parse(&table, (struct cr_slice){data, length}, "fuzz", &settings, NULL) != CR_OK) return 0;
    rewrite(&settings);
    if (zero) {
        char *value = strndup((const char *)zero + 1, size - length - 1);
        check(value != NULL);
        for (size_t i = 0; i < table.count; i++)
            if (cr_options_set(&table, &settings, options[i].key, value) == CR_OK) rewrite(&settings);
        free(value);
    }
    cr_options_release(&table, &settings);
    return 0;
}
