#include "tuning/merge.h"

#include "base/file.h"
#include "base/mapping.h"
#include "crypto/random.h"
#include "model/filed.h"
#include "model/pass.h"
#include "tensor/ops.h"
#include "tuning/adapter.h"
#include "tuning/checkpoint.h"
#include "tuning/place.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEQUENCE = 32 }; // tokens that are compared, if the context has room

// How much another order of sums usually changes logits, as a fraction of their root mean square. Measured:
// 1e-6 to 5e-6 with few layers, 1.2e-5 with 32 of width 512; the rest is a margin for wider models. A base
// that amplifies small differences, such as one with large biases of q and k, changes more.
static const double usual_difference = 5e-4;

// How far W′x − Wx may be from what the adapter adds to a module's output, for normally distributed x: W′ is
// rounded to half a unit of float32, 2⁻²⁵ to 2⁻²⁴ of each weight, and what the adapter adds is a float32 sum.
static const double rounded_weights = 0x1p-21; // of the root of the weights' squares: eight times as much
static const double rounded_sums = 1e-4;       // of the largest thing added

struct merge {
    struct cr_compute *compute;
    bool (*keep_going)(void);        // may be NULL
    struct cr_model *model;          // the base, F32; its matrices stay in its files
    struct cr_filed_change change;   // what happens to each matrix that a linear reads
    bool adding;                     // whether `change` adds the adapter's change
    struct cr_structure *structure;  // the adapter
    struct cr_module_place *places;  // [modules]
    size_t modules;                  // how many the adapter changes
    struct cr_tensor_entry *entries; // [cr_safetensors_count(model->weights)] of the file to write
    size_t *merged;   // [as many]: the parameter + 1 that the adapter changes; 0: the checkpoint's bytes
    float *values[2]; // of the largest matrix that the adapter changes; kept between passes
    size_t vocabulary, tokens;
    float *expected, *found; // [tokens, vocabulary] logits
};

static enum cr_status go_on(const struct merge *merge)
{
    if (!merge->keep_going || merge->keep_going()) return CR_OK;
    return cr_fail(CR_CANCELLED, "stopped; nothing is written");
}

static void drop_values(struct merge *merge)
{
    for (size_t i = 0; i < 2; i++) cr_free(&merge->values[i]);
}

static void merge_release(struct merge *merge)
{
    drop_values(merge);
    cr_filed_forget(&merge->change);
    cr_free(&merge->merged);
    cr_free(&merge->entries);
    cr_free(&merge->places);
    cr_free(&merge->expected);
    cr_free(&merge->found);
    cr_structure_free(merge->structure);
    cr_model_free(merge->model);
}

static enum cr_status walk(const struct cr_model *model, const struct cr_tuned *tuned, size_t count,
                           struct cr_pass *pass, float *logits)
{
    uint32_t tokens[SEQUENCE], position[SEQUENCE];
    const size_t offset[] = {0, count};
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = (i * 2654435761U) % (uint32_t)model->config.vocabulary; // spread over the vocabulary
        position[i] = i;
    }
    const struct cr_rows rows = {1, count, offset, tokens, position, NULL};
    CR_TRY(cr_pass_forward(pass, tuned, &rows, 0, model->config.layers));
    return cr_pass_logits(pass, position, count, logits);
}

static enum cr_status logits_of(struct merge *merge, const struct cr_model *model,
                                const struct cr_tuned *tuned, float *logits)
{
    size_t count = merge->tokens;
    struct cr_pass *pass;
    drop_values(merge);
    CR_TRY(cr_pass_new(model, &(struct cr_pass_size){.rows = count, .sequences = 1}, NULL, &pass));
    enum cr_status status = walk(model, tuned, count, pass, logits);
    cr_pass_free(pass);
    cr_filed_forget(&merge->change);
    return status;
}

// The largest difference between the two sets of logits, as a fraction of the root mean square of the
// expected ones.
static double difference(const struct merge *merge)
{
    size_t count = merge->tokens * merge->vocabulary;
    double largest = 0, squares = cr_sum_of_squares(merge->compute, merge->expected, count);
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)merge->expected[i] - (double)merge->found[i]));
    return largest == 0 ? 0 : largest / sqrt(squares / (double)count);
}

// Lists the modules that the adapter changes.
static enum cr_status list_places(struct merge *merge)
{
    size_t count = merge->model->config.layers * CR_MODULES;
    CR_TRY(cr_allocate(count, sizeof *merge->places, &merge->places));
    for (size_t i = 0; i < count; i++) {
        struct cr_module_place place = cr_module_place_at(i);
        if (merge->structure->tuned.layers[place.layer].delta[place.module])
            merge->places[merge->modules++] = place;
    }
    return CR_OK;
}

