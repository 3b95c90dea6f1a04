#include "tuning/trainer.h"

#include "base/clock.h"
#include "base/secret.h"
#include "tensor/ops.h"
#include "tuning/checkpoint.h"
#include "tuning/evaluate.h"
#include "tuning/schedule.h"
#include "tuning/session.h"
#include "tuning/trainer_parts.h"

#include <stdio.h>
#include <stdlib.h>

static size_t memory_in_use(const struct cr_trainer *trainer)
{
    const struct cr_structure *structure = trainer->structure;
    size_t vectors = 2 + trainer->optimizer.moment_count; // values, gradients, moments
    return cr_lanes_count(trainer->lanes) * cr_pass_memory(trainer->walks[0].pass) +
           structure->kind->memory(structure) + vectors * structure->parameters.count * sizeof(float);
}

static void warn_of_plain_secrets(const struct cr_trainer *trainer)
{
    size_t bytes[CR_SECRET_KINDS];
    cr_secret_usage(bytes);
    if (bytes[CR_SECRET_PLAIN] == 0) return;
    char message[256];
    snprintf(message, sizeof message,
             "%.1f MB of secrets lie in pages that may be swapped out: RLIMIT_MEMLOCK (ulimit -l) lets no "
             "more be locked",
             (double)bytes[CR_SECRET_PLAIN] / 1e6);
    cr_emit(&trainer->sink, CR_EVENT_WARNING, "train.warning", message,
            CR_FIELD("unlocked", bytes[CR_SECRET_PLAIN]));
}

static void warn_of_peers(const struct cr_trainer *trainer)
{
    if (!trainer->slicing) return;
    const struct cr_slicing_tally tally = cr_slicing_tally(trainer->slicing);
    if (tally.ahead) return;
    cr_emit(&trainer->sink, CR_EVENT_WARNING, "train.warning", cr_peer_pads_warning,
            CR_FIELD_TEXT("accelerators", tally.addresses));
}

static enum cr_status warn_of_dropouts(const struct cr_trainer *trainer)
{
    struct cr_checkpoint_config config;
    char message[320];
    CR_TRY(cr_checkpoint_config_read(trainer->base, &config));
    if (!config.dropouts[0]) return CR_OK;
    snprintf(message, sizeof message,
             "the model's config.json has dropout (%s), which Transformers applies in training: it is not "
             "applied here",
             config.dropouts);
    cr_emit(&trainer->sink, CR_EVENT_WARNING, "train.warning", message,
            CR_FIELD_TEXT("dropouts", config.dropouts));
    return CR_OK;
}

// Conversations without a named template use one that the tokenizer's tokens suggest, which may add other
// text than the model's own template: a system message, the date.
static enum cr_status warn_of_template(const struct cr_trainer *trainer)
{
    bool own;
    if (trainer->data_options.chat_template != CR_CHAT_DEFAULT || !cr_dataset_chats(trainer->data))
        return CR_OK;
    CR_TRY(cr_checkpoint_has_template(trainer->base, &own));
    const char *taken = cr_chat_names[cr_chat_by_tokens(trainer->tokenizer)];
    char message[256];
    snprintf(message, sizeof message,
             "the model brings a chat template of its own, which is not read: messages become text as %s has "
             "them (data.chat_template)",
             taken);
    if (own)
        cr_emit(&trainer->sink, CR_EVENT_WARNING, "train.warning", message, CR_FIELD_TEXT("template", taken));
    return CR_OK;
}

// The number of steps follows from a silo's own data: one silo's warm-up may be another's whole run.
static void warn_of_warmup(const struct cr_trainer *trainer)
{
    const struct cr_training_config *training = &trainer->training;
    char message[CR_WARMUP_TEXT_SIZE];
    if (!cr_warmup_never_ends(training, trainer->total_steps, message)) return;
    cr_emit(&trainer->sink, CR_EVENT_WARNING, "train.warning", message,
            CR_FIELD("warmup_steps", training->warmup_steps), CR_FIELD("steps", trainer->total_steps));
}

