#include "federation/aggregate.h"

#include "base/secret.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 2048 }; // values whose sums fit the first-level cache

struct slot {
    struct cr_aggregate_silo silo;
    struct cr_hasher *hasher;
    float *coming, *aside; // [piece]; secret
    bool filled;
    enum cr_status hashed;
};

struct cr_aggregate {
    struct slot *slots;
    size_t slot_count, filled;
    size_t count, piece;
    size_t first;                   // first value of the piece that silos are sending now
    size_t aside_first, aside_size; // the piece that is being added to the result
    size_t done;                    // values of the result that are finished
    double total;                   // sum of the weights
    float *out;                     // [count]; secret
};

void cr_aggregate_free(struct cr_aggregate *aggregate)
{
    if (!aggregate) return;
    for (size_t i = 0; i < aggregate->slot_count; i++) {
        cr_secret_free(&aggregate->slots[i].coming);
        cr_secret_free(&aggregate->slots[i].aside);
        cr_hasher_free(aggregate->slots[i].hasher);
    }
    free(aggregate->slots);
    free(aggregate);
}

static enum cr_status build(struct cr_aggregate *aggregate, const struct cr_aggregate_silo *silos,
                            size_t silo_count)
{
    CR_TRY(cr_allocate(silo_count, sizeof *aggregate->slots, &aggregate->slots));
    aggregate->slot_count = silo_count;
    for (size_t i = 0; i < silo_count; i++) {
        struct slot *slot = &aggregate->slots[i];
        slot->silo = silos[i];
        aggregate->total += (double)silos[i].weight;
        CR_TRY(cr_secret_allocate(aggregate->piece, sizeof *slot->coming, &slot->coming));
        CR_TRY(cr_secret_allocate(aggregate->piece, sizeof *slot->aside, &slot->aside));
        CR_TRY(cr_hasher_new(&slot->hasher));
    }
    if (!(aggregate->total > 0))
        return cr_fail(CR_INVALID, "no silo trained on a labelled token: there is nothing to average");
    return CR_OK;
}

enum cr_status cr_aggregate_new(const struct cr_aggregate_silo *silos, size_t silo_count, size_t count,
                                size_t piece, float *out, struct cr_aggregate **out_aggregate)
{
    struct cr_aggregate *aggregate;
    CR_TRY(cr_allocate(1, sizeof *aggregate, &aggregate));
    *aggregate = (struct cr_aggregate){.count = count, .piece = piece < count ? piece : count, .out = out};
    enum cr_status status = build(aggregate, silos, silo_count);
    if (status != CR_OK) {
        cr_aggregate_free(aggregate);
        return status;
    }
    *out_aggregate = aggregate;
    return CR_OK;
}

void cr_aggregate_wanted(const struct cr_aggregate *aggregate, size_t *first, size_t *size)
{
    *first = aggregate->first;
    *size = cr_least(aggregate->count - aggregate->first, aggregate->piece);
}

bool cr_aggregate_wants(const struct cr_aggregate *aggregate, size_t silo)
{
    return aggregate->first < aggregate->count && !aggregate->slots[silo].filled;
}

enum cr_status cr_aggregate_put(struct cr_aggregate *aggregate, size_t silo, const float *values)
{
    if (!cr_aggregate_wants(aggregate, silo)) return cr_fail(CR_INTERNAL, "a piece was put twice");
    size_t first, size;
    cr_aggregate_wanted(aggregate, &first, &size);
    memcpy(aggregate->slots[silo].coming, values, size * sizeof *values);
    aggregate->slots[silo].filled = true;
    aggregate->filled++;
    return CR_OK;
}

bool cr_aggregate_full(const struct cr_aggregate *aggregate)
{
    return aggregate->filled == aggregate->slot_count;
}

bool cr_aggregate_done(const struct cr_aggregate *aggregate)
{
    return aggregate->done == aggregate->count;
}

void cr_aggregate_turn(struct cr_aggregate *aggregate)
{
    cr_aggregate_wanted(aggregate, &aggregate->aside_first, &aggregate->aside_size);
    for (size_t i = 0; i < aggregate->slot_count; i++) {
        struct slot *slot = &aggregate->slots[i];
        float *aside = slot->aside;
        slot->aside = slot->coming;
        slot->coming = aside;
        slot->filled = false;
    }
    aggregate->filled = 0;
    aggregate->first += aggregate->aside_size;
}

