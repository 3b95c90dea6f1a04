// Checks what training needs: processor, model, data, memory, and a forward pass with a sensible loss.
#include "cli/preflight.h"

#include "base/words.h"
#include "cli/memory.h"
#include "slicing/slicing.h"
#include "text/pack.h"
#include "tuning/cutter.h"
#include "tuning/front.h"
#include "tuning/place.h"
#include "tuning/schedule.h"
#include "tuning/session.h"
#include "tuning/tail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct preflight {
    struct cr_checks *checks;
    const struct cr_tuning_config *config;
    struct cr_compute *compute;
    struct cr_session session;
    struct cr_lanes *lanes;     // as many as in a run
    struct cr_slicing *slicing; // NULL without slicing
    double available;           // free memory before the model was opened
    size_t longest, examples;   // of the training data
    size_t tokens;              // of all data
    double data;                // bytes of all data in memory
    size_t front;               // number of layers of a clear front
};

static const double patience = 10; // seconds, with accelerators

static void release(struct preflight *preflight)
{
    cr_slicing_close(preflight->slicing);
    cr_lanes_free(preflight->lanes);
    cr_session_release(&preflight->session);
    cr_compute_free(preflight->compute);
}

static enum cr_status check_processor(struct preflight *preflight)
{
    static const char *const names[] = {[CR_ISA_SCALAR] = "no AVX2",
                                        [CR_ISA_AVX2] = "AVX2",
                                        [CR_ISA_AVX512] = "AVX-512",
                                        [CR_ISA_AVX512_BF16] = "AVX-512 with bfloat16",
                                        [CR_ISA_AMX] = "AMX"};
    const struct cr_compute *compute = preflight->compute;
    const char *name = names[cr_compute_isa(compute)];
    size_t threads = cr_pool_threads(cr_compute_pool(compute));
    bool wanted = preflight->config->dtype == CR_COMPUTE_BFLOAT16;
    if (wanted && !cr_compute_has_bf16(compute))
        return cr_check_say(
            preflight->checks, CR_CHECK_WARNING, "processor",
            "%s, %zu thread%s: no bfloat16 products, float32 will be used (a step takes twice the memory)",
            name, threads, cr_plural(threads));
    return cr_check_say(preflight->checks, CR_CHECK_OK, "processor", "%s, %zu thread%s", name, threads,
                        cr_plural(threads));
}

// Whether this process will use an accelerator; a federation's server does not.
static bool asks_accelerator(const struct cr_tuning_config *config)
{
    return cr_tuning_config_sliced(config) && config->slicing.accelerators.count > 0;
}

static enum cr_status open_session(struct preflight *preflight)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_session *session = &preflight->session;
    const char *path = config->model_name_or_path;
    bool split = cr_tuning_config_split(config);
    if (!asks_accelerator(config) && !split)
        return cr_session_open(path, NULL, config->dtype, cr_tuning_config_in_8bit(config),
                               preflight->compute, NULL, session);
    enum cr_dtype act = cr_activation_type(preflight->compute, config->dtype, NULL);
    CR_TRY(split ? cr_tail_open_model(config, preflight->compute, act, &session->model)
                 : cr_model_open(path, CR_MODEL_OUTSIDE, NULL, preflight->compute, act, &session->model));
    return cr_tokenizer_open(path, &session->tokenizer);
}

// Checks that the accelerator has the same matrices. That it computes correctly is verified in the forward
// check, which uses it as a run would.
static enum cr_status check_accelerator(struct preflight *preflight)
{
    const struct cr_tuning_config *config = preflight->config;
    if (!asks_accelerator(config)) return CR_OK;
    CR_TRY(cr_lanes_new(cr_tuning_config_lanes(config), &preflight->lanes));
    const struct cr_slicing_options options = {.accelerators = config->slicing.accelerators.items,
                                               .accelerator_count = config->slicing.accelerators.count,
                                               .digits = (unsigned)config->slicing.digits,
                                               .rows = cr_most(config->data.max_length, CR_SESSION_ROWS),
                                               .lanes = preflight->lanes,
                                               .threads =
                                                   cr_pool_threads(cr_compute_pool(preflight->compute)),
                                               .patience = patience};
    if (cr_slicing_open(&options, preflight->session.model, &preflight->slicing) != CR_OK)
        return cr_check_failure(preflight->checks, "accelerator");
    const struct cr_slicing_tally tally = cr_slicing_tally(preflight->slicing);
    if (!tally.ahead)
        CR_TRY(cr_check_say(preflight->checks, CR_CHECK_WARNING, "accelerator", "%s", cr_peer_pads_warning));
    return cr_check_say(preflight->checks, CR_CHECK_OK, "accelerator",
                        "%s: engine %s, with the same matrices", tally.addresses, tally.engines);
}

