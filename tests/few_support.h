// A learner of a few values, which the tests of a server alone and of a silo alone complete as they need it.
#ifndef CARREL_TESTS_FEW_SUPPORT_H
#define CARREL_TESTS_FEW_SUPPORT_H

#include "sealing_support.h"

#include "base/event.h"
#include "federation/learner.h"

#include <stdatomic.h>
#include <string.h>

enum { VALUES = 8 };
static float learned[VALUES];

// How often a server, or a silo, told of one that was too late for a round, that came, that left, and of how
// many others when one came or left.
static atomic_size_t late_told, joined_told, left_told, others_told;

static inline void count_told(void *context, const struct cr_event *event)
{
    (void)context;
    late_told += strstr(event->name, ".late") != NULL;
    joined_told += strcmp(event->name, "server.joined") == 0;
    left_told += strcmp(event->name, "server.left") == 0;
    if (cr_event_field(event, "others")) others_told += (size_t)cr_event_number(event, "others");
}

static const struct cr_event_sink told_counter = {count_told, NULL};

static inline enum cr_status few_open(const struct cr_config *config, const struct cr_event_sink *sink,
                                      void **out)
{
    (void)config;
    (void)sink;
    *out = learned;
    return CR_OK;
}

static inline void few_free(void *learner)
{
    (void)learner;
}

static inline float *few_values(void *learner, size_t *count)
{
    *count = VALUES;
    return learner;
}

static inline enum cr_status few_digest(void *learner, unsigned char out[32])
{
    (void)learner;
    memset(out, 7, 32);
    return CR_OK;
}

static inline enum cr_status few_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
    return CR_OK;
}

#endif
