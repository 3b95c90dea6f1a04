#include "federation/learner.h"

#include <stdlib.h>

struct tuning {
    struct cr_compute *compute;
    struct cr_trainer *trainer;
};

static void free_tuning(void *learner)
{
    struct tuning *tuning = learner;
    if (!tuning) return;
    cr_trainer_free(tuning->trainer);
    cr_compute_free(tuning->compute);
    free(tuning);
}

static enum cr_status open_tuning(const struct cr_config *config, const struct cr_event_sink *sink,
                                  void **out)
{
    struct tuning *tuning;
    CR_TRY(cr_allocate(1, sizeof *tuning, &tuning));
    enum cr_status status = cr_compute_new(config->tuning.threads, &tuning->compute);
    if (status == CR_OK) status = cr_trainer_new(&config->tuning, tuning->compute, sink, &tuning->trainer);
    if (status != CR_OK) {
        free_tuning(tuning);
        return status;
    }
    *out = tuning;
    return CR_OK;
}

static struct cr_trainer *trainer_of(void *learner)
{
    return ((struct tuning *)learner)->trainer;
}

static float *values(void *learner, size_t *count)
{
    struct cr_parameters *parameters = cr_trainer_parameters(trainer_of(learner));
    *count = parameters->count;
    return parameters->values;
}

static enum cr_status digest(void *learner, unsigned char out[CR_SHA256_SIZE])
{
    return cr_trainer_digest(trainer_of(learner), out);
}

static size_t total_steps(void *learner)
{
    return cr_trainer_total_steps(trainer_of(learner));
}

static enum cr_status seek(void *learner, size_t step)
{
    return cr_trainer_seek(trainer_of(learner), step);
}

static void reset_optimizer(void *learner)
{
    cr_trainer_reset_optimizer(trainer_of(learner));
}

static enum cr_status run(void *learner, size_t steps, struct cr_tally *tally,
                          bool (*keep_going)(void *context), void *context)
{
    return cr_trainer_run(trainer_of(learner), steps, tally, keep_going, context);
}

static enum cr_status save(void *learner, const char *directory)
{
    return cr_trainer_save(trainer_of(learner), directory);
}

static enum cr_status save_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    return cr_trainer_save_state(trainer_of(learner), sealing, path);
}

static enum cr_status load_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    return cr_trainer_load_state(trainer_of(learner), sealing, path);
}

static enum cr_status base(void *learner, struct cr_base_digest *out)
{
    return cr_trainer_base(trainer_of(learner), out);
}

static size_t step(void *learner)
{
    return cr_trainer_step(trainer_of(learner));
}

const struct cr_learner_kind cr_learner_tuning = {
    .open = open_tuning,
    .free = free_tuning,
    .values = values,
    .digest = digest,
    .total_steps = total_steps,
    .seek = seek,
    .reset_optimizer = reset_optimizer,
    .run = run,
    .save = save,
    .save_state = save_state,
    .load_state = load_state,
    .base = base,
    .step = step,
};

void cr_learner_share(size_t total_steps_in_all, uint64_t round, uint64_t rounds, size_t *first, size_t *last)
{
    // Computed in two parts, so that the product cannot overflow: total = whole·rounds + rest.
    size_t whole = total_steps_in_all / rounds, rest = total_steps_in_all % rounds;
    *first = (size_t)(whole * round + rest * round / rounds);
    *last = (size_t)(whole * (round + 1) + rest * (round + 1) / rounds);
}
