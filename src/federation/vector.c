#include "federation/vector.h"

#include "base/secret.h"

#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values go over the wire as they lie in memory");

enum cr_status cr_vector_new(size_t count, struct cr_vector **out)
{
    struct cr_vector *vector;
    CR_TRY(cr_allocate(1, sizeof *vector, &vector));
    enum cr_status status = cr_secret_allocate(count, sizeof *vector->values, &vector->values);
    if (status != CR_OK) {
        free(vector);
        return status;
    }
    vector->count = count;
    vector->references = 1;
    *out = vector;
    return CR_OK;
}

struct cr_vector *cr_vector_hold(struct cr_vector *vector)
{
    vector->references++;
    return vector;
}

void cr_vector_release(void *held)
{
    struct cr_vector *vector = held;
    if (!vector || --vector->references > 0) return;
    (vector->again ? cr_secret_keep : cr_secret_free)(&vector->values);
    free(vector);
}

enum cr_status cr_vector_digest(const struct cr_vector *vector, unsigned char out[CR_SHA256_SIZE])
{
    return cr_sha256(cr_vector_slice(vector, 0, vector->count), out);
}

struct cr_slice cr_vector_slice(const struct cr_vector *vector, size_t first, size_t count)
{
    return (struct cr_slice){(const unsigned char *)(vector->values + first), count * sizeof(float)};
}

bool cr_vector_has_chunk(const struct cr_vector *vector, uint64_t first, uint64_t count)
{
    if (first >= vector->count || count == 0 || count > CR_CHUNK) return false;
    return count <= vector->count - first;
}
