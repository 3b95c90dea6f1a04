// FedAvg, streaming: the weighted mean of the silos' values, piece by piece.
//
// Each silo's piece waits in a slot until all have theirs; then they are folded in, in the order of the
// silos, while the next pieces come. Memory is two pieces per silo and the result, whatever the order of
// arrival, and the result depends on nothing but values, weights and the order of the silos.
// Sums are taken in double: for one silo, or where all silos agree, the mean is exactly their value.
#ifndef CARREL_FEDERATION_AGGREGATE_H
#define CARREL_FEDERATION_AGGREGATE_H

#include "base/thread.h"
#include "crypto/hash.h"

struct cr_aggregate;

struct cr_aggregate_silo {
    uint64_t weight;                      // the sum over all silos must be above zero
    unsigned char digest[CR_SHA256_SIZE]; // what all its values together must have
};

// `out` gets `count` values; both outlive it. piece: values at a time, at least 1; the last may be shorter.
enum cr_status cr_aggregate_new(const struct cr_aggregate_silo *silos, size_t silo_count, size_t count,
                                size_t piece, float *out, struct cr_aggregate **out_aggregate);
void cr_aggregate_free(struct cr_aggregate *aggregate); // wipes; NULL is allowed

// The first value of the piece that is wanted now, and how many; *first == count where all have come.
void cr_aggregate_wanted(const struct cr_aggregate *aggregate, size_t *first, size_t *size);

// True where the silo's part of that piece is still to come.
bool cr_aggregate_wants(const struct cr_aggregate *aggregate, size_t silo);

// Takes (copies) the silo's part of that piece: cr_aggregate_wanted says how many values.
enum cr_status cr_aggregate_put(struct cr_aggregate *aggregate, size_t silo, const float *values);

// True where all have put theirs, and it is time for the next two.
bool cr_aggregate_full(const struct cr_aggregate *aggregate);

// Sets what was put aside for cr_aggregate_fold, and wants the next piece. Not before the fold before has
// returned.
void cr_aggregate_turn(struct cr_aggregate *aggregate);

// Folds in what was set aside, on the pool's threads (NULL: the caller's alone); may run beside
// cr_aggregate_put, on a thread of its own. Refused: a value that is not finite, or (with the last piece)
// values whose digest is not the one announced: CR_DENIED, with the silo's number in *refused; the aggregate
// is then of no more use.
enum cr_status cr_aggregate_fold(struct cr_aggregate *aggregate, struct cr_pool *pool, size_t *refused);

// True where all `count` values of the result are there.
bool cr_aggregate_done(const struct cr_aggregate *aggregate);

#endif
