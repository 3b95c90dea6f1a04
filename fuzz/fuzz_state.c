// A hostile file of a saved run. The checksum at its end is put right first, so that the fuzzer gets past it.
#include "crypto/hash.h"
#include "tuning/state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_state state;
    unsigned char *bytes = malloc(size + 1);
    if (!bytes) return 0;
    if (size > 0) memcpy(bytes, data, size);
    if (size > CR_SHA256_SIZE) {
        size_t covered = size - CR_SHA256_SIZE;
        if (cr_sha256((struct cr_slice){bytes, covered}, bytes + covered) != CR_OK) abort();
    }
    if (cr_state_parse((struct cr_slice){bytes, size}, "state", &state) == CR_OK) {
        // The slices lie inside the bytes.
        volatile unsigned char sum = 0;
        for (size_t i = 0; i < state.values.size; i++) sum = (unsigned char)(sum + state.values.data[i]);
        for (size_t k = 0; k < state.moment_count; k++)
            for (size_t i = 0; i < state.moments[k].size; i++)
                sum = (unsigned char)(sum + state.moments[k].data[i]);
    }
    free(bytes);
    return 0;
}
