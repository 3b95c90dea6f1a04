// Any bytes as a safetensors file: refused, or every byte of data belongs to exactly one tensor.
#include "fuzz_support.h"

#include "format/safetensors.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_safetensors *file = NULL;
    if (cr_safetensors_parse((struct cr_slice){data, size}, "fuzz", &file) != CR_OK) return 0;
    size_t total = 0;
    unsigned sum = 0;
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_at(file, i);
        check(cr_safetensors_find(file, entry->name) == entry);
        check(entry->rank <= CR_MAX_RANK);
        size_t bits = cr_dtype_bits(entry->dtype);
        for (size_t d = 0; d < entry->rank; d++) bits *= entry->shape[d];
        check(bits == entry->bytes.size * 8);
        for (size_t b = 0; b < entry->bytes.size; b++) sum += entry->bytes.data[b];
        total += entry->bytes.size;
    }
    uint64_t header = 0;
    memcpy(&header, data, sizeof header);
    check(total == size - sizeof header - header);
    static volatile unsigned kept;
    kept = sum;
    (void)kept;
    cr_safetensors_free(file);
    return 0;
}