static enum cr_status announce(const struct cr_trainer *trainer)
{
    warn_of_plain_secrets(trainer);
    warn_of_peers(trainer);
    if (!trainer->data) return CR_OK; // a federation's server trains nothing
    warn_of_warmup(trainer);
    CR_TRY(warn_of_dropouts(trainer));
    CR_TRY(warn_of_template(trainer));
    size_t examples = cr_dataset_count(trainer->data);
    cr_warn_of_rows(trainer->data, "training data", &trainer->sink);
    if (trainer->held_out) cr_warn_of_rows(trainer->held_out, "held-out data", &trainer->sink);
    cr_emit(&trainer->sink, CR_EVENT_INFO, "train.begin", NULL,
            CR_FIELD("parameters", cr_model_value_count(trainer->model)),
            CR_FIELD("trainable", trainer->structure->parameters.count), CR_FIELD("examples", examples),
            CR_FIELD("steps", trainer->total_steps), CR_FIELD("memory", memory_in_use(trainer)));
    return CR_OK;
}

enum cr_status cr_trainer_new(const struct cr_tuning_config *config, struct cr_compute *compute,
                              const struct cr_event_sink *sink, struct cr_trainer **out)
{
    CR_TRY(cr_tuning_config_check(config));
    struct cr_trainer *trainer;
    CR_TRY(cr_allocate(1, sizeof *trainer, &trainer));
    *trainer = (struct cr_trainer){
        .training = config->training,
        .random_init = config->random_init,
        .cut = config->cut,
        .in_8bit = cr_tuning_config_in_8bit(config),
        .digits = cr_tuning_config_sliced(config) ? config->slicing.digits : 0,
        .seed = config->seed,
        .compute = compute,
        .epoch = SIZE_MAX,
    };
    trainer->training.lanes = cr_tuning_config_lanes(config);
    if (sink) trainer->sink = *sink;
    enum cr_status status = cr_trainer_open(trainer, config);
    if (status == CR_OK) status = announce(trainer);
    if (status != CR_OK) {
        cr_trainer_free(trainer);
        return status;
    }
    *out = trainer;
    return CR_OK;
}

void cr_trainer_free(struct cr_trainer *trainer)
{
    if (!trainer) return;
    for (size_t i = 0; trainer->walks && i < cr_lanes_count(trainer->lanes); i++) {
        cr_pass_free(trainer->walks[i].pass);
        cr_batch_free(trainer->walks[i].batch);
        cr_spill_free(trainer->walks[i].spill);
    }
    free(trainer->walks);
    cr_front_cache_free(trainer->front_of_data);
    cr_front_cache_free(trainer->front_of_held_out);
    cr_front_close(trainer->front);
    cr_optimizer_release(&trainer->optimizer);
    cr_structure_free(trainer->structure);
    cr_draws_free(trainer->shuffle);
    free(trainer->order);
    cr_packs_release(&trainer->packs);
    if (!trainer->cut) cr_dataset_free(trainer->data);
    cr_dataset_free(trainer->held_out);
    cr_tokenizer_free(trainer->tokenizer);
    cr_slicing_close(trainer->slicing);
    cr_model_free(trainer->model);
    cr_lanes_free(trainer->lanes);
    free(trainer->base);
    cr_wipe(trainer, sizeof *trainer); // it has the seed
    free(trainer);
}

struct cr_parameters *cr_trainer_parameters(struct cr_trainer *trainer)
{
    return &trainer->structure->parameters;
}

struct cr_slicing *cr_trainer_slicing(const struct cr_trainer *trainer)
{
    return trainer->slicing;
}

size_t cr_trainer_total_steps(const struct cr_trainer *trainer)
{
    return trainer->total_steps;
}

size_t cr_trainer_step(const struct cr_trainer *trainer)
{
    return trainer->step;
}