// Adds the adapter's change to its module's weight, in F32.
static enum cr_status add(const struct merge *merge, const struct cr_model_parameter *parameter,
                          float *values)
{
    struct cr_module_place place = {parameter->layer, parameter->module};
    if (parameter->kind != CR_PARAMETER_MODULE ||
        !merge->structure->tuned.layers[place.layer].delta[place.module])
        return CR_OK;
    return merge->structure->kind->merge(merge->structure, place,
                                         cr_matrix_of(values, CR_F32, parameter->rows, parameter->columns));
}

static enum cr_status on_read(void *context, const struct cr_model_parameter *parameter, float *values)
{
    const struct merge *merge = context;
    CR_TRY(go_on(merge));
    return merge->adding ? add(merge, parameter, values) : CR_OK;
}

static enum cr_status open_filed(struct merge *merge, const char *directory, struct cr_model **out)
{
    CR_TRY(cr_model_open(directory, CR_MODEL_OUTSIDE, NULL, merge->compute, CR_F32, out));
    return cr_filed_attach(*out, &merge->change);
}

static enum cr_status open_both(struct merge *merge, const char *model, const char *adapter)
{
    CR_TRY(cr_adapter_check(adapter));
    merge->change = (struct cr_filed_change){.change = on_read, .context = merge};
    CR_TRY(open_filed(merge, model, &merge->model));
    CR_TRY(cr_adapter_open(adapter, merge->model, &merge->structure));
    if (!merge->structure->kind->merge)
        return cr_fail(CR_UNSUPPORTED,
                       "%s: prefix tuning cannot be merged: it adds keys and values before every text and "
                       "changes no weight (a model and its adapter are used together)",
                       adapter);
    CR_TRY(list_places(merge));
    merge->vocabulary = merge->model->config.vocabulary;
    merge->tokens = cr_least(SEQUENCE, merge->model->config.context);
    size_t count = merge->tokens * merge->vocabulary;
    CR_TRY(cr_allocate(count, sizeof(float), &merge->expected));
    CR_TRY(cr_allocate(count, sizeof(float), &merge->found));
    CR_TRY(logits_of(merge, merge->model, &merge->structure->tuned, merge->expected));
    if (!cr_all_finite(merge->compute, merge->expected, count))
        return cr_model_fail_nonfinite(merge->model, "a logit", " with the adapter");
    return CR_OK;
}

// Allocates the buffers once for all weights: doing so for each would cost more than merging.
static enum cr_status make_values(struct merge *merge)
{
    size_t most = 0;
    if (merge->values[0]) return CR_OK;
    for (size_t i = 0; i < merge->modules; i++) {
        size_t index = cr_module_place_parameter(merge->model, merge->places[i]);
        const struct cr_model_parameter *parameter = &merge->model->parameters[index];
        most = cr_most(most, parameter->rows * parameter->columns);
    }
    for (size_t i = 0; i < 2; i++) CR_TRY(cr_allocate(most, sizeof(float), &merge->values[i]));
    return CR_OK;
}

// The index of a parameter's entry in the file to write.
static size_t entry_of(const struct merge *merge, const struct cr_model_parameter *parameter)
{
    const char *name = cr_parameter_entry(parameter, merge->model->weights)->name;
    size_t i = 0;
    while (strcmp(merge->entries[i].name, name) != 0) i++;
    return i;
}

// Draws x [in]; y [out], initially zeros, becomes what the delta adds for it.
static enum cr_status try_delta(struct cr_delta *delta, float *x, size_t in, float *y, size_t out)
{
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(0, "merge", &stream));
    for (size_t j = 0; j < in; j++) x[j] = (float)cr_draws_normal(stream);
    cr_draws_free(stream);
    const struct cr_delta_part part = {delta, cr_matrix_of(y, CR_F32, 1, out)};
    return cr_deltas_forward(&part, 1, cr_matrix_of(x, CR_F32, 1, in));
}

