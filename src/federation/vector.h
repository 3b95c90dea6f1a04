// A vector of float32 values that several connections may be sending at the same time.
#ifndef CARREL_FEDERATION_VECTOR_H
#define CARREL_FEDERATION_VECTOR_H

#include "base/bytes.h"
#include "crypto/hash.h"

// Values in one Values message: as many as its body may hold.
enum { CR_CHUNK = (1 << 20) / sizeof(float) };

// Reference-counted, on one thread. Every holder may read; values may change only while there is one
// reference.
struct cr_vector {
    float *values; // [count]; secret
    size_t count;
    size_t references;
    bool again; // keep its pages for the next vector: a silo needs one each round (cr_secret_keep)
};

enum cr_status cr_vector_new(size_t count, struct cr_vector **out); // zeros, one reference
struct cr_vector *cr_vector_hold(struct cr_vector *vector);
void cr_vector_release(void *vector); // a struct cr_vector; wipes with the last reference; NULL is allowed

// SHA-256 of the values as little-endian float32.
enum cr_status cr_vector_digest(const struct cr_vector *vector, unsigned char out[CR_SHA256_SIZE]);

// The bytes of `count` values from value `first` on.
struct cr_slice cr_vector_slice(const struct cr_vector *vector, size_t first, size_t count);

// Whether the `count` values from `first` on are not empty, inside the vector, and at most a chunk.
bool cr_vector_has_chunk(const struct cr_vector *vector, uint64_t first, uint64_t count);

#endif
