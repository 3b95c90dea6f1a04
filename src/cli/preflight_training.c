// What training needs: processor, model, data, memory, and a forward pass that gives a sensible loss.
#include "cli/preflight.h"

#include "base/file.h"
#include "tuning/checkpoint.h"
#include "tuning/evaluate.h"
#include "tuning/lora.h"
#include "tuning/prefix.h"
#include "tuning/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct preflight {
    struct cr_checks *checks;
    const struct cr_tuning_config *config;
    struct cr_compute *compute;
    struct cr_session session;
    size_t longest, examples; // of the training data
};

static void release(struct preflight *preflight)
{
    cr_session_release(&preflight->session);
    cr_compute_free(preflight->compute);
}

static enum cr_status check_processor(struct preflight *preflight)
{
    static const char *const names[] = {[CR_ISA_SCALAR] = "no AVX2",
                                        [CR_ISA_AVX2] = "AVX2",
                                        [CR_ISA_AVX512] = "AVX-512",
                                        [CR_ISA_AMX] = "AMX"};
    const struct cr_compute *compute = preflight->compute;
    const char *name = names[cr_compute_isa(compute)];
    size_t threads = cr_pool_threads(cr_compute_pool(compute));
    bool wanted = preflight->config->dtype == CR_COMPUTE_BFLOAT16;
    if (wanted && !cr_compute_has_bf16(compute))
        return cr_check_say(preflight->checks, CR_CHECK_WARNING, "processor",
                            "%s, %zu threads: no bfloat16 products, float32 will be used (twice the memory)",
                            name, threads);
    return cr_check_say(preflight->checks, CR_CHECK_OK, "processor", "%s, %zu threads", name, threads);
}

static size_t parameter_count(const struct cr_model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < model->parameter_count; i++)
        count += model->parameters[i].rows * cr_most(model->parameters[i].columns, 1);
    return count;
}

// Bytes that may be taken without another program losing its own; 0: unknown. Linux' own estimate.
static double free_memory(void)
{
    char line[128];
    double kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes * 1024;
}

// The checkpoint as a whole, before a model is made of it.
static enum cr_status check_model(struct preflight *preflight, bool *opened)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_checks *checks = preflight->checks;
    struct cr_model_config shape;
    struct cr_safetensors *file;
    if (cr_model_config_read(config->model_name_or_path, &shape) != CR_OK)
        return cr_check_failure(checks, "model");
    if (config->random_init)
        return cr_check_say(checks, CR_CHECK_OK, "model", "%s: %zu layers of width %zu, from random weights",
                            config->model_name_or_path, shape.layers, shape.hidden);
    if (cr_safetensors_open(config->model_name_or_path, &file) != CR_OK)
        return cr_check_failure(checks, "model");
    double bytes = 0;
    for (size_t i = 0; i < cr_safetensors_count(file); i++)
        bytes += (double)cr_safetensors_at(file, i)->bytes.size;
    cr_safetensors_free(file);
    double available = free_memory();
    if (available > 0 && bytes > available)
        return cr_check_say(checks, CR_CHECK_FAILED, "model",
                            "%s: %.1f GB of weights, %.1f GB of memory are free", config->model_name_or_path,
                            bytes / 1e9, available / 1e9);
    if (cr_session_open(config->model_name_or_path, NULL, config->dtype, config->load_in_8bit,
                        preflight->compute, NULL, &preflight->session) != CR_OK)
        return cr_check_failure(checks, "model");
    *opened = true;
    return cr_check_say(checks, CR_CHECK_OK, "model",
                        "%s: %zu layers of width %zu, %zu parameters, context %zu",
                        config->model_name_or_path, shape.layers, shape.hidden,
                        parameter_count(preflight->session.model), shape.context);
}

static enum cr_status check_data(struct preflight *preflight, const char *path)
{
    struct cr_dataset_options options = cr_data_options(&preflight->config->data);
    options.append_eos = true;
    struct cr_checks *checks = preflight->checks;
    size_t context = preflight->session.model->config.context;
    if (cr_tuning_config_check_context(preflight->config, context) != CR_OK)
        return cr_check_failure(checks, "data");
    struct cr_dataset *data;
    if (cr_dataset_open(path, preflight->session.tokenizer, &options, &data) != CR_OK)
        return cr_check_failure(checks, "data");
    size_t count = cr_dataset_count(data), skipped = cr_dataset_skipped(data), tokens = 0, longest = 0,
           full = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = cr_dataset_at(data, i).count;
        tokens += length;
        longest = cr_most(longest, length);
        full += length == options.max_length;
    }
    cr_dataset_free(data);
    preflight->longest = longest;
    preflight->examples = count;
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "data", "%s: %zu examples, %zu tokens, the longest %zu", path,
                        count, tokens, longest));
    if (skipped > 0)
        CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "data",
                            "%zu rows have nothing to learn and are left out", skipped));
    if (full * 20 < count) return CR_OK;
    return cr_check_say(
        checks, CR_CHECK_WARNING, "data",
        "%zu examples (%.0f %%) fill data.max_length of %zu tokens: what they had beyond it is cut off", full,
        100 * (double)full / (double)count, options.max_length);
}