enum cr_status cr_merge_check(const struct cr_tuned *tuned, struct cr_module_place place,
                              const struct cr_model_parameter *parameter, const float *before,
                              const float *after)
{
    size_t in = parameter->columns, out = parameter->rows;
    CR_FREE float *x = NULL;
    CR_FREE float *y = NULL;
    CR_TRY(cr_allocate(in, sizeof *x, &x));
    CR_TRY(cr_allocate(out, sizeof *y, &y));
    CR_TRY(try_delta(tuned->layers[place.layer].delta[place.module], x, in, y, out));
    double largest = 0;
    for (size_t i = 0; i < out; i++) largest = fmax(largest, fabs((double)y[i]));
    for (size_t i = 0; i < out; i++) {
        double change = 0, squares = 0;
        for (size_t j = 0; j < in; j++) {
            double from = (double)before[i * in + j], to = (double)after[i * in + j];
            change += (to - from) * (double)x[j];
            squares += from * from + to * to;
        }
        if (!(fabs(change - (double)y[i]) <= rounded_weights * sqrt(squares) + rounded_sums * largest))
            return cr_fail(CR_INTERNAL,
                           "%s: merged, its row %zu changes what a random input gives by %.9g where the "
                           "adapter adds %.9g, which float32 does not explain; nothing is written",
                           parameter->name, i, change, (double)y[i]);
    }
    return CR_OK;
}

// Computes a weight that the adapter changes, merged and not rounded, and copies its values before merging to
// `before` (may be NULL).
static enum cr_status merged_values(const struct merge *merge, const struct cr_model_parameter *parameter,
                                    float *before, float *values)
{
    const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, merge->model->weights);
    CR_TRY(cr_parameter_decode(merge->compute, parameter, entry->bytes, entry->dtype, values));
    cr_file_drop(entry->bytes);
    if (before) memcpy(before, values, parameter->rows * parameter->columns * sizeof *values);
    return add(merge, parameter, values);
}

// Checks that one module is merged correctly, and marks it to be written so.
static enum cr_status try_module(struct merge *merge, size_t i)
{
    size_t index = cr_module_place_parameter(merge->model, merge->places[i]);
    const struct cr_model_parameter *parameter = &merge->model->parameters[index];
    CR_TRY(make_values(merge));
    float *before = merge->values[0], *values = merge->values[1];
    CR_TRY(merged_values(merge, parameter, before, values));
    CR_TRY(cr_merge_check(&merge->structure->tuned, merge->places[i], parameter, before, values));
    merge->merged[entry_of(merge, parameter)] = index + 1;
    return CR_OK;
}

static enum cr_status try_all(struct merge *merge, struct cr_merge_report *report)
{
    const struct cr_safetensors *weights = merge->model->weights;
    size_t count = cr_safetensors_count(weights);
    CR_TRY(cr_allocate(count, sizeof *merge->entries, &merge->entries));
    CR_TRY(cr_allocate(count, sizeof *merge->merged, &merge->merged));
    for (size_t i = 0; i < count; i++) merge->entries[i] = *cr_safetensors_at(weights, i);
    for (size_t i = 0; i < merge->modules; i++) {
        CR_TRY(go_on(merge));
        CR_TRY(try_module(merge, i));
    }
    merge->adding = true;
    CR_TRY(logits_of(merge, merge->model, NULL, merge->found));
    report->exact = difference(merge);
    report->unusual = !(report->exact <= usual_difference);
    return CR_OK;
}

// Half a unit in the last place: a fraction of the value, or an absolute bound for values too small for that.
static void rounding_of(enum cr_dtype dtype, double *relative, double *absolute)
{
    *relative = dtype == CR_F16 ? 0x1p-11 : dtype == CR_BF16 ? 0x1p-8 : 0;
    *absolute = dtype == CR_F16 ? 0x1p-25 : dtype == CR_BF16 ? 0x1p-133 : 0;
}

// Checks a merged weight as written: each value is the unrounded one, within half a unit of its type.
static enum cr_status check_merged(struct merge *merge, const struct cr_model_parameter *parameter,
                                   const struct cr_tensor_entry *entry)
{
    size_t count = parameter->rows * parameter->columns;
    CR_TRY(make_values(merge));
    float *wanted = merge->values[0], *found = merge->values[1];
    CR_TRY(merged_values(merge, parameter, NULL, wanted));
    CR_TRY(cr_parameter_decode(merge->compute, parameter, entry->bytes, entry->dtype, found));
    double relative, absolute;
    rounding_of(entry->dtype, &relative, &absolute);
    for (size_t k = 0; k < count; k++)
        if (!(fabs((double)wanted[k] - (double)found[k]) <= relative * fabs((double)wanted[k]) + absolute))
            return cr_fail(CR_INVALID,
                           "%s: %.9g became %.9g, which rounding to %s does not explain (is it beyond "
                           "the type's range?)",
                           parameter->name, (double)wanted[k], (double)found[k], cr_dtype_name(entry->dtype));
    return CR_OK;
}