// Requests the front of one example, which is then computed here again.
static enum cr_status ask_front(struct preflight *preflight, struct cr_front *front)
{
    struct cr_dataset_options options = cr_data_options(&preflight->config->data);
    options.enough = 1;
    CR_CLEANUP(cr_dataset_release) struct cr_dataset *data = NULL;
    CR_TRY(cr_dataset_open(preflight->config->data.train, preflight->session.tokenizer, &options, &data));
    const struct cr_example example = cr_dataset_at(data, 0);
    size_t hidden = preflight->session.model->config.hidden;
    CR_FREE float *stream = NULL;
    CR_FREE uint32_t *position = NULL;
    CR_TRY(cr_allocate(example.count * hidden, sizeof *stream, &stream));
    CR_TRY(cr_allocate(example.count, sizeof *position, &position));
    for (size_t i = 0; i < example.count; i++) position[i] = (uint32_t)i;
    const struct cr_rows rows = {.sequences = 1,
                                 .rows = example.count,
                                 .offset = (const size_t[]){0, example.count},
                                 .tokens = example.tokens,
                                 .position = position};
    return cr_front_ask(front, &rows, cr_matrix_of(stream, CR_F32, example.count, hidden));
}

static enum cr_status check_front(struct preflight *preflight)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_checks *checks = preflight->checks;
    if (preflight->front == 0 || !preflight->slicing || preflight->examples == 0) return CR_OK;
    const struct cr_front_options options = {.address = config->slicing.own_accelerator,
                                             .slicing = preflight->slicing,
                                             .layers = preflight->front,
                                             .rows = config->data.max_length,
                                             .longest = config->data.max_length,
                                             .patience = patience};
    struct cr_front *front;
    if (cr_front_open(&options, &front) != CR_OK) return cr_check_failure(checks, "clear front");
    enum cr_status status = ask_front(preflight, front);
    cr_front_close(front);
    if (status != CR_OK) return cr_check_failure(checks, "clear front");
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "clear front",
                        "%s computes what lies below layer %zu as this process does", options.address,
                        options.layers));
    double bytes = (double)preflight->tokens * (double)preflight->session.model->config.hidden;
    return cr_preflight_place(checks, "clear front", config->output_dir, sizeof(float) * bytes);
}

// Checks the checkpoint as a whole, before a model is made of it.
static enum cr_status check_model(struct preflight *preflight, bool *opened)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_checks *checks = preflight->checks;
    struct cr_model_config shape;
    struct cr_safetensors *file;
    if (cr_model_config_read(config->model_name_or_path, &shape) != CR_OK)
        return cr_check_failure(checks, "model");
    if (config->random_init)
        return cr_check_say(checks, CR_CHECK_OK, "model", "%s: %zu layer%s of width %zu, from random weights",
                            config->model_name_or_path, shape.layers, cr_plural(shape.layers), shape.hidden);
    if (cr_safetensors_open(config->model_name_or_path, &file) != CR_OK)
        return cr_check_failure(checks, "model");
    double bytes = 0;
    for (size_t i = 0; i < cr_safetensors_count(file); i++)
        bytes += (double)cr_safetensors_at(file, i)->bytes.size;
    cr_safetensors_free(file);
    double available = preflight->available;
    char weights[CR_SIZE_TEXT], free[CR_SIZE_TEXT], values[CR_COUNT_SIZE];
    if (available > 0 && bytes > available && !asks_accelerator(config) && !cr_tuning_config_split(config))
        return cr_check_say(checks, CR_CHECK_FAILED, "model", "%s: %s of weights, %s of memory are free",
                            config->model_name_or_path, cr_size_text(bytes, weights),
                            cr_size_text(available, free));
    if (open_session(preflight) != CR_OK) return cr_check_failure(checks, "model");
    *opened = true;
    return cr_check_say(checks, CR_CHECK_OK, "model",
                        "%s: %zu layer%s of width %zu, %s parameters, context %zu",
                        config->model_name_or_path, shape.layers, cr_plural(shape.layers), shape.hidden,
                        cr_count_text(cr_model_value_count(preflight->session.model), values), shape.context);
}

