#include "report/prometheus.h"

#include <math.h>

static enum cr_status append_head(struct cr_buffer *out, const char *name, const char *help)
{
    return cr_append_format(out, "# HELP carrel_%s %s\n# TYPE carrel_%s gauge\n", name, help, name);
}

static enum cr_status append_gauge(struct cr_buffer *out, const char *name, const char *help, double value)
{
    if (isnan(value)) return CR_OK;
    CR_TRY(append_head(out, name, help));
    return cr_append_format(out, "carrel_%s %.17g\n", name, value);
}

// A silo's name consists of [a-z0-9-], but a file may contain anything. The story keeps no control
// characters.
static enum cr_status append_label(struct cr_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') CR_TRY(cr_append_u8(out, '\\'));
        CR_TRY(cr_append_u8(out, (uint8_t)*text));
    }
    return CR_OK;
}

static enum cr_status append_silo(struct cr_buffer *out, const char *name, const struct cr_story_silo *silo,
                                  double value)
{
    CR_TRY(cr_append_format(out, "carrel_%s{silo=\"", name));
    CR_TRY(append_label(out, silo->name));
    return cr_append_format(out, "\"} %.17g\n", value);
}

static enum cr_status append_connected(struct cr_buffer *out, const struct cr_story *story)
{
    static const char name[] = "silo_connected";
    if (story->silo_count == 0) return CR_OK;
    CR_TRY(append_head(out, name, "1 while it is connected, whether it tells anything or not."));
    for (size_t i = 0; i < story->silo_count; i++)
        CR_TRY(append_silo(out, name, &story->silos[i], cr_story_silo_is_here(&story->silos[i])));
    return CR_OK;
}

static enum cr_status append_silos(struct cr_buffer *out, const struct cr_story *story, const char *name,
                                   const char *help, size_t offset)
{
    bool headed = false;
    for (size_t i = 0; i < story->silo_count; i++) {
        const struct cr_story_silo *silo = &story->silos[i];
        double value = *(const double *)(const void *)((const char *)silo + offset);
        if (isnan(value)) continue;
        if (!headed) CR_TRY(append_head(out, name, help));
        headed = true;
        CR_TRY(append_silo(out, name, silo, value));
    }
    return CR_OK;
}

enum cr_status cr_prometheus_append(struct cr_buffer *out, const struct cr_story *story, double now)
{
    const struct {
        const char *name, *help;
        double value;
    } gauges[] = {
        {"start_time_seconds", "Unix time at which the run was started.", story->began},
        {"updated_time_seconds", "Unix time at which these were written.", now},
        {"last_event_time_seconds", "Unix time of its last event.", story->updated},
        {"ended", "1 once the run has ended by itself.", story->ended},
        {"exit_code", "What it exited with.", story->ended ? (double)story->exit_code : NAN},
        {"step", "Optimiser steps done.", story->step},
        {"steps", "Optimiser steps of the whole run.", story->steps},
        {"round", "The present round, from 1.", story->round},
        {"rounds", "Rounds of the whole run.", story->rounds},
        {"loss", "Last training loss.", story->loss},
        {"eval_loss", "Last loss on held-out data.", story->eval_loss},
        {"learning_rate", "Present learning rate.", story->learning_rate},
        {"grad_norm", "Last gradient norm before clipping.", story->grad_norm},
        {"tokens_per_second", "Training speed.", story->tokens_per_second},
        {"rows_verified", "Rows of an accelerator's products that passed their check.", story->rows_verified},
        {"pads_ready", "Pads made and not used yet.", story->pads_ready},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        CR_TRY(append_gauge(out, gauges[i].name, gauges[i].help, gauges[i].value));
    CR_TRY(append_connected(out, story));
    CR_TRY(append_silos(out, story, "silo_last_seen_time_seconds", "Unix time of its last event.",
                        offsetof(struct cr_story_silo, seen)));
    CR_TRY(append_silos(out, story, "silo_trained_round", "The round that it last answered for.",
                        offsetof(struct cr_story_silo, trained)));
    return append_silos(out, story, "silo_loss", "Its last training loss.",
                        offsetof(struct cr_story_silo, loss));
}
