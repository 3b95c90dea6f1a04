#include "report/metrics.h"

#include "format/json.h"
#include "report/tensorboard.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERS = 6, TAG_SIZE = 160 };

// Fields that say where in the run an event belongs; their names are kept.
static const char *const places[] = {"step", "epoch", "round", "silo"};
enum { PLACES = sizeof places / sizeof *places };

static const struct metric {
    const char *event;
    const char *index; // the x axis in TensorBoard; NULL: not for TensorBoard
    struct {
        const char *field, *name;
    } numbers[NUMBERS];
} metrics[] = {
    {"train.step",
     "step",
     {{"loss", "loss"},
      {"grad_norm", "grad_norm"},
      {"learning_rate", "learning_rate"},
      {"tokens_per_second", "tokens_per_second"},
      {"rows_verified", "rows_verified"},
      {"pads_ready", "pads_ready"}}},
    {"train.eval", "step", {{"loss", "eval_loss"}, {"accuracy", "eval_accuracy"}}},
    {"tune.done", NULL, {{"loss", "train_loss"}, {"seconds", "train_runtime"}}},
    // Progress within a round: its step is not a position in the run.
    {"round.progress", NULL, {{"loss", "loss"}, {"tokens_per_second", "tokens_per_second"}}},
    {"round.trained", "round", {{"loss", "round_loss"}, {"labelled", "labelled"}}},
    {"round.done",
     "round",
     {{"loss", "federation_loss"}, {"labelled", "labelled"}, {"silos", "silos"}, {"seconds", "seconds"}}},
    {"client.trained", "round", {{"loss", "round_loss"}, {"labelled", "labelled"}}},
    {"client.closed", "round", {{"loss", "federation_loss"}, {"silos", "silos"}}},
    {"simulate.eval", NULL, {{"loss", "eval_loss"}, {"accuracy", "eval_accuracy"}}},
};

static const struct metric *metric_of(const struct cr_event *event)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(metrics[i].event, event->name) == 0) return &metrics[i];
    return NULL;
}

static enum cr_status append_member(struct cr_buffer *out, const struct cr_event_field *field,
                                    const char *name)
{
    if (!field || (!field->text && !isfinite(field->number))) return CR_OK;
    CR_TRY(cr_append_format(out, ", \"%s\": ", name));
    return field->text ? cr_json_append_string(out, cr_slice_of_string(field->text))
                       : cr_json_append_number(out, field->number);
}

enum cr_status cr_metrics_append_line(struct cr_buffer *out, const struct cr_event *event, double time)
{
    const struct metric *metric = metric_of(event);
    // The first progress event of a round may come before its first step.
    bool nothing_yet = strcmp(event->name, "round.progress") == 0 && cr_event_number(event, "step") == 0;
    if (!metric || nothing_yet) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(cr_append_format(&line, "{\"time\": %.3f", time));
    for (size_t i = 0; i < PLACES; i++)
        CR_TRY(append_member(&line, cr_event_field(event, places[i]), places[i]));
    for (size_t i = 0; i < NUMBERS && metric->numbers[i].field; i++)
        CR_TRY(
            append_member(&line, cr_event_field(event, metric->numbers[i].field), metric->numbers[i].name));
    CR_TRY(cr_append_format(&line, "}\n"));
    return cr_append(out, line.data, line.size);
}

static void make_tag(const char *silo, const char *name, char tag[TAG_SIZE])
{
    if (silo)
        snprintf(tag, TAG_SIZE, "%.80s/%s", silo, name);
    else if (strncmp(name, "eval_", 5) == 0)
        snprintf(tag, TAG_SIZE, "eval/%s", name + 5);
    else if (strncmp(name, "federation_", 11) == 0)
        snprintf(tag, TAG_SIZE, "federation/%s", name + 11);
    else
        snprintf(tag, TAG_SIZE, "train/%s", name);
}

enum cr_status cr_metrics_append_scalars(struct cr_buffer *out, const struct cr_event *event, double time)
{
    const struct metric *metric = metric_of(event);
    if (!metric || !metric->index) return CR_OK;
    double index = cr_event_number(event, metric->index);
    int64_t step = index >= 0 && index < 1e15 ? (int64_t)index : 0;
    double epoch = cr_event_number(event, "epoch");
    if (isfinite(epoch)) CR_TRY(cr_tensorboard_append_scalar(out, time, step, "train/epoch", epoch));
    for (size_t i = 0; i < NUMBERS && metric->numbers[i].field; i++) {
        double value = cr_event_number(event, metric->numbers[i].field);
        char tag[TAG_SIZE];
        if (!isfinite(value)) continue;
        make_tag(cr_event_text(event, "silo"), metric->numbers[i].name, tag);
        CR_TRY(cr_tensorboard_append_scalar(out, time, step, tag, value));
    }
    return CR_OK;
}