// Values that will be trained; 0 where that cannot be told.
static enum cr_status trainable(const struct preflight *preflight, double *out)
{
    const struct cr_tuning_config *config = preflight->config;
    const struct cr_model *model = preflight->session.model;
    *out = (double)parameter_count(model);
    if (config->method == CR_METHOD_FULL) return CR_OK;
    if (config->method == CR_METHOD_PREFIX_TUNING) {
        CR_CLEANUP(cr_parameters_release) struct cr_parameters parameters = {0};
        CR_TRY(cr_prefix_parameters(&config->prefix_tuning, &model->config, &parameters));
        *out = (double)parameters.count;
        return CR_OK;
    }
    CR_FREE struct cr_lora_place *places = NULL;
    size_t count;
    CR_TRY(cr_lora_places(&config->lora, &model->config, &places, &count));
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        size_t rows, columns;
        cr_module_shape(&model->config, places[i].module, &rows, &columns);
        *out += (double)config->lora.r * (double)(rows + columns);
    }
    return CR_OK;
}

// What the trainer will take, as it counts itself: a pass, and vectors of values, gradients and moments.
static enum cr_status check_memory(struct preflight *preflight, double values)
{
    const struct cr_tuning_config *config = preflight->config;
    const struct cr_model *model = preflight->session.model;
    size_t batch = cr_least(config->training.per_device_train_batch_size, cr_most(preflight->examples, 1));
    size_t rows = cr_most(batch * preflight->longest, config->data.max_length);
    double pass = (double)cr_pass_memory_of(model, rows, cr_most(batch, CR_EVALUATION_SEQUENCES),
                                            cr_tuning_config_prefix(config), true);
    double weight = config->load_in_8bit ? 1 : (double)cr_dtype_size(model->act);
    double weights = (double)parameter_count(model) * weight, vectors = 4 * values * sizeof(float);
    double needed = pass + vectors + weights, available = free_memory();
    enum cr_check check = available > 0 && needed > available ? CR_CHECK_FAILED : CR_CHECK_OK;
    return cr_check_say(preflight->checks, check, "memory",
                        "about %.2f GB: weights %.2f, a step %.2f, what is trained %.2f; %.1f GB are free%s",
                        needed / 1e9, weights / 1e9, pass / 1e9, vectors / 1e9, available / 1e9,
                        check == CR_CHECK_OK ? "" : " (a smaller batch, max_length, or load_in_8bit)");
}

// The first rows forward: a model and a tokenizer that belong together do better than guessing.
static enum cr_status check_forward(struct preflight *preflight)
{
    enum { ROWS = 4 };
    struct cr_dataset_options options = cr_data_options(&preflight->config->data);
    options.limit = ROWS;
    struct cr_tally tally = {0};
    if (cr_session_evaluate(&preflight->session, preflight->config->data.train, &options, &tally) != CR_OK)
        return cr_check_failure(preflight->checks, "forward");
    double loss = tally.loss_sum / (double)tally.labelled;
    double guess = log((double)preflight->session.model->config.vocabulary);
    if (!isfinite(loss))
        return cr_check_say(preflight->checks, CR_CHECK_FAILED, "forward",
                            "the loss of the first rows is not finite");
    enum cr_check check = loss > guess ? CR_CHECK_WARNING : CR_CHECK_OK;
    return cr_check_say(preflight->checks, check, "forward",
                        "the first rows have a loss of %.3f, guessing has %.3f%s", loss, guess,
                        check == CR_CHECK_OK
                            ? ""
                            : ": is the text of a kind that the model knows, and the tokenizer its own?");
}

// With a model that could be opened.
static enum cr_status check_use(struct preflight *preflight)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_checks *checks = preflight->checks;
    double values;
    if (trainable(preflight, &values) != CR_OK) return cr_check_failure(checks, "settings");
    CR_TRY(cr_preflight_place(checks, "output", config->output_dir, 4 * values * sizeof(float)));
    if (config->data.train) CR_TRY(check_data(preflight, config->data.train));
    if (config->data.eval && !cr_file_exists(config->data.eval))
        CR_TRY(
            cr_check_say(checks, CR_CHECK_FAILED, "data", "data.eval: %s does not exist", config->data.eval));
    CR_TRY(check_memory(preflight, values));
    return preflight->examples > 0 && checks->failed == 0 ? check_forward(preflight) : CR_OK;
}

enum cr_status cr_preflight_training(struct cr_checks *checks, const struct cr_tuning_config *config)
{
    CR_CLEANUP(release) struct preflight preflight = {.checks = checks, .config = config};
    CR_TRY(cr_compute_new(config->threads, &preflight.compute));
    CR_TRY(check_processor(&preflight));
    bool opened = false;
    CR_TRY(check_model(&preflight, &opened));
    return opened ? check_use(&preflight) : CR_OK;
}
