#include "tuning/optimizer.h"

#include "base/secret.h"
#include "tensor/ops.h"

#include <math.h>
#include <string.h>

enum cr_status cr_optimizer_init(struct cr_optimizer_state *state, const struct cr_training_config *training,
                                 size_t count)
{
    struct cr_optimizer_state made = {.count = count};
    if (training->optim == CR_OPTIMIZER_ADAMW) {
        made.moment_count = 2;
    } else if (training->momentum > 0) {
        made.moment_count = 1;
    }
    for (size_t i = 0; i < made.moment_count; i++) {
        enum cr_status status = cr_secret_allocate(count, sizeof(float), &made.moments[i]);
        if (status != CR_OK) {
            cr_optimizer_release(&made);
            return status;
        }
    }
    *state = made;
    return CR_OK;
}

void cr_optimizer_reset(struct cr_optimizer_state *state)
{
    state->steps = 0;
    for (size_t i = 0; i < state->moment_count; i++) cr_wipe(state->moments[i], state->count * sizeof(float));
}

void cr_optimizer_release(struct cr_optimizer_state *state)
{
    for (size_t i = 0; i < state->moment_count; i++) cr_secret_free(&state->moments[i]);
    *state = (struct cr_optimizer_state){0};
}

bool cr_parameter_decays(const char *name)
{
    static const char *const exempt[] = {"bias", "layernorm", "rmsnorm", ".norm.", "_norm.", ".ln_"};
    for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++)
        if (strstr(name, exempt[i])) return false;
    return true;
}

static void update_range(struct cr_optimizer_state *state, struct cr_compute *compute,
                         const struct cr_training_config *training, double learning_rate, double weight_decay,
                         struct cr_parameters *parameters, size_t first, size_t count)
{
    float *value = parameters->values + first;
    const float *gradient = parameters->gradients + first;
    if (training->optim == CR_OPTIMIZER_ADAMW) {
        struct cr_adamw rule = {
            .learning_rate = learning_rate,
            .beta1 = training->adam_beta1,
            .beta2 = training->adam_beta2,
            .epsilon = training->adam_epsilon,
            .weight_decay = weight_decay,
        };
        cr_adamw_update(compute, &rule, state->steps, value, gradient, state->moments[0] + first,
                        state->moments[1] + first, count);
    } else {
        float *buffer = state->moment_count > 0 ? state->moments[0] + first : NULL;
        cr_sgd_update(compute, learning_rate, training->momentum, weight_decay, value, gradient, buffer,
                      count);
    }
}

void cr_optimizer_update(struct cr_optimizer_state *state, struct cr_compute *compute,
                         const struct cr_training_config *training, double learning_rate,
                         struct cr_parameters *parameters)
{
    state->steps++;
    // Adjacent parameters with the same decay form one range, such as LoRA's whole vector.
    size_t i = 0;
    while (i < parameters->item_count) {
        bool decays = cr_parameter_decays(parameters->items[i].name);
        size_t first = parameters->items[i].offset, count = 0;
        for (; i < parameters->item_count && cr_parameter_decays(parameters->items[i].name) == decays; i++)
            count += parameters->items[i].count;
        update_range(state, compute, training, learning_rate, decays ? training->weight_decay : 0, parameters,
                     first, count);
    }
}

double cr_gradient_clip(struct cr_compute *compute, struct cr_parameters *parameters, double most)
{
    double norm = sqrt(cr_sum_of_squares(compute, parameters->gradients, parameters->count));
    if (most > 0 && isfinite(norm)) {
        double factor = most / (norm + 1e-6);
        if (factor < 1)
            cr_scale(compute, cr_matrix_of(parameters->gradients, CR_F32, 1, parameters->count),
                     (float)factor);
    }
    return norm;
}
