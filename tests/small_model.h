// A program of tests over one small model (SMALL_MODEL) in float32: what all of its tests share. With a
// folder to write to where it wants one.
#ifndef CARREL_TESTS_SMALL_MODEL_H
#define CARREL_TESTS_SMALL_MODEL_H

#include "tuning_support.h"

#include "crypto/random.h"
#include "model/model.h"

#include <math.h>

static struct cr_compute *compute;
static struct cr_model *model; // q_proj is [24, 24], up_proj [56, 24], down_proj [24, 56]
static char folder[32];

static inline int open_small_model(void **state)
{
    (void)state;
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    make_folder(folder);
    return 0;
}

static inline int close_small_model(void **state)
{
    (void)state;
    remove_folder(folder);
    cr_model_free(model);
    cr_compute_free(compute);
    return 0;
}

// Below the folder. Lives until the next but one.
static inline const char *path_in(const char *name)
{
    static char path[2][128];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static inline void fill_normal(const char *label, float *values, size_t count)
{
    struct cr_draws *stream;
    assert_ok(cr_draws_new(1, label, &stream));
    for (size_t i = 0; i < count; i++) values[i] = (float)cr_draws_normal(stream);
    cr_draws_free(stream);
}

// Holds the gradient of an objective by one of its inputs against what a difference gives. The objective is
// linear in each, so a wide step has no error but rounding.
static inline void check_gradient(double (*objective)(void *context), void *context, float *value,
                                  float gradient)
{
    float kept = *value, step = 0.25f;
    *value = kept + step;
    double above = objective(context);
    *value = kept - step;
    double below = objective(context);
    *value = kept;
    double numeric = (above - below) / (2 * (double)step);
    if (fabs(numeric - (double)gradient) > 1e-3 * (10 + fabs(numeric)))
        fail_msg("gradient %g where differences give %g", (double)gradient, numeric);
}

#endif
