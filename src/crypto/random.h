// Randomness: unpredictable bytes for secrets, and keyed streams for runs that must be repeatable.
#ifndef CARREL_CRYPTO_RANDOM_H
#define CARREL_CRYPTO_RANDOM_H

#include "base/memory.h"

#include <stdint.h>

// Unpredictable bytes (OpenSSL's generator).
enum cr_status cr_random_bytes(void *out, size_t size);

// A repeatable stream: AES-256-CTR with the key HKDF-SHA-256(seed, label). Equal (seed, label) give equal
// values on every machine; different labels give independent streams.
struct cr_draws;
enum cr_status cr_draws_new(uint64_t seed, const char *label, struct cr_draws **out);
void cr_draws_free(struct cr_draws *stream); // wipes the key; NULL is allowed

// Moves to the start of substream `index`, one of 2^32 independent ones.
void cr_draws_seek(struct cr_draws *stream, uint32_t index);

void cr_draws_bytes(struct cr_draws *stream, void *out, size_t size);
uint64_t cr_draws_below(struct cr_draws *stream, uint64_t bound); // uniform over [0, bound), bound > 0
double cr_draws_uniform(struct cr_draws *stream);                 // uniform over [0, 1), 53 bits
double cr_draws_normal(struct cr_draws *stream);                  // standard normal
void cr_draws_shuffle(struct cr_draws *stream, uint32_t *items, size_t count);

#endif
