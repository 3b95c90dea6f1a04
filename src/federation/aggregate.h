// FedAvg, streaming: the weighted mean of the silos' values, chunk by chunk.
//
// Each silo's chunk waits in a slot until all have theirs; then they are folded in, in the order of the
// silos, and the next chunk begins. Memory is one chunk per silo and the result, whatever the order of
// arrival, and the result depends on nothing but values, weights and the order of the silos.
// Sums are taken in double: for one silo, or where all silos agree, the mean is exactly their value.
#ifndef CARREL_FEDERATION_AGGREGATE_H
#define CARREL_FEDERATION_AGGREGATE_H

#include "crypto/hash.h"

struct cr_aggregate;

struct cr_aggregate_silo {
    uint64_t weight;                      // the sum over all silos must be above zero
    unsigned char digest[CR_SHA256_SIZE]; // what all its values together must have
};

// `out` gets `count` values; both outlive it. chunk: values per piece, at least 1; the last may be shorter.
enum cr_status cr_aggregate_new(const struct cr_aggregate_silo *silos, size_t silo_count, size_t count,
                                size_t chunk, float *out, struct cr_aggregate **out_aggregate);
void cr_aggregate_free(struct cr_aggregate *aggregate); // wipes; NULL is allowed

// The first value of the chunk that is wanted now, and how many; *first == count where all is done.
void cr_aggregate_wanted(const struct cr_aggregate *aggregate, size_t *first, size_t *chunk);

// True where the silo's piece of that chunk is still to come.
bool cr_aggregate_wants(const struct cr_aggregate *aggregate, size_t silo);

// Takes the silo's piece of that chunk: cr_aggregate_wanted says how many values. Where it was the last, all
// are folded in, and *folded is true. Refused: a value that is not finite, or (with the last chunk) values
// whose digest is not the one announced: CR_DENIED; the aggregate is then of no more use.
enum cr_status cr_aggregate_put(struct cr_aggregate *aggregate, size_t silo, const float *values,
                                bool *folded);

#endif
