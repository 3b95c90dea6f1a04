#include "tuning/prefix.h"

#include "base/secret.h"
#include "crypto/random.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/peft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The items of a projection's parameters.
enum item { EMBEDDING, WEIGHT0, BIAS0, WEIGHT2, BIAS2 };

struct cr_prefix {
    struct cr_structure base; // first
    struct cr_prefix_config config;
    struct cr_compute *compute;
    bool projects;        // the parameters are a projection's
    size_t hidden;        // encoder_hidden_size
    size_t rows, columns; // of prompt_embeddings

    // What attention uses, its gradient, and its copy in the activation type. Without a projection the first
    // two are the parameters' own; if the type is F32, the third is the first.
    float *embeddings, *gradient;
    void *working;
    float *state, *state_gradient; // for a projection, [rows, hidden]: tanh's output

    struct cr_arena scratch;
};

size_t cr_prefix_token_dim(const struct cr_model_config *model)
{
    return model->kv_heads * model->head_dim;
}

static size_t columns_of(const struct cr_model_config *model)
{
    return model->layers * 2 * cr_prefix_token_dim(model);
}

size_t cr_prefix_hidden(const struct cr_prefix_config *config, const struct cr_model_config *model)
{
    return config->encoder_hidden_size > 0 ? config->encoder_hidden_size : cr_prefix_token_dim(model);
}

enum cr_status cr_prefix_parameters(const struct cr_prefix_config *config,
                                    const struct cr_model_config *model, struct cr_parameters *parameters)
{
    size_t rows = config->num_virtual_tokens, columns = columns_of(model);
    size_t token_dim = cr_prefix_token_dim(model), hidden = cr_prefix_hidden(config, model);
    if (rows >= model->context)
        return cr_fail(CR_INVALID, "prefix_tuning.num_virtual_tokens: %zu: the model's context is %zu tokens",
                       rows, model->context);
    if (!config->prefix_projection) return cr_parameters_add(parameters, "prompt_embeddings", rows, columns);
    CR_TRY(cr_parameters_add(parameters, "prompt_encoder.embedding.weight", rows, token_dim));
    CR_TRY(cr_parameters_add(parameters, "prompt_encoder.transform.0.weight", hidden, token_dim));
    CR_TRY(cr_parameters_add(parameters, "prompt_encoder.transform.0.bias", hidden, 0));
    CR_TRY(cr_parameters_add(parameters, "prompt_encoder.transform.2.weight", columns, hidden));
    return cr_parameters_add(parameters, "prompt_encoder.transform.2.bias", columns, 0);
}

// An item within `vector`, which holds values or gradients.
static struct cr_matrix item_of(const struct cr_prefix *prefix, float *vector, enum item item)
{
    const struct cr_parameter *parameter = &prefix->base.parameters.items[item];
    return cr_matrix_of(vector + parameter->offset, CR_F32, parameter->shape[0], parameter->shape[1]);
}

static struct cr_matrix value_of(const struct cr_prefix *prefix, enum item item)
{
    return item_of(prefix, prefix->base.parameters.values, item);
}

static struct cr_matrix gradient_of(const struct cr_prefix *prefix, enum item item)
{
    return item_of(prefix, prefix->base.parameters.gradients, item);
}

static struct cr_matrix whole(const struct cr_prefix *prefix, float *values)
{
    return cr_matrix_of(values, CR_F32, prefix->rows, prefix->columns);
}

static enum cr_status project(struct cr_prefix *prefix)
{
    struct cr_compute *compute = prefix->compute;
    struct cr_matrix state = cr_matrix_of(prefix->state, CR_F32, prefix->rows, prefix->hidden);
    struct cr_matrix embeddings = whole(prefix, prefix->embeddings);
    CR_TRY(cr_matmul(compute, CR_NT, value_of(prefix, EMBEDDING), value_of(prefix, WEIGHT0), state, false));
    cr_add_row(compute, state, value_of(prefix, BIAS0).data);
    for (size_t i = 0; i < state.rows * state.columns; i++) prefix->state[i] = tanhf(prefix->state[i]);
    CR_TRY(cr_matmul(compute, CR_NT, state, value_of(prefix, WEIGHT2), embeddings, false));
    cr_add_row(compute, embeddings, value_of(prefix, BIAS2).data);
    return CR_OK;
}