static void hash_slot(void *context, size_t i, size_t thread)
{
    (void)thread;
    struct cr_aggregate *aggregate = context;
    struct slot *slot = &aggregate->slots[i];
    slot->hashed =
        cr_hasher_add(slot->hasher, (struct cr_slice){(const unsigned char *)slot->aside,
                                                      aggregate->aside_size * sizeof *slot->aside});
}

// sums[i] = weight * values[i] if `first`, else sums[i] += weight * values[i]. A whole block has a size that
// is known at compile time.
static inline void add_values(double *restrict sums, const float *restrict values, double weight, size_t size,
                              bool first)
{
    // The first product is stored, not added to zero, so that -0 stays -0.
    if (first)
        for (size_t i = 0; i < size; i++) sums[i] = weight * (double)values[i];
    else
        for (size_t i = 0; i < size; i++) sums[i] += weight * (double)values[i];
}

static void fold_block(void *context, size_t block, size_t thread)
{
    (void)thread;
    struct cr_aggregate *aggregate = context;
    double sums[BLOCK];
    size_t at = block * BLOCK, size = cr_least(aggregate->aside_size - at, BLOCK);
    for (size_t s = 0; s < aggregate->slot_count; s++) {
        const float *values = aggregate->slots[s].aside + at;
        double weight = (double)aggregate->slots[s].silo.weight;
        if (size == BLOCK)
            add_values(sums, values, weight, BLOCK, s == 0);
        else
            add_values(sums, values, weight, size, s == 0);
    }
    float *out = aggregate->out + aggregate->aside_first + at;
    for (size_t i = 0; i < size; i++) out[i] = (float)(sums[i] / aggregate->total);
    cr_wipe(sums, sizeof sums);
}

// Finds a silo whose values are not finite. The mean of finite values is finite, since a sum of 2^10 products
// of at most 2^128 and 2^64 is a finite double; any value that is not finite makes the mean so too. So the
// values themselves are examined only if the mean is not finite.
static enum cr_status find_refused(const struct cr_aggregate *aggregate, size_t *refused)
{
    const float *out = aggregate->out + aggregate->aside_first;
    bool finite = true;
    for (size_t i = 0; i < aggregate->aside_size; i++) finite &= isfinite(out[i]) != 0;
    if (finite) return CR_OK;
    for (size_t s = 0; s < aggregate->slot_count; s++)
        for (size_t i = 0; i < aggregate->aside_size; i++)
            if (!isfinite(aggregate->slots[s].aside[i])) {
                *refused = s;
                return cr_fail(CR_DENIED, "the update is refused: value %zu of %zu is not finite",
                               aggregate->aside_first + i, aggregate->count);
            }
    return cr_fail(CR_INTERNAL, "the mean of finite values is not finite");
}

static enum cr_status check_digests(const struct cr_aggregate *aggregate, size_t *refused)
{
    for (size_t s = 0; s < aggregate->slot_count; s++) {
        const struct slot *slot = &aggregate->slots[s];
        unsigned char digest[CR_SHA256_SIZE];
        CR_TRY(cr_hasher_finish(slot->hasher, digest));
        if (memcmp(digest, slot->silo.digest, sizeof digest) == 0) continue;
        *refused = s;
        return cr_fail(CR_DENIED, "the update is refused: its values are not those that were announced");
    }
    return CR_OK;
}

enum cr_status cr_aggregate_fold(struct cr_aggregate *aggregate, struct cr_pool *pool, size_t *refused)
{
    cr_pool_run(pool, aggregate->slot_count, hash_slot, aggregate);
    for (size_t s = 0; s < aggregate->slot_count; s++)
        if (aggregate->slots[s].hashed != CR_OK) return cr_fail(aggregate->slots[s].hashed, "SHA-256 failed");
    cr_pool_run(pool, (aggregate->aside_size + BLOCK - 1) / BLOCK, fold_block, aggregate);
    CR_TRY(find_refused(aggregate, refused));
    size_t done = aggregate->aside_first + aggregate->aside_size;
    if (done == aggregate->count) CR_TRY(check_digests(aggregate, refused));
    aggregate->done = done;
    return CR_OK;
}
