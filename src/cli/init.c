// carrel init: writes a commented file of settings for a model, for the user to edit.
#include "cli/command.h"

#include "base/file.h"
#include "base/parse.h"
#include "cli/memory.h"
#include "federation/config.h"
#include "text/tokenizer.h"
#include "tuning/lora.h"
#include "tuning/session.h"

#include <stdio.h>
#include <string.h>

// The keys that a user should look at. The other keys have defaults; docs/CONFIG.md lists them all.
static const char *const common[] = {
    "model_name_or_path",
    "output_dir",
    "method",
    "dtype",
    "seed",
    "data.train",
    "data.eval",
    "data.chat_template",
    "data.max_length",
    "training.learning_rate",
    "training.per_device_train_batch_size",
    "training.gradient_accumulation_steps",
    "training.lr_scheduler_type",
    "training.warmup_steps",
};
static const char *const of_tune[] = {"training.num_train_epochs"}; // in a federation the rounds decide
static const char *const of_eval[] = {"training.eval_steps"};       // of `tune`, with data.eval
static const char *const of_labels[] = {"data.label_words", "data.label_prompt"}; // for a .tsv
static const char *const of_slicing[] = {"slicing.pads"};                         // if the base is frozen
static const char *const of_lora[] = {"load_in_8bit", "lora.r", "lora.lora_alpha", "lora.lora_dropout",
                                      "lora.target_modules"};
static const char *const of_spf[] = {"spf.criterion", "spf.granularity", "spf.density", "spf.target_modules"};
static const char *const of_prefix[] = {"load_in_8bit", "prefix_tuning.num_virtual_tokens",
                                        "prefix_tuning.prefix_projection"};
static const char *const of_federation[] = {
    "federation.address", "federation.advertise",        "federation.state_dir",
    "federation.rounds",  "federation.local_epochs",     "federation.min_clients",
    "federation.release", "federation.appraisal_policy", "attestation.attester"};

struct request {
    const char *model, *data, *eval, *output, *method;
    bool federation;
};

static size_t add_keys(const char **keys, size_t count, const char *const *more, size_t more_count)
{
    memcpy(keys + count, more, more_count * sizeof *more);
    return count + more_count;
}

static enum cr_status set(struct cr_config *config, const char *key, const char *value)
{
    return cr_options_set(&cr_config_table, config, key, value);
}

// PEFT's choice for the family, written out so that the user sees it.
static enum cr_status set_targets(struct cr_config *config, const struct cr_model_config *model)
{
    size_t count;
    const char *const *targets = cr_lora_targets(&config->tuning.lora, model, &count);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer list = {0};
    for (size_t i = 0; i < count; i++)
        CR_TRY(cr_append_format(&list, "%s%s", i > 0 ? ", " : "[", targets[i]));
    CR_TRY(cr_append_format(&list, "]"));
    return set(config, "lora.target_modules", cr_buffer_text(&list));
}

// Sets the largest batch whose step needs at most half of the free memory, and the number of passes that
// together make an optimiser step of BATCH examples.
static enum cr_status set_batch(struct cr_config *config, struct cr_compute *compute)
{
    enum { BATCH = 4 };
    const struct cr_tuning_config *tuning = &config->tuning;
    CR_CLEANUP(cr_model_release) struct cr_model *model = NULL;
    CR_TRY(cr_model_open(tuning->model_name_or_path, CR_MODEL_SHAPE, NULL, compute,
                         cr_activation_type(compute, tuning->dtype, NULL), &model));
    struct cr_memory_trained trained;
    CR_TRY(cr_memory_trained(tuning, model, &trained));
    size_t batch = BATCH;
    for (; batch > 1; batch /= 2) {
        struct cr_memory memory = cr_memory_of(tuning, model, batch, tuning->data.max_length, 0, &trained);
        if (cr_memory_sum(&memory) <= cr_memory_free() / 2) break;
    }
    char text[24];
    snprintf(text, sizeof text, "%zu", batch);
    CR_TRY(set(config, "training.per_device_train_batch_size", text));
    snprintf(text, sizeof text, "%zu", BATCH / batch);
    return set(config, "training.gradient_accumulation_steps", text);
}

