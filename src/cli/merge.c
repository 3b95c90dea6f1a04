// carrel merge: merges an adapter into its base, as a model that needs neither.
#include "cli/command.h"
#include "cli/model_flags.h"

#include "base/signals.h"
#include "base/words.h"
#include "tuning/merge.h"

#include <signal.h>
#include <stdio.h>

static void on_signal(int number)
{
    (void)number;
    cr_stop_ask();
}

static bool keep_going(void)
{
    return !cr_stop_asked();
}

// Every merged weight has been checked separately; only the logits differ more than usual.
static void warn(const struct cr_merge_report *report)
{
    char message[256];
    snprintf(
        message, sizeof message,
        "the logits before rounding differ by %.3g of their root mean square, more than usual, though each "
        "weight is merged right: this base makes much of small differences",
        report->exact);
    cr_event_send(&cr_model_warnings, CR_EVENT_WARNING, "merge.warning", message, NULL, 0);
}

static enum cr_status print_report(const struct cr_merge_report *report, const char *output, bool json)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    if (json) {
        CR_TRY(cr_append_format(&out,
                                "{\"modules\": %zu, \"tokens\": %zu, \"difference\": %.3g, "
                                "\"difference_before_rounding\": %.3g}\n",
                                report->modules, report->tokens, report->written, report->exact));
    } else {
        CR_TRY(cr_append_plain(&out, output));
        CR_TRY(cr_append_format(&out,
                                ": %zu weights merged\n"
                                "logits over %zu tokens, beside base and adapter in float32: largest "
                                "difference %.3g of their root mean square (%.3g before rounding)\n",
                                report->modules, report->tokens, report->written, report->exact));
    }
    return cr_command_print(cr_buffer_slice(&out));
}

enum cr_status cr_command_merge(int argc, char **argv)
{
    const char *model = NULL, *adapter = NULL, *output = NULL;
    size_t threads = 0;
    bool json = false, done;
    const struct cr_flag items[] = {
        {"model", CR_FLAG_REQUIRED, &model, "DIR", "the base model: a Hugging Face directory"},
        {"adapter", CR_FLAG_REQUIRED, &adapter, "DIR",
         "what was tuned: a LoRA adapter, a sparse change, or both"},
        {"output", CR_FLAG_REQUIRED, &output, "DIR", "where the merged model goes: a new or empty directory"},
        {"threads", CR_FLAG_SIZE, &threads, "N",
         "threads that compute; 0, the default: one per processor it may use"},
        {"json", CR_FLAG_BOOL, &json, NULL,
         "one JSON object: modules, tokens, difference, difference_before_rounding"},
    };
    const struct cr_flags flags = {
        "carrel merge --model DIR --adapter DIR --output DIR [options]",
        "Writes the model with what was tuned added to its weights, computed in float32 and rounded once to "
        "the\n"
        "type that the model's file has, and compares its logits with those of model and adapter before the "
        "directory\n"
        "appears. Takes the memory of a few of its matrices in float32.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, NULL, &done));
    if (done) return CR_OK;
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    // A second signal has its default effect.
    CR_TRY(cr_signals_catch(on_signal, (int)SA_RESETHAND | SA_RESTART));
    CR_TRY(cr_compute_new(threads, &compute));
    struct cr_merge_report report;
    CR_TRY(cr_merge(model, adapter, output, compute, keep_going, &report));
    if (report.unusual) warn(&report);
    return print_report(&report, output, json);
}