// Reads the file back and compares it.
static enum cr_status check_values(struct merge *merge, const struct cr_safetensors *file)
{
    for (size_t i = 0; i < cr_safetensors_count(merge->model->weights); i++) {
        const struct cr_tensor_entry *base = &merge->entries[i];
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, base->name);
        CR_TRY(go_on(merge));
        if (!entry || entry->bytes.size != base->bytes.size)
            return cr_fail(CR_INTERNAL, "%s was not written", base->name);
        if (merge->merged[i] > 0)
            CR_TRY(check_merged(merge, &merge->model->parameters[merge->merged[i] - 1], entry));
        else if (memcmp(entry->bytes.data, base->bytes.data, base->bytes.size) != 0)
            return cr_fail(CR_INTERNAL, "%s was not written as it is in the base", base->name);
        cr_file_drop(entry->bytes);
        cr_file_drop(base->bytes);
    }
    return CR_OK;
}

static enum cr_status check_written(struct merge *merge, const char *directory,
                                    struct cr_merge_report *report)
{
    struct cr_safetensors *file;
    CR_TRY(cr_safetensors_open(directory, &file));
    enum cr_status status = check_values(merge, file);
    cr_safetensors_free(file);
    CR_TRY(status);
    CR_TRY(go_on(merge));
    CR_CLEANUP(cr_model_release) struct cr_model *written = NULL;
    merge->adding = false;
    CR_TRY(open_filed(merge, directory, &written));
    CR_TRY(logits_of(merge, written, NULL, merge->found));
    report->written = difference(merge);
    return CR_OK;
}

// The bytes of an entry: the checkpoint's own, or the merged weight's.
static enum cr_status make_entry(void *context, size_t i, struct cr_slice *bytes)
{
    struct merge *merge = context;
    const struct cr_tensor_entry *entry = &merge->entries[i];
    CR_TRY(go_on(merge));
    if (i > 0) cr_file_drop(merge->entries[i - 1].bytes); // has been written
    *bytes = entry->bytes;
    if (merge->merged[i] == 0) return CR_OK;
    const struct cr_model_parameter *parameter = &merge->model->parameters[merge->merged[i] - 1];
    CR_TRY(make_values(merge));
    float *values = merge->values[0], *rounded = merge->values[1];
    CR_TRY(merged_values(merge, parameter, NULL, values));
    bytes->data = (const unsigned char *)rounded;
    return cr_parameter_encode(merge->compute, parameter, values, entry->dtype, rounded);
}

static enum cr_status write_directory(struct merge *merge, const char *model, const char *directory)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "model.safetensors", &path));
    CR_TRY(cr_safetensors_write_made(path, merge->entries, cr_safetensors_count(merge->model->weights), true,
                                     make_entry, merge));
    return cr_checkpoint_copy_files(model, directory);
}

enum cr_status cr_merge(const char *model, const char *adapter, const char *output,
                        struct cr_compute *compute, bool (*keep_going)(void), struct cr_merge_report *report)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer named = {0};
    CR_TRY(cr_append_format(&named, "%s", output));
    while (named.size > 1 && named.data[named.size - 1] == '/') named.data[--named.size] = 0;
    output = cr_buffer_text(&named);
    CR_TRY(cr_place_is_free(output, model));
    CR_CLEANUP(merge_release) struct merge merge = {.compute = compute, .keep_going = keep_going};
    CR_TRY(open_both(&merge, model, adapter));
    struct cr_merge_report result = {.modules = merge.modules, .tokens = merge.tokens};
    CR_TRY(try_all(&merge, &result));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer beside = {0};
    CR_TRY(cr_place_make_beside(output, &beside));
    const char *directory = cr_buffer_text(&beside);
    enum cr_status status = write_directory(&merge, model, directory);
    bool written = status == CR_OK;
    if (written) status = check_written(&merge, directory, &result);
    if (status == CR_OK) status = go_on(&merge);
    if (!written || status == CR_CANCELLED) { // half a model is useless, and fills a disk
        cr_place_remove(directory);
        return status;
    }
    if (status != CR_OK) return cr_fail_within(status, "not to be used, left in %s", directory);
    if (rename(directory, output) != 0)
        return cr_fail_errno(CR_IO, "the merged model is in %s: it cannot be renamed to %s", directory,
                             output);
    CR_TRY(cr_path_sync(output));
    *report = result;
    return CR_OK;
}