enum cr_status cr_trainer_seek(struct cr_trainer *trainer, size_t step)
{
    if (step > trainer->total_steps)
        return cr_fail(CR_INVALID, "training: there is no step %zu of %zu", step, trainer->total_steps);
    if (step != trainer->step) trainer->report = (struct cr_trainer_report){0};
    trainer->step = step;
    return CR_OK;
}

void cr_trainer_reset_optimizer(struct cr_trainer *trainer)
{
    cr_optimizer_reset(&trainer->optimizer);
}

// Seconds after which a step is reported even if logging_steps have not passed, to show that the run is
// alive.
static const double longest_silence = 2;

static void report_step(struct cr_trainer *trainer, const struct cr_tally *step, double norm)
{
    struct cr_trainer_report *report = &trainer->report;
    report->loss_sum += step->loss_sum;
    report->labelled += step->labelled;
    report->tokens += step->tokens;
    report->steps++;
    size_t every = trainer->training.logging_steps;
    double elapsed = cr_clock_monotonic() - report->began;
    bool due = trainer->step == trainer->total_steps || (every > 0 && trainer->step % every == 0);
    if (!due && elapsed < longest_silence) return;
    double pace = elapsed > 0 ? elapsed : 1e-9;
    double left = (double)(trainer->total_steps - trainer->step) * elapsed / (double)report->steps;
    struct cr_slicing_tally slicing = {0};
    if (trainer->slicing) slicing = cr_slicing_tally(trainer->slicing);
    const struct cr_event_field fields[] = {
        CR_FIELD("step", trainer->step),
        CR_FIELD("steps", trainer->total_steps),
        CR_FIELD("epoch", cr_epochs_done(&trainer->training, trainer->packs.count, trainer->step)),
        CR_FIELD("loss", report->loss_sum / (double)report->labelled),
        CR_FIELD("learning_rate",
                 cr_learning_rate(&trainer->training, trainer->step - 1, trainer->total_steps)),
        CR_FIELD("grad_norm", norm),
        CR_FIELD("tokens_per_second", (double)report->tokens / pace),
        CR_FIELD("eta", left),
        CR_FIELD("rows_verified", slicing.rows),
        CR_FIELD("pads_ready", slicing.ready),
    };
    size_t count = sizeof fields / sizeof *fields - (trainer->slicing ? !slicing.ahead : 2);
    cr_event_send(&trainer->sink, CR_EVENT_INFO, "train.step", NULL, fields, count);
    *report = (struct cr_trainer_report){.began = cr_clock_monotonic()};
}

static void report_slicing(const struct cr_trainer *trainer)
{
    if (!trainer->slicing) return;
    const struct cr_slicing_tally tally = cr_slicing_tally(trainer->slicing);
    struct cr_front_tally front = {0};
    struct cr_spill_tally spilled = {0};
    if (trainer->front) front = cr_front_tally(trainer->front);
    for (size_t i = 0; i < cr_lanes_count(trainer->lanes) && trainer->walks[i].spill; i++) {
        const struct cr_spill_tally one = cr_spill_tally(trainer->walks[i].spill);
        spilled.outside += one.outside;
        spilled.sealing += one.sealing + one.opening;
    }
    const struct cr_event_field fields[] = {
        CR_FIELD_TEXT("accelerator", tally.addresses),
        CR_FIELD_TEXT("engine", tally.engines),
        CR_FIELD("products", tally.products),
        CR_FIELD("rows_verified", tally.rows),
        CR_FIELD("pads_used", tally.pads),
        CR_FIELD("bytes_blinded", tally.blinded),
        CR_FIELD("bytes_outside", tally.outside),
        CR_FIELD("bytes_spilled", spilled.outside),
        CR_FIELD("spill_seconds", spilled.sealing),
        CR_FIELD("online_seconds", tally.waiting + tally.blinding + tally.accelerator + tally.opening),
        CR_FIELD("blind_seconds", tally.blinding),
        CR_FIELD("accelerator_seconds", tally.accelerator),
        CR_FIELD("open_seconds", tally.opening),
        CR_FIELD("pad_wait_seconds", tally.waiting),
        CR_FIELD("offline_seconds", tally.offline),
        CR_FIELD("chi_square", tally.chi_square),
        // Only with a clear front:
        CR_FIELD("front_layers", cr_front_cache_layer(trainer->front_of_data)),
        CR_FIELD("front_examples", front.examples),
        CR_FIELD("front_rows", front.rows),
        CR_FIELD("front_checked", front.checked),
        CR_FIELD("front_seconds", front.asking + front.checking),
    };
    size_t count = sizeof fields / sizeof *fields - (trainer->front ? 0 : 5);
    cr_event_send(&trainer->sink, CR_EVENT_INFO, "train.slicing", NULL, fields, count);
}