// A projection's passes collect the gradient of all micro-batches outside the parameters' vector; it is
// zeroed here.
static enum cr_status prefix_refresh(struct cr_structure *structure)
{
    struct cr_prefix *prefix = (struct cr_prefix *)structure;
    size_t count = prefix->rows * prefix->columns;
    if (prefix->projects) {
        CR_TRY(project(prefix));
        memset(prefix->gradient, 0, count * sizeof(float));
    }
    if (prefix->working != prefix->embeddings)
        cr_convert(prefix->compute, prefix->embeddings, CR_F32, prefix->working, structure->model->act,
                   count);
    return CR_OK;
}

// The backward pass through the projection: once a step, because it is linear in the gradient of the
// embeddings.
static enum cr_status prefix_finish_gradient(struct cr_structure *structure)
{
    struct cr_prefix *prefix = (struct cr_prefix *)structure;
    struct cr_compute *compute = prefix->compute;
    if (!prefix->projects) return CR_OK;
    struct cr_matrix dy = whole(prefix, prefix->gradient);
    struct cr_matrix state = cr_matrix_of(prefix->state, CR_F32, prefix->rows, prefix->hidden);
    struct cr_matrix dstate = cr_matrix_of(prefix->state_gradient, CR_F32, prefix->rows, prefix->hidden);
    cr_add_column_sums(compute, dy, gradient_of(prefix, BIAS2).data);
    CR_TRY(cr_matmul(compute, CR_TN, dy, state, gradient_of(prefix, WEIGHT2), true));
    CR_TRY(cr_matmul(compute, CR_NN, dy, value_of(prefix, WEIGHT2), dstate, false));
    for (size_t i = 0; i < state.rows * state.columns; i++)
        prefix->state_gradient[i] *= 1 - prefix->state[i] * prefix->state[i];
    cr_add_column_sums(compute, dstate, gradient_of(prefix, BIAS0).data);
    CR_TRY(
        cr_matmul(compute, CR_TN, dstate, value_of(prefix, EMBEDDING), gradient_of(prefix, WEIGHT0), true));
    return cr_matmul(compute, CR_NN, dstate, value_of(prefix, WEIGHT0), gradient_of(prefix, EMBEDDING), true);
}

static enum cr_status prefix_describe(const struct cr_structure *structure, struct cr_hasher *hasher)
{
    const struct cr_prefix *prefix = (const struct cr_prefix *)structure;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "prefix_tuning %zu %d\n", prefix->rows, prefix->projects));
    return cr_hasher_add(hasher, cr_buffer_slice(&text));
}

static enum cr_status prefix_save(struct cr_structure *structure, const char *base, const char *directory)
{
    const struct cr_prefix *prefix = (const struct cr_prefix *)structure;
    const struct cr_peft_config config = {.method = CR_METHOD_PREFIX_TUNING, .prefix = prefix->config};
    CR_TRY(prefix_refresh(structure)); // the last update may have changed the values
    CR_CLEANUP(cr_parameters_release) struct cr_parameters embeddings = {0};
    CR_TRY(cr_parameters_add(&embeddings, "prompt_embeddings", prefix->rows, prefix->columns));
    CR_TRY(cr_parameters_commit(&embeddings, false));
    memcpy(embeddings.values, prefix->embeddings, embeddings.count * sizeof(float));
    return cr_peft_write(directory, &config, base, &structure->model->config, &embeddings);
}

static void prefix_release(struct cr_structure *structure)
{
    struct cr_prefix *prefix = (struct cr_prefix *)structure;
    cr_secret_free(&prefix->scratch.base);
}

static size_t prefix_memory(const struct cr_structure *structure)
{
    return ((const struct cr_prefix *)structure)->scratch.size;
}

static const struct cr_structure_kind prefix_kind = {
    .refresh = prefix_refresh,
    .finish_gradient = prefix_finish_gradient,
    .describe = prefix_describe,
    .save = prefix_save,
    .release = prefix_release,
    .memory = prefix_memory,
};