static enum cr_status fill(const struct request *request, const struct cr_model_config *model,
                           struct cr_config *config)
{
    char length[24];
    CR_TRY(set(config, "model_name_or_path", request->model));
    // A federation's server needs no data.
    if (request->data || !request->federation)
        CR_TRY(set(config, "data.train", request->data ? request->data : "train.jsonl"));
    if (request->eval) CR_TRY(set(config, "data.eval", request->eval));
    CR_TRY(set(config, "method", request->method));
    int method = config->tuning.method;
    size_t prefix = cr_tuning_config_prefix(&config->tuning);
    size_t room = model->context > prefix ? model->context - prefix : model->context;
    snprintf(length, sizeof length, "%zu", cr_least(room, config->tuning.data.max_length));
    CR_TRY(set(config, "output_dir", method == CR_METHOD_FULL ? "tuned" : "adapter"));
    CR_TRY(set(config, "data.max_length", length));
    if (cr_method_has_lora(method)) CR_TRY(set_targets(config, model));
    if (cr_method_has_lora(method) || method == CR_METHOD_SPF) return CR_OK;
    if (method == CR_METHOD_FULL) return set(config, "training.learning_rate", "0.00002");
    CR_TRY(
        set(config, "prefix_tuning.prefix_projection", "true")); // random keys and values are slow to train
    return set(config, "training.learning_rate", "0.005");
}

static enum cr_status write_file(const struct request *request, const struct cr_config *config)
{
    enum { MOST = 40 };
    const char *keys[MOST];
    _Static_assert(sizeof common + sizeof of_tune + sizeof of_eval + sizeof of_labels + sizeof of_lora +
                           sizeof of_spf + sizeof of_slicing + sizeof of_federation <=
                       sizeof keys,
                   "room for all");
    size_t count = add_keys(keys, 0, common, sizeof common / sizeof *common);
    if (config->tuning.data.train && cr_ends_with(config->tuning.data.train, ".tsv"))
        count = add_keys(keys, count, of_labels, sizeof of_labels / sizeof *of_labels);
    if (cr_method_has_lora(config->tuning.method))
        count = add_keys(keys, count, of_lora, sizeof of_lora / sizeof *of_lora);
    if (config->tuning.method == CR_METHOD_SPF) keys[count++] = "load_in_8bit";
    if (cr_method_has_spf(config->tuning.method))
        count = add_keys(keys, count, of_spf, sizeof of_spf / sizeof *of_spf);
    if (config->tuning.method == CR_METHOD_PREFIX_TUNING)
        count = add_keys(keys, count, of_prefix, sizeof of_prefix / sizeof *of_prefix);
    if (config->tuning.method != CR_METHOD_FULL)
        count = add_keys(keys, count, of_slicing, sizeof of_slicing / sizeof *of_slicing);
    if (request->federation)
        count = add_keys(keys, count, of_federation, sizeof of_federation / sizeof *of_federation);
    else
        count = add_keys(keys, count, of_tune, sizeof of_tune / sizeof *of_tune);
    if (!request->federation && request->eval)
        count = add_keys(keys, count, of_eval, sizeof of_eval / sizeof *of_eval);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "# Settings of carrel. docs/CONFIG.md has every key.\n"));
    CR_TRY(cr_options_write_commented(&cr_config_table, config, keys, count, &text));
    return cr_file_write_new(request->output, cr_buffer_slice(&text)); // another `init` may have been faster
}

static enum cr_status init(const struct request *request)
{
    CR_TRY(cr_file_look(request->output));
    if (cr_file_exists(request->output))
        return cr_fail(CR_INVALID, "%s: is there already, and stays as it is (name another with --output)",
                       request->output);
    struct cr_model_config model;
    CR_TRY(cr_model_config_read(request->model, &model));
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_open(request->model, &tokenizer));
    cr_tokenizer_free(tokenizer);
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(cr_config_parse(cr_slice_of_string("model_name_or_path: model"), "defaults", &config));
    CR_TRY(fill(request, &model, &config));
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    CR_TRY(cr_compute_new(1, &compute));
    CR_TRY(set_batch(&config, compute));
    CR_TRY(write_file(request, &config));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_append_format(&out, "%s is written. Next:\n  carrel preflight %s%s\n  carrel %s %s\n",
                            request->output, request->output, request->federation ? " --serve" : "",
                            request->federation ? "serve" : "tune", request->output));
    return cr_command_print(cr_buffer_slice(&out));
}

enum cr_status cr_command_init(int argc, char **argv)
{
    struct request request = {.output = "carrel.yaml", .method = "lora"};
    bool done;
    const struct cr_flag items[] = {
        {"data", CR_FLAG_STRING, &request.data, "FILE", "the training data (train.jsonl)"},
        {"eval", CR_FLAG_STRING, &request.eval, "FILE", "held-out data"},
        {"method", CR_FLAG_STRING, &request.method, "NAME",
         "lora, the default, spf, lora+spf, prefix_tuning or full"},
        {"federation", CR_FLAG_BOOL, &request.federation, NULL, "settings of a federation's server as well"},
        {"output", CR_FLAG_STRING, &request.output, "FILE", "where they are written (carrel.yaml)"},
    };
    const struct cr_flags flags = {
        "carrel init MODEL_DIR [options]",
        "Writes settings for fine-tuning the model in that Hugging Face directory, with the "
        "keys that a\nperson should look at, each below what it means.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &request.model, NULL, &done));
    return done ? CR_OK : init(&request);
}