enum cr_status cr_trainer_run(struct cr_trainer *trainer, size_t steps, struct cr_tally *tally,
                              bool (*keep_going)(void *context), void *context)
{
    if (!trainer->data)
        return cr_fail(CR_INVALID, "data.train: not given: this trainer has nothing to train on");
    if (steps > trainer->total_steps - trainer->step)
        return cr_fail(CR_INVALID, "training: %zu more steps were asked for where %zu of %zu are left", steps,
                       trainer->total_steps - trainer->step, trainer->total_steps);
    // The losses of steps that have not been reported yet, perhaps from an earlier round, are in the next
    // report; the speed is that of this run only.
    trainer->report.tokens = trainer->report.steps = 0;
    trainer->report.began = cr_clock_monotonic();
    for (size_t i = 0; i < steps; i++) {
        struct cr_tally step = {0};
        double norm;
        CR_TRY(cr_trainer_do_step(trainer, &step, &norm));
        cr_tally_add(tally, &step);
        report_step(trainer, &step, norm);
        if (keep_going && !keep_going(context))
            return cr_fail(CR_CANCELLED, "training: stopped after step %zu of %zu", trainer->step,
                           trainer->total_steps);
    }
    report_slicing(trainer);
    return CR_OK;
}

enum cr_status cr_trainer_evaluate(struct cr_trainer *trainer, struct cr_tally *tally,
                                   bool (*keep_going)(void *context), void *context)
{
    const struct cr_dataset *data = trainer->held_out;
    if (!data) return cr_fail(CR_INVALID, "data.eval: not given: this trainer has nothing to evaluate on");
    struct cr_structure *structure = trainer->structure;
    struct cr_tally sum = {0};
    if (structure->kind->begin_evaluation) structure->kind->begin_evaluation(structure);
    enum cr_status status = structure->kind->refresh(structure);
    if (status == CR_OK)
        status = cr_evaluate(trainer->model, trainer->walks[0].pass, &structure->tuned, data,
                             trainer->front_of_held_out, trainer->walks[0].batch, &sum, keep_going, context);
    if (status != CR_OK) return cr_fail_within(status, "%s", trainer->held_out_path);
    cr_tally_add(tally, &sum);
    cr_emit(&trainer->sink, CR_EVENT_INFO, "train.eval", trainer->held_out_path,
            CR_FIELD("step", trainer->step), CR_FIELD("loss", sum.loss_sum / (double)sum.labelled),
            CR_FIELD("accuracy", (double)sum.correct / (double)sum.labelled),
            CR_FIELD("labelled", sum.labelled));
    return CR_OK;
}

enum cr_status cr_trainer_save(struct cr_trainer *trainer, const char *directory)
{
    const struct cr_parameters *parameters = &trainer->structure->parameters;
    if (!cr_all_finite(trainer->compute, parameters->values, parameters->count))
        return cr_fail(CR_INVALID,
                       "training step %zu left parameters NaN or infinite (try a lower learning_rate)",
                       trainer->step);
    return trainer->structure->kind->save(trainer->structure, trainer->base, directory);
}
