#include "cli/memory.h"

#include "base/cgroup.h"
#include "model/frozen.h"
#include "model/pass.h"
#include "slicing/front.h"
#include "tuning/evaluate.h"
#include "tuning/lora.h"
#include "tuning/prefix.h"
#include "tuning/schedule.h"
#include "tuning/spf.h"

#include <math.h>
#include <stdio.h>

static double free_of_machine(void)
{
    char line[128];
    double kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes * 1024;
}

// 1 if nothing is left, since 0 means unknown.
static double granted(void)
{
    return fmax((double)cr_cgroup_memory(""), 1);
}

double cr_memory_free(void)
{
    return fmin(free_of_machine(), granted());
}

bool cr_memory_is_limited(void)
{
    return granted() < free_of_machine();
}

// LoRA's values and further memory (struct cr_lora), except blocks that do not grow.
static enum cr_status add_lora(const struct cr_tuning_config *config, const struct cr_model *model,
                               struct cr_memory_trained *trained)
{
    CR_FREE struct cr_module_place *places = NULL;
    size_t count, r = config->lora.r, most = 0;
    double values = 0, size = (double)cr_dtype_size(model->act);
    bool rounded = model->act != CR_F32;
    CR_TRY(cr_lora_places(&config->lora, &model->config, &places, &count));
    for (size_t i = 0; i < count; i++) {
        size_t rows, columns;
        cr_module_shape(&model->config, places[i].module, &rows, &columns);
        values += (double)r * (double)(rows + columns);
        most = cr_most(most, cr_lora_sharing(places + i, count - i));
    }
    trained->values += values;
    if (rounded) trained->beside += values * size;
    trained->each_row = (double)(count * r * cr_tuning_config_lanes(config)) * size +
                        (double)(most * r) * (sizeof(float) + (rounded ? size : 0));
    return CR_OK;
}

enum cr_status cr_memory_trained(const struct cr_tuning_config *config, const struct cr_model *model,
                                 struct cr_memory_trained *out)
{
    struct cr_memory_trained trained = {0};
    if (config->method == CR_METHOD_FULL) trained.values = (double)cr_model_value_count(model);
    if (config->method == CR_METHOD_PREFIX_TUNING) {
        CR_CLEANUP(cr_parameters_release) struct cr_parameters parameters = {0};
        CR_TRY(cr_prefix_parameters(&config->prefix_tuning, &model->config, &parameters));
        trained.values = (double)parameters.count;
    }
    if (cr_method_has_lora(config->method)) CR_TRY(add_lora(config, model, &trained));
    if (cr_method_has_spf(config->method)) {
        size_t named, most, beside, choosing;
        CR_TRY(cr_spf_budget(&config->spf, &model->config, &named, &most));
        CR_TRY(cr_spf_memory_of(&config->spf, &model->config, model->act, &beside));
        CR_TRY(cr_spf_choosing_memory(&config->spf, &model->config, &choosing));
        trained.values += (double)most;
        trained.beside += (double)beside;
        trained.choosing = (double)choosing;
    }
    *out = trained;
    return CR_OK;
}

// Bytes of the model's parameters: of all, or only of those outside the frozen matrices. In a part without
// the embedding, an embedding parameter is a tied head.
static double held_bytes(const struct cr_tuning_config *config, const struct cr_model *model, bool all)
{
    double bytes = 0;
    for (size_t i = 0; i < model->parameter_count; i++) {
        const struct cr_model_parameter *parameter = &model->parameters[i];
        if (!cr_model_part_has(&model->part, &model->config, parameter)) continue;
        bool head = parameter->kind == CR_PARAMETER_HEAD ||
                    (parameter->kind == CR_PARAMETER_EMBEDDING && !model->part.embedding);
        if (!all && (head || parameter->kind == CR_PARAMETER_MODULE)) continue;
        bool trained = config->method == CR_METHOD_FULL && parameter->columns > 0;
        enum cr_dtype dtype = trained ? model->act : cr_parameter_type(model, parameter);
        bytes += (double)(parameter->rows * cr_most(parameter->columns, 1) * cr_dtype_size(dtype));
    }
    return bytes;
}

static double frozen_elements(struct cr_model *model)
{
    double elements = 0;
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        const struct cr_linear *linear = cr_frozen_linear(model, i);
        if (cr_frozen_held(model, i)) elements += (double)(linear->out * linear->in);
    }
    return elements;
}

struct cr_memory cr_memory_of(const struct cr_tuning_config *config, struct cr_model *model, size_t batch,
                              size_t longest, size_t first, const struct cr_memory_trained *trained)
{
    struct cr_training_config training = config->training;
    training.lanes = cr_tuning_config_lanes(config);
    training.per_device_train_batch_size = batch;
    size_t rows = cr_most(cr_micro_batch_examples(&training, SIZE_MAX) * longest, config->data.max_length);
    double weights = held_bytes(config, model, true);
    struct cr_slicing_memory slicing = {0};
    if (cr_tuning_config_sliced(config)) {
        bool peer = config->slicing.pads == CR_PADS_MODE_PEER; // a federation's settings name no accelerators
        slicing = cr_slicing_memory_of(model, rows, training.lanes,
                                       cr_most(config->slicing.accelerators.count, peer ? 2 : 1), first);
        weights = held_bytes(config, model, false) + (double)slicing.inside;
        if (first > 0) weights += (double)cr_front_memory_of(model, first, config->data.max_length);
    } else if (config->load_in_8bit) {
        weights = held_bytes(config, model, false) + frozen_elements(model);
    }
    return (struct cr_memory){
        .weights = weights,
        .pass = (double)training.lanes *
                (double)cr_pass_memory_of(
                    model,
                    &(struct cr_pass_size){.rows = rows,
                                           .sequences = cr_most(batch, CR_EVALUATION_SEQUENCES),
                                           .prefix = cr_tuning_config_prefix(config),
                                           .first = first,
                                           .backward = true},
                    config->slicing.spill == CR_SPILL_MODE_SEALED),
        // Values, gradients and two moments; what choosing needs is freed before these exist.
        .trained =
            fmax(4 * trained->values * sizeof(float) + trained->beside + trained->each_row * (double)rows,
                 trained->choosing),
        .pads = (double)slicing.outside,
    };
}

double cr_memory_sum(const struct cr_memory *memory)
{
    return memory->weights + memory->pass + memory->trained + memory->data + memory->pads;
}