static enum cr_status say_of_data(struct cr_checks *checks, const char *path, const struct cr_dataset *data,
                                  size_t max_length, size_t *longest, size_t *all_tokens)
{
    size_t count = cr_dataset_count(data), tokens = 0, most = 0, cut = cr_dataset_cut(data);
    for (size_t i = 0; i < count; i++) {
        size_t length = cr_dataset_at(data, i).count;
        tokens += length;
        most = cr_most(most, length);
    }
    *longest = most;
    *all_tokens += tokens;
    char examples[CR_COUNT_SIZE], all[CR_COUNT_SIZE], length[CR_COUNT_SIZE];
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "data", "%s: %s example%s, %s tokens, the longest %s", path,
                        cr_count_text(count, examples), cr_plural(count), cr_count_text(tokens, all),
                        cr_count_text(most, length)));
    size_t skipped = cr_dataset_skipped(data), bad = cr_dataset_bad_rows(data);
    if (skipped > 0)
        CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "data", "%s: %zu row%s with nothing to learn: left out",
                            path, skipped, cr_plural(skipped)));
    if (bad > 0)
        CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "data",
                            "%s: %zu row%s that cannot be read: passed over; the first: %s", path, bad,
                            cr_plural(bad), cr_dataset_first_bad(data)));
    if (cut == 0) return CR_OK;
    enum cr_check check = cut * 20 < count ? CR_CHECK_OK : CR_CHECK_WARNING;
    return cr_check_say(checks, check, "data",
                        "%s: %s of the examples (%.1f %%) cut off at data.max_length, %zu tokens", path,
                        cr_count_text(cut, examples), 100 * (double)cut / (double)count, max_length);
}

static enum cr_status say_of_warmup(const struct preflight *preflight, const struct cr_dataset *data)
{
    const struct cr_tuning_config *config = preflight->config;
    CR_CLEANUP(cr_packs_release) struct cr_packs packs = {0};
    char why[CR_WARMUP_TEXT_SIZE];
    CR_TRY(cr_dataset_pack(data, config->data.packing, config->data.max_length, &packs));
    size_t steps = cr_steps_in_all(&config->training, packs.count);
    if (!cr_warmup_never_ends(&config->training, steps, why)) return CR_OK;
    return cr_check_say(preflight->checks, CR_CHECK_WARNING, "training", "%s", why);
}

// Checks a file of training or held-out data; `examples` is 0 if it cannot be used.
static enum cr_status check_file(struct preflight *preflight, const char *path, bool trained,
                                 size_t *examples, size_t *longest)
{
    struct cr_dataset_options options = cr_data_options(&preflight->config->data);
    options.vocabulary = preflight->session.model->config.vocabulary;
    options.append_eos = trained;
    struct cr_dataset *data;
    *examples = *longest = 0;
    if (cr_dataset_open(path, preflight->session.tokenizer, &options, &data) != CR_OK)
        return cr_check_failure(preflight->checks, "data");
    *examples = cr_dataset_count(data);
    enum cr_status status =
        say_of_data(preflight->checks, path, data, options.max_length, longest, &preflight->tokens);
    if (status == CR_OK && trained) status = say_of_warmup(preflight, data);
    preflight->data += (double)cr_dataset_memory(data);
    cr_dataset_free(data);
    return status;
}

static enum cr_status check_data(struct preflight *preflight)
{
    const struct cr_data_config *data = &preflight->config->data;
    size_t context = preflight->session.model->config.context, held_out, longest;
    if (cr_tuning_config_check_context(preflight->config, context) != CR_OK)
        return cr_check_failure(preflight->checks, "data");
    if (data->train)
        CR_TRY(check_file(preflight, data->train, true, &preflight->examples, &preflight->longest));
    return data->eval ? check_file(preflight, data->eval, false, &held_out, &longest) : CR_OK;
}

static enum cr_status check_memory(struct preflight *preflight, const struct cr_memory_trained *trained)
{
    const struct cr_tuning_config *config = preflight->config;
    size_t batch = cr_micro_batch_examples(&config->training, cr_most(preflight->examples, 1));
    size_t longest = config->data.packing ? config->data.max_length : preflight->longest;
    struct cr_memory memory =
        cr_memory_of(config, preflight->session.model, batch, longest, preflight->front, trained);
    memory.data = preflight->data;
    double needed = cr_memory_sum(&memory), available = preflight->available;
    enum cr_check check = available > 0 && needed > available ? CR_CHECK_FAILED : CR_CHECK_OK;
    const char *advice = cr_tuning_config_in_8bit(config) ? " (a smaller batch, or max_length)"
                                                          : " (a smaller batch, max_length, or load_in_8bit)";
    char sum[CR_SIZE_TEXT], weights[CR_SIZE_TEXT], pass[CR_SIZE_TEXT], vectors[CR_SIZE_TEXT],
        data[CR_SIZE_TEXT], free[CR_SIZE_TEXT], outside[CR_SIZE_TEXT], pads[64] = "";
    if (memory.pads > 0)
        snprintf(pads, sizeof pads, ", products of pads %s", cr_size_text(memory.pads, outside));
    return cr_check_say(preflight->checks, check, "memory",
                        "about %s: weights %s, a step %s, what is trained %s, data %s%s; %s are free%s",
                        cr_size_text(needed, sum), cr_size_text(memory.weights, weights),
                        cr_size_text(memory.pass, pass), cr_size_text(memory.trained, vectors),
                        cr_size_text(memory.data, data), pads, cr_size_text(available, free),
                        check == CR_CHECK_OK ? "" : advice);
}

