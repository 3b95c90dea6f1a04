// What an accelerator is asked, and what was hidden in it, side by side: an accelerator in this process that
// records, and a witness before the linears of the trusted side.
#ifndef CARREL_TESTS_RECORDING_SUPPORT_H
#define CARREL_TESTS_RECORDING_SUPPORT_H

#include "slicing_support.h"
#include "uniformity_support.h"

#include "field_support.h"
#include "slicing/facts.h"

enum { MOST_SERIES = 2 * 16 };

// Stands before the linears of the trusted side, and notes what is going to be hidden.
struct witness {
    struct cr_linear inner;
    struct record *record;
    size_t index;
};

struct record {
    struct hired hired;
    unsigned digits;
    struct cr_field *field;
    struct cr_bound bound[MOST_SERIES];
    struct witness witnesses[MOST_SERIES / 2];
    size_t count;                                            // of series: one for each linear and direction
    struct series seen[MOST_SERIES], hidden[MOST_SERIES];    // questions, and what was hidden in them
    struct series shown[MOST_SERIES], answered[MOST_SERIES]; // products of pads, and what was made of both
};

static inline size_t series_index(size_t linear, bool backward)
{
    return linear * CR_WAYS + backward;
}

static inline void look(void *context, const struct cr_wire_product *product, const uint32_t *words,
                        size_t depth)
{
    struct record *record = context;
    series_add(&record->seen[series_index(product->linear, product->backward)], words, product->rows, depth);
}

static inline void show(void *context, const struct cr_wire_product *product, const uint32_t *words,
                        size_t width)
{
    struct record *record = context;
    series_add(&record->shown[series_index(product->linear, product->backward)], words, 1, width);
}

static inline void hear(void *context, const struct cr_wire_product *product, uint32_t *words, size_t width)
{
    struct record *record = context;
    series_add(&record->answered[series_index(product->linear, product->backward)], words, product->rows,
               width);
}

static inline void note(const struct witness *witness, bool backward, struct cr_matrix x)
{
    struct record *record = witness->record;
    size_t i = series_index(witness->index, backward);
    const float *scale = backward ? record->hired.frozen.matrices[witness->index].scale : NULL;
    CR_FREE uint32_t *words = NULL;
    CR_FREE double *t = NULL;
    assert_ok(cr_allocate(x.rows * x.columns, sizeof *words, &words));
    assert_ok(cr_allocate(x.rows, sizeof *t, &t));
    assert_int_equal(encode_rows(record->field, &record->bound[i], 1, x, scale, words, t), x.rows);
    series_add(&record->hidden[i], words, x.rows, x.columns);
}

static inline enum cr_status witness_forward(const struct cr_linear *self, struct cr_matrix x,
                                             struct cr_matrix y)
{
    const struct witness *witness = self->state;
    note(witness, false, x);
    return witness->inner.provider->forward(&witness->inner, x, y);
}

static inline enum cr_status witness_backward(const struct cr_linear *self, struct cr_matrix dy,
                                              struct cr_matrix dx, bool accumulate)
{
    const struct witness *witness = self->state;
    note(witness, true, dy);
    return witness->inner.provider->backward(&witness->inner, dy, dx, accumulate);
}

static inline void witness_release(struct cr_linear *self)
{
    *self = (struct cr_linear){0};
}

static const struct cr_linear_provider witness_provider = {witness_forward, witness_backward,
                                                           witness_release};

static inline void watch(struct record *record, struct cr_model *model)
{
    assert_true(2 * cr_frozen_count(model) <= MOST_SERIES);
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        struct cr_linear *linear = cr_frozen_linear(model, i);
        record->witnesses[i] = (struct witness){*linear, record, i};
        linear->provider = &witness_provider;
        linear->state = &record->witnesses[i];
    }
}

// An accelerator for `model` that records; `watch` the trusted side's model as well.
static inline void start_record(struct record *record, const char *model, const char *address,
                                unsigned digits, struct cr_compute *compute)
{
    *record = (struct record){.digits = digits};
    hire(&record->hired, model, address);
    record->hired.look = look;
    record->hired.show = show;
    record->hired.spoil = hear;
    record->hired.context = record;
    assert_ok(cr_field_new(compute, digits, &record->field));
    record->count = 2 * record->hired.frozen.count;
    assert_true(record->count <= MOST_SERIES);
    for (size_t i = 0; i < record->count; i++) {
        const struct cr_matrix *q = &record->hired.frozen.matrices[i / CR_WAYS];
        assert_int_equal(cr_way_of(q->rows, q->columns, i % CR_WAYS).parts, 1); // `note` has one t a row
        assert_ok(cr_bound_new(q, i % CR_WAYS, digits, &record->bound[i]));
    }
}

static inline void free_series(struct series *series, size_t count)
{
    for (size_t s = 0; s < count; s++) free(series[s].words);
}

// After the last connection was closed.
static inline void free_record(struct record *record)
{
    dismiss(&record->hired);
    cr_field_free(record->field);
    free_series(record->seen, record->count);
    free_series(record->hidden, record->count);
    free_series(record->shown, record->count);
    free_series(record->answered, record->count);
}

#endif
