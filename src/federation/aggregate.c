#include "federation/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct cr_aggregate_silo silo;
    struct cr_hasher *hasher;
    float *values; // [chunk]; secret
    bool filled;
};

struct cr_aggregate {
    struct slot *slots;
    size_t slot_count, filled;
    size_t count, chunk, first;
    double total; // of weights
    double *sums; // [chunk]; secret
    float *out;   // [count]; secret
};

void cr_aggregate_free(struct cr_aggregate *aggregate)
{
    if (!aggregate) return;
    for (size_t i = 0; i < aggregate->slot_count; i++) {
        struct slot *slot = &aggregate->slots[i];
        if (slot->values) cr_wipe(slot->values, aggregate->chunk * sizeof *slot->values);
        free(slot->values);
        cr_hasher_free(slot->hasher);
    }
    if (aggregate->sums) cr_wipe(aggregate->sums, aggregate->chunk * sizeof *aggregate->sums);
    free(aggregate->sums);
    free(aggregate->slots);
    free(aggregate);
}

static enum cr_status build(struct cr_aggregate *aggregate, const struct cr_aggregate_silo *silos,
                            size_t silo_count)
{
    CR_TRY(cr_allocate(silo_count, sizeof *aggregate->slots, &aggregate->slots));
    aggregate->slot_count = silo_count;
    CR_TRY(cr_allocate(aggregate->chunk, sizeof *aggregate->sums, &aggregate->sums));
    for (size_t i = 0; i < silo_count; i++) {
        struct slot *slot = &aggregate->slots[i];
        slot->silo = silos[i];
        aggregate->total += (double)silos[i].weight;
        CR_TRY(cr_allocate(aggregate->chunk, sizeof *slot->values, &slot->values));
        CR_TRY(cr_hasher_new(&slot->hasher));
    }
    if (!(aggregate->total > 0))
        return cr_fail(CR_INVALID, "no silo trained on a labelled token: there is nothing to average");
    return CR_OK;
}

enum cr_status cr_aggregate_new(const struct cr_aggregate_silo *silos, size_t silo_count, size_t count,
                                size_t chunk, float *out, struct cr_aggregate **out_aggregate)
{
    struct cr_aggregate *aggregate;
    CR_TRY(cr_allocate(1, sizeof *aggregate, &aggregate));
    *aggregate = (struct cr_aggregate){.count = count, .chunk = chunk < count ? chunk : count, .out = out};
    enum cr_status status = build(aggregate, silos, silo_count);
    if (status != CR_OK) {
        cr_aggregate_free(aggregate);
        return status;
    }
    *out_aggregate = aggregate;
    return CR_OK;
}

void cr_aggregate_wanted(const struct cr_aggregate *aggregate, size_t *first, size_t *chunk)
{
    size_t left = aggregate->count - aggregate->first;
    *first = aggregate->first;
    *chunk = left < aggregate->chunk ? left : aggregate->chunk;
}

bool cr_aggregate_wants(const struct cr_aggregate *aggregate, size_t silo)
{
    return aggregate->first < aggregate->count && !aggregate->slots[silo].filled;
}

static void fold(struct cr_aggregate *aggregate, size_t size)
{
    double *sums = aggregate->sums;
    for (size_t s = 0; s < aggregate->slot_count; s++) {
        const float *values = aggregate->slots[s].values;
        double weight = (double)aggregate->slots[s].silo.weight;
        // The first is stored, not added to zero, so that a lone -0 stays -0.
        if (s == 0)
            for (size_t i = 0; i < size; i++) sums[i] = weight * (double)values[i];
        else
            for (size_t i = 0; i < size; i++) sums[i] += weight * (double)values[i];
        aggregate->slots[s].filled = false;
    }
    float *out = aggregate->out + aggregate->first;
    for (size_t i = 0; i < size; i++) out[i] = (float)(sums[i] / aggregate->total);
    aggregate->first += size;
    aggregate->filled = 0;
}

enum cr_status cr_aggregate_put(struct cr_aggregate *aggregate, size_t silo, const float *values,
                                bool *folded)
{
    struct slot *slot = &aggregate->slots[silo];
    if (!cr_aggregate_wants(aggregate, silo)) return cr_fail(CR_INTERNAL, "a chunk was put twice");
    size_t first, size;
    cr_aggregate_wanted(aggregate, &first, &size);
    for (size_t i = 0; i < size; i++)
        if (!isfinite(values[i]))
            return cr_fail(CR_DENIED, "the update is refused: value %zu of %zu is not finite", first + i,
                           aggregate->count);
    CR_TRY(
        cr_hasher_add(slot->hasher, (struct cr_slice){(const unsigned char *)values, size * sizeof *values}));
    if (first + size == aggregate->count) {
        unsigned char digest[CR_SHA256_SIZE];
        CR_TRY(cr_hasher_finish(slot->hasher, digest));
        if (memcmp(digest, slot->silo.digest, sizeof digest) != 0)
            return cr_fail(CR_DENIED, "the update is refused: its values are not those that were announced");
    }
    memcpy(slot->values, values, size * sizeof *values);
    slot->filled = true;
    *folded = ++aggregate->filled == aggregate->slot_count;
    if (*folded) fold(aggregate, size);
    return CR_OK;
}