// Places the scratch; called first to count its size, then to place it.
static void lay_out(struct cr_prefix *prefix)
{
    size_t count = prefix->rows * prefix->columns;
    prefix->embeddings = prefix->base.parameters.values;
    prefix->gradient = prefix->base.parameters.gradients;
    if (prefix->projects) {
        prefix->embeddings = cr_arena_take(&prefix->scratch, count, sizeof(float));
        prefix->gradient = cr_arena_take(&prefix->scratch, count, sizeof(float));
        prefix->state = cr_arena_take(&prefix->scratch, prefix->rows * prefix->hidden, sizeof(float));
        prefix->state_gradient =
            cr_arena_take(&prefix->scratch, prefix->rows * prefix->hidden, sizeof(float));
    }
    enum cr_dtype act = prefix->base.model->act;
    prefix->working = prefix->embeddings;
    if (act != CR_F32) prefix->working = cr_arena_take(&prefix->scratch, count, cr_dtype_size(act));
}

// Sets where passes find each layer's prefix.
static void attach(struct cr_prefix *prefix)
{
    struct cr_tuned *tuned = &prefix->base.tuned;
    const struct cr_model *model = prefix->base.model;
    size_t share = 2 * cr_prefix_token_dim(&model->config);
    struct cr_matrix values = cr_matrix_of(prefix->working, model->act, prefix->rows, prefix->columns);
    tuned->prefix = prefix->rows;
    for (size_t i = 0; i < model->config.layers; i++) {
        tuned->layers[i].prefix.values = cr_matrix_columns(values, i * share, share);
        if (prefix->gradient)
            tuned->layers[i].prefix.gradient =
                cr_matrix_columns(whole(prefix, prefix->gradient), i * share, share);
    }
}

static enum cr_status build(struct cr_prefix *prefix, bool training)
{
    const struct cr_model_config *model = &prefix->base.model->config;
    struct cr_parameters *parameters = &prefix->base.parameters;
    struct cr_tuned *tuned = &prefix->base.tuned;
    struct cr_prefix_config shape = prefix->config;
    shape.prefix_projection = prefix->projects;
    CR_TRY(cr_prefix_parameters(&shape, model, parameters));
    CR_TRY(cr_parameters_commit(parameters, training));
    CR_TRY(cr_allocate(model->layers, sizeof *tuned->layers, &tuned->layers));
    lay_out(prefix);
    CR_TRY(cr_secret_arena_commit(&prefix->scratch));
    lay_out(prefix);
    attach(prefix);
    return CR_OK;
}

enum cr_status cr_prefix_new(const struct cr_prefix_config *config, struct cr_model *model, bool training,
                             struct cr_structure **out)
{
    struct cr_prefix *prefix;
    CR_TRY(cr_allocate(1, sizeof *prefix, &prefix));
    *prefix = (struct cr_prefix){
        .base = {.kind = &prefix_kind, .model = model},
        .config = *config,
        .compute = model->compute,
        .projects = training && config->prefix_projection,
        .hidden = cr_prefix_hidden(config, &model->config),
        .rows = config->num_virtual_tokens,
        .columns = columns_of(&model->config),
    };
    enum cr_status status = build(prefix, training);
    if (status == CR_OK)
        *out = &prefix->base;
    else
        cr_structure_free(&prefix->base);
    return status;
}

enum cr_status cr_prefix_initialise(struct cr_structure *structure, uint64_t seed)
{
    struct cr_parameters *parameters = &structure->parameters;
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        // PyTorch's default for a linear, for weight and bias alike: by the number of the weight's columns.
        const struct cr_parameter *weight = item->rank == 1 ? item - 1 : item;
        double bound = 1 / sqrt((double)weight->shape[1]);
        char label[160];
        snprintf(label, sizeof label, "prefix initial %s", item->name);
        struct cr_draws *stream;
        CR_TRY(cr_draws_new(seed, label, &stream));
        for (size_t k = 0; k < item->count; k++)
            parameters->values[item->offset + k] =
                (float)(i == EMBEDDING ? cr_draws_normal(stream)
                                       : (2 * cr_draws_uniform(stream) - 1) * bound);
        cr_draws_free(stream);
    }
    return CR_OK;
}
