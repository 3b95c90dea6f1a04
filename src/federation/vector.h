// Values on their way: a vector of fp32 that several connections may be sending at once.
#ifndef CARREL_FEDERATION_VECTOR_H
#define CARREL_FEDERATION_VECTOR_H

#include "base/bytes.h"
#include "crypto/hash.h"

// Values per Values message: its body's bound.
enum { CR_CHUNK = (1 << 20) / sizeof(float) };

// Counted references, on one thread. Whoever holds one may read; values change only while one alone holds it.
struct cr_vector {
    float *values; // [count]; secret
    size_t count;
    size_t references;
    bool again; // a silo's, which has one a round: its pages are kept for the next (cr_secret_keep)
};

enum cr_status cr_vector_new(size_t count, struct cr_vector **out); // zeros, one reference
struct cr_vector *cr_vector_hold(struct cr_vector *vector);
void cr_vector_release(void *vector); // of struct cr_vector; wiped with the last reference; NULL is allowed

// SHA-256 over the values as little-endian float32.
enum cr_status cr_vector_digest(const struct cr_vector *vector, unsigned char out[CR_SHA256_SIZE]);

// The bytes of `count` values from `first` on.
struct cr_slice cr_vector_slice(const struct cr_vector *vector, size_t first, size_t count);

// The piece of `count` values that begins at `first` is not empty, wholly inside, and at most a chunk long.
bool cr_vector_has_chunk(const struct cr_vector *vector, uint64_t first, uint64_t count);

#endif