// Runs the first rows forward: a model with its right tokenizer does better than guessing.
static enum cr_status check_forward(struct preflight *preflight)
{
    // With slicing only one: much of the memory is for the products of pads of its rows.
    enum { EXAMPLES = 4 };
    struct cr_dataset_options options = cr_data_options(&preflight->config->data);
    options.enough = asks_accelerator(preflight->config) ? 1 : EXAMPLES;
    struct cr_tally tally = {0};
    if (cr_session_evaluate(&preflight->session, preflight->config->data.train, &options, NULL, &tally) !=
        CR_OK)
        return cr_check_failure(preflight->checks, "forward");
    double loss = tally.loss_sum / (double)tally.labelled;
    double guess = log((double)preflight->session.model->config.vocabulary);
    enum cr_check check = loss > guess ? CR_CHECK_WARNING : CR_CHECK_OK;
    return cr_check_say(preflight->checks, check, "forward",
                        "the first rows have a loss of %.3f, guessing has %.3f%s", loss, guess,
                        check == CR_CHECK_OK
                            ? ""
                            : ": is the text of a kind that the model knows, and the tokenizer its own?");
}

// The checks that need an opened model.
static enum cr_status check_use(struct preflight *preflight)
{
    const struct cr_tuning_config *config = preflight->config;
    struct cr_checks *checks = preflight->checks;
    const struct cr_model *model = preflight->session.model;
    struct cr_memory_trained trained;
    struct cr_tuning_config tuned;
    CR_FREE size_t *tail = NULL;
    if (cr_tuning_config_tail(config, model->config.layers, &tuned, &tail) != CR_OK ||
        cr_memory_trained(&tuned, model, &trained) != CR_OK ||
        cr_front_end(config, &model->config, &preflight->front) != CR_OK)
        return cr_check_failure(checks, "settings");
    if (cr_place_check(config->output_dir, config->model_name_or_path, config->method) != CR_OK)
        CR_TRY(cr_check_failure(checks, "output"));
    else
        CR_TRY(cr_preflight_place(checks, "output", config->output_dir, 4 * trained.values * sizeof(float)));
    CR_TRY(cr_preflight_run(checks, config->output_dir));
    char replaced[1024];
    if (cr_place_is_replaced(config->output_dir, config->method, replaced, sizeof replaced))
        CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "output", "%s", replaced));
    CR_TRY(check_data(preflight));
    CR_TRY(check_memory(preflight, &trained));
    CR_TRY(check_accelerator(preflight));
    CR_TRY(check_front(preflight));
    return preflight->examples > 0 && checks->failed == 0 ? check_forward(preflight) : CR_OK;
}

enum cr_status cr_preflight_training(struct cr_checks *checks, const struct cr_tuning_config *config)
{
    CR_CLEANUP(release)
    struct preflight preflight = {.checks = checks, .config = config, .available = cr_memory_free()};
    CR_TRY(cr_compute_new(config->threads, &preflight.compute));
    CR_TRY(check_processor(&preflight));
    bool opened = false;
    CR_TRY(check_model(&preflight, &opened));
    return opened ? check_use(&preflight) : CR_OK;
}

enum cr_status cr_preflight_cutter(struct cr_checks *checks, const struct cr_tuning_config *config)
{
    CR_CLEANUP(release) struct preflight preflight = {.checks = checks, .config = config};
    CR_TRY(cr_compute_new(config->threads, &preflight.compute));
    CR_TRY(check_processor(&preflight));
    CR_TRY(cr_preflight_place(checks, "output", config->output_dir, 0));
    CR_TRY(cr_preflight_run(checks, config->output_dir));
    const struct cr_event_sink silent = {0};
    struct cr_cutter *cutter;
    if (cr_cutter_new(config, preflight.compute, &silent, &cutter) != CR_OK)
        return cr_check_failure(checks, "data");
    enum cr_status status = say_of_data(checks, config->data.train, cr_cutter_data(cutter),
                                        config->data.max_length, &preflight.longest, &preflight.tokens);
    cr_cutter_free(cutter);
    return status;
}
