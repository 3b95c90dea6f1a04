#include "federation/discretion.h"

#include "crypto/keystream.h"
#include "federation/learner.h"
#include "tuning/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool applies(const struct cr_config *config)
{
    return cr_tuning_config_sliced(&config->tuning);
}

enum cr_status cr_discretion_check(const struct cr_config *config)
{
    double rate = config->tuning.training.learning_rate;
    if (!applies(config) || rate >= CR_LEAST_LEARNING_RATE) return CR_OK;
    return cr_fail(
        CR_INVALID,
        "training.learning_rate: %g: a federation with slicing takes %g or more (the losses of values "
        "that hardly move would tell what they are)",
        rate, CR_LEAST_LEARNING_RATE);
}

// The highest learning rate in steps [first, last). Rates rise until the warm-up is over and fall from there.
static double highest_rate(const struct cr_training_config *training, size_t first, size_t last, size_t total)
{
    if (first == last) return 0;
    size_t peak = cr_least(cr_most(training->warmup_steps, first), last - 1);
    return cr_learning_rate(training, peak, total);
}

enum cr_status cr_discretion_check_rounds(const struct cr_config *config, size_t total_steps)
{
    const struct cr_training_config *training = &config->tuning.training;
    size_t rounds = config->federation.rounds, first, last;
    for (size_t round = 0; applies(config) && round < rounds; round++) {
        cr_learner_share(total_steps, round, rounds, &first, &last);
        double rate = highest_rate(training, first, last, total_steps);
        if (rate < CR_LEAST_LEARNING_RATE)
            return cr_fail(
                CR_INVALID,
                "the learning rate of round %zu is %g at most: a federation with slicing takes %g or "
                "more (fewer warmup_steps or rounds, or another lr_scheduler_type)",
                round + 1, rate, CR_LEAST_LEARNING_RATE);
    }
    return CR_OK;
}

double cr_discretion_loss(const struct cr_config *config, double loss)
{
    return applies(config) ? round(loss * 100) / 100 : loss;
}

void cr_discretion_event(const struct cr_config *config, const struct cr_event *event,
                         struct cr_event_field *fields, struct cr_event *out)
{
    *out = *event;
    if (!applies(config) || strcmp(event->name, "train.step") != 0) return;
    out->fields = fields;
    out->field_count = 0;
    for (size_t i = 0; i < event->field_count; i++)
        if (strcmp(event->fields[i].name, "loss") != 0 && strcmp(event->fields[i].name, "grad_norm") != 0)
            fields[out->field_count++] = event->fields[i];
}

enum cr_status cr_discretion_seed(const unsigned char secret[CR_SEED_SECRET_SIZE], uint64_t seed,
                                  uint64_t *out)
{
    unsigned char key[CR_KEY_SIZE];
    char label[48];
    snprintf(label, sizeof label, "carrel seed %" PRIu64, seed);
    CR_TRY(cr_key_derive(secret, label, key));
    memcpy(out, key, sizeof *out); // as a little-endian number, like all that is stored or sent
    cr_wipe(key, sizeof key);
    return CR_OK;
}
