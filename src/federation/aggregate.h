// FedAvg, streaming: the weighted mean of the silos' values, piece by piece.
//
// Each silo's piece is kept until all silos have sent theirs. Then all are added up in the order of the
// silos, while the next pieces arrive. Memory is two pieces for each silo and the result, in whatever order
// pieces arrive. The result depends only on values, weights and the order of the silos. Sums are computed in
// double: for one silo, or if all silos agree, the mean is exactly their value.
#ifndef CARREL_FEDERATION_AGGREGATE_H
#define CARREL_FEDERATION_AGGREGATE_H

#include "base/thread.h"
#include "crypto/hash.h"

struct cr_aggregate;

struct cr_aggregate_silo {
    uint64_t weight;                      // the sum over all silos must be above zero
    unsigned char digest[CR_SHA256_SIZE]; // that the silo announced for all its values
};

// `out` receives `count` values; it and `silos` must outlive the aggregate. `piece`: values in a piece, at
// least 1; the last one may be shorter.
enum cr_status cr_aggregate_new(const struct cr_aggregate_silo *silos, size_t silo_count, size_t count,
                                size_t piece, float *out, struct cr_aggregate **out_aggregate);
void cr_aggregate_free(struct cr_aggregate *aggregate); // wipes; NULL is allowed

// Sets *first to the first value of the piece that is wanted now, and *size to its number of values. *first
// == count once all pieces have arrived.
void cr_aggregate_wanted(const struct cr_aggregate *aggregate, size_t *first, size_t *size);

// Whether the silo has not yet sent its part of that piece.
bool cr_aggregate_wants(const struct cr_aggregate *aggregate, size_t silo);

// Copies the silo's part of that piece, as many values as cr_aggregate_wanted says.
enum cr_status cr_aggregate_put(struct cr_aggregate *aggregate, size_t silo, const float *values);

// Whether all silos have sent their part of that piece; then call cr_aggregate_turn and cr_aggregate_fold.
bool cr_aggregate_full(const struct cr_aggregate *aggregate);

// Sets the complete piece aside for cr_aggregate_fold, and wants the next one. Only after the previous
// cr_aggregate_fold has returned.
void cr_aggregate_turn(struct cr_aggregate *aggregate);

// Adds the piece that was set aside to the result, on the pool's threads (NULL: only the caller's). It may
// run on another thread than cr_aggregate_put, at the same time. Fails with CR_DENIED, and the silo's number
// in *refused, if a value is not finite or, with the last piece, if the digest of a silo's values is not the
// one it announced. The aggregate is unusable then.
enum cr_status cr_aggregate_fold(struct cr_aggregate *aggregate, struct cr_pool *pool, size_t *refused);

// Whether all `count` values of the result are finished.
bool cr_aggregate_done(const struct cr_aggregate *aggregate);

#endif
