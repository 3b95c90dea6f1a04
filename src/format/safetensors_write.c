#include "base/file.h"
#include "format/json.h"
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

// Data are written in one pass per element size, largest first, so that every tensor is aligned to its
// element size: PyTorch refuses unaligned views.
static const size_t element_sizes[] = {8, 4, 2, 1};
enum { PASSES = sizeof element_sizes / sizeof element_sizes[0] };

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static enum cr_status check_entries(const char *path, const struct cr_tensor_entry *entries, size_t count)
{
    CR_FREE const char **names = NULL;
    CR_TRY(cr_allocate(count, sizeof *names, &names));
    for (size_t i = 0; i < count; i++) {
        const struct cr_tensor_entry *entry = &entries[i];
        names[i] = entry->name;
        size_t size;
        if (entry->rank > CR_MAX_RANK || strcmp(entry->name, "__metadata__") == 0 ||
            !cr_tensor_size(entry, &size) || size != entry->bytes.size)
            return cr_fail(CR_INTERNAL, "%s: tensor \"%s\" to be written has a wrong name, shape or size",
                           path, entry->name);
    }
    if (count > 0) qsort(names, count, sizeof *names, by_text);
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return cr_fail(CR_INTERNAL, "%s: tensor \"%s\" would be written twice", path, names[i]);
    return CR_OK;
}

static enum cr_status append_entry(struct cr_buffer *out, const struct cr_tensor_entry *entry, size_t begin)
{
    CR_TRY(cr_append(out, ",", 1));
    CR_TRY(cr_json_append_string(out, cr_slice_of_string(entry->name)));
    CR_TRY(cr_append_format(out, ":{\"dtype\":\"%s\",\"shape\":[", cr_dtype_name(entry->dtype)));
    for (size_t d = 0; d < entry->rank; d++)
        CR_TRY(cr_append_format(out, "%s%zu", d > 0 ? "," : "", entry->shape[d]));
    return cr_append_format(out, "],\"data_offsets\":[%zu,%zu]}", begin, begin + entry->bytes.size);
}

static enum cr_status append_header(struct cr_buffer *out, const struct cr_tensor_entry *entries,
                                    size_t count)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "{\"__metadata__\":{\"format\":\"pt\"}"));
    size_t begin = 0;
    for (size_t pass = 0; pass < PASSES; pass++) {
        for (size_t i = 0; i < count; i++) {
            if (cr_dtype_size(entries[i].dtype) != element_sizes[pass]) continue;
            CR_TRY(append_entry(&text, &entries[i], begin));
            begin += entries[i].bytes.size;
        }
    }
    CR_TRY(cr_append(&text, "}", 1));
    // Pads with spaces to the widest element's alignment, as the format allows.
    while (text.size % element_sizes[0] != 0) CR_TRY(cr_append(&text, " ", 1));
    CR_TRY(cr_append_u64(out, text.size));
    return cr_append(out, text.data, text.size);
}

static enum cr_status take_given(void *context, size_t i, struct cr_slice *bytes)
{
    *bytes = (*(const struct cr_tensor_entry *const *)context)[i].bytes;
    return CR_OK;
}

enum cr_status cr_safetensors_write(const char *path, const struct cr_tensor_entry *entries, size_t count,
                                    bool secret)
{
    return cr_safetensors_write_made(path, entries, count, secret, take_given, &entries);
}

enum cr_status
cr_safetensors_write_made(const char *path, const struct cr_tensor_entry *entries, size_t count, bool secret,
                          enum cr_status (*make)(void *context, size_t i, struct cr_slice *bytes),
                          void *context)
{
    CR_TRY(check_entries(path, entries, count));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0};
    enum cr_status status = append_header(&header, entries, count);
    if (status != CR_OK) return cr_fail_within(status, "%s", path);
    CR_CLEANUP(cr_file_abandon) struct cr_file_writer writer = {.fd = -1};
    CR_TRY(cr_file_begin(path, secret, &writer));
    CR_TRY(cr_file_append(&writer, cr_buffer_slice(&header)));
    for (size_t pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < count; i++) {
            if (cr_dtype_size(entries[i].dtype) != element_sizes[pass]) continue;
            struct cr_slice bytes;
            CR_TRY(make(context, i, &bytes));
            CR_TRY(cr_file_append(&writer, bytes));
        }
    return cr_file_commit(&writer);
}
