#include "tuning/pair.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 2 };

// The delta of a module that both tune.
struct pair_delta {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct cr_delta *parts[PARTS];
};

struct cr_pair {
    struct cr_structure base; // first
    struct cr_structure *parts[PARTS];
    struct pair_delta *deltas; // [layers, CR_MODULES]
    bool joined;               // the parts' vectors are slices of this structure's
};

// The deltas of one part, LoRA or the sparse change, in the places of `both`.
static void part_of(const struct cr_delta_part *both, size_t count, size_t part, struct cr_delta_part *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] =
            (struct cr_delta_part){((const struct pair_delta *)both[i].delta)->parts[part], both[i].columns};
}

static enum cr_status pair_forward(const struct cr_delta_part *y, size_t count, struct cr_matrix x)
{
    struct cr_delta_part one[CR_MODULES];
    for (size_t i = 0; i < PARTS; i++) {
        part_of(y, count, i, one);
        CR_TRY(cr_deltas_forward(one, count, x));
    }
    return CR_OK;
}

static enum cr_status pair_backward(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                    struct cr_matrix dx)
{
    struct cr_delta_part one[CR_MODULES];
    for (size_t i = 0; i < PARTS; i++) {
        part_of(dy, count, i, one);
        CR_TRY(cr_deltas_backward(one, count, x, dx));
    }
    return CR_OK;
}

static const struct cr_delta_kind delta_kind = {.forward = pair_forward, .backward = pair_backward};

static enum cr_status pair_refresh(struct cr_structure *structure)
{
    struct cr_pair *pair = (struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++) CR_TRY(pair->parts[i]->kind->refresh(pair->parts[i]));
    return CR_OK;
}

static void pair_begin_training(struct cr_structure *structure, uint32_t micro)
{
    struct cr_pair *pair = (struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++)
        if (pair->parts[i]->kind->begin_training) pair->parts[i]->kind->begin_training(pair->parts[i], micro);
}

static void pair_begin_evaluation(struct cr_structure *structure)
{
    struct cr_pair *pair = (struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++)
        if (pair->parts[i]->kind->begin_evaluation) pair->parts[i]->kind->begin_evaluation(pair->parts[i]);
}

static enum cr_status pair_describe(const struct cr_structure *structure, struct cr_hasher *hasher)
{
    const struct cr_pair *pair = (const struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++) CR_TRY(pair->parts[i]->kind->describe(pair->parts[i], hasher));
    return CR_OK;
}

static enum cr_status pair_save(struct cr_structure *structure, const char *base, const char *directory)
{
    struct cr_pair *pair = (struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++) CR_TRY(pair->parts[i]->kind->save(pair->parts[i], base, directory));
    return CR_OK;
}

static enum cr_status pair_merge(const struct cr_structure *structure, struct cr_module_place place,
                                 struct cr_matrix weight)
{
    const struct cr_pair *pair = (const struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++)
        if (pair->parts[i]->tuned.layers[place.layer].delta[place.module])
            CR_TRY(pair->parts[i]->kind->merge(pair->parts[i], place, weight));
    return CR_OK;
}

static void pair_release(struct cr_structure *structure)
{
    struct cr_pair *pair = (struct cr_pair *)structure;
    for (size_t i = 0; i < PARTS; i++) {
        if (pair->joined) {
            pair->parts[i]->parameters.values = NULL;
            pair->parts[i]->parameters.gradients = NULL;
        }
        cr_structure_free(pair->parts[i]);
    }
    free(pair->deltas);
}

static size_t pair_memory(const struct cr_structure *structure)
{
    const struct cr_pair *pair = (const struct cr_pair *)structure;
    size_t size = 0;
    for (size_t i = 0; i < PARTS; i++) size += pair->parts[i]->kind->memory(pair->parts[i]);
    return size;
}

static const struct cr_structure_kind pair_kind = {
    .refresh = pair_refresh,
    .begin_training = pair_begin_training,
    .begin_evaluation = pair_begin_evaluation,
    .describe = pair_describe,
    .save = pair_save,
    .merge = pair_merge,
    .release = pair_release,
    .memory = pair_memory,
};

// Moves the parameters of both parts into one vector.
static enum cr_status join_parameters(struct cr_pair *pair)
{
    struct cr_parameters *whole = &pair->base.parameters;
    bool training = pair->parts[0]->parameters.gradients != NULL;
    for (size_t i = 0; i < PARTS; i++)
        for (size_t k = 0; k < pair->parts[i]->parameters.item_count; k++) {
            const struct cr_parameter *item = &pair->parts[i]->parameters.items[k];
            CR_TRY(cr_parameters_add(whole, item->name, item->shape[0], item->rank > 1 ? item->shape[1] : 0));
        }
    CR_TRY(cr_parameters_commit(whole, training));
    pair->joined = true;
    for (size_t i = 0, at = 0; i < PARTS; i++) {
        struct cr_parameters *part = &pair->parts[i]->parameters;
        memcpy(whole->values + at, part->values, part->count * sizeof(float));
        cr_secret_free(&part->values);
        cr_secret_free(&part->gradients);
        part->values = whole->values + at;
        if (training) part->gradients = whole->gradients + at;
        at += part->count;
    }
    return CR_OK;
}

static enum cr_status join_deltas(struct cr_pair *pair)
{
    size_t layers = pair->base.model->config.layers;
    struct cr_tuned *tuned = &pair->base.tuned;
    CR_TRY(cr_allocate(layers, sizeof *tuned->layers, &tuned->layers));
    CR_TRY(cr_allocate(layers * CR_MODULES, sizeof *pair->deltas, &pair->deltas));
    for (size_t i = 0; i < layers * CR_MODULES; i++) {
        struct cr_module_place place = cr_module_place_at(i);
        struct cr_delta *first = pair->parts[0]->tuned.layers[place.layer].delta[place.module],
                        *second = pair->parts[1]->tuned.layers[place.layer].delta[place.module];
        pair->deltas[i] = (struct pair_delta){{&delta_kind}, {first, second}};
        tuned->layers[place.layer].delta[place.module] = first && second ? &pair->deltas[i].delta
                                                         : first         ? first
                                                                         : second;
    }
    return CR_OK;
}

enum cr_status cr_pair_new(struct cr_structure *first, struct cr_structure *second, struct cr_structure **out)
{
    struct cr_pair *pair;
    enum cr_status status = cr_allocate(1, sizeof *pair, &pair);
    if (status != CR_OK) {
        cr_structure_free(first);
        cr_structure_free(second);
        return status;
    }
    *pair = (struct cr_pair){.base = {.kind = &pair_kind, .model = first->model}, .parts = {first, second}};
    status = join_deltas(pair);
    if (status == CR_OK) status = join_parameters(pair);
    if (status == CR_OK)
        *out = &pair->base;
    else
        cr_structure_free(&pair->base);
    return status;
}
