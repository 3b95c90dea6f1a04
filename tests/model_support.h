// What the tests of model/ share: small models with random weights, batches, and collectors of every
// gradient.
#ifndef CARREL_TESTS_MODEL_SUPPORT_H
#define CARREL_TESTS_MODEL_SUPPORT_H

#include "support.h"

#include "base/file.h"
#include "model/generate.h"
#include "model/pass.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdio.h>

// Splitmix64: the tests' own numbers, the same everywhere.
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Uniform in [−1, 1).
static inline float next_float(uint64_t *state)
{
    return (float)(next_random(state) >> 40) / (float)(1 << 23) - 1;
}

// Three layers, grouped-query, sizes that are no multiples of a vector's width.
static inline struct cr_model_config small_config(void)
{
    return (struct cr_model_config){
        .layers = 3,
        .hidden = 20,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 6,
        .intermediate = 28,
        .vocabulary = 37,
        .context = 64,
        .norm_epsilon = 1e-5f,
        .rope = {.theta = 10000, .factor = 1, .amplitude = 1},
    };
}

// Both at once, which no family has: neither may disturb the other.
static inline struct cr_model_config config_with_biases_and_head_norms(void)
{
    struct cr_model_config config = small_config();
    config.qkv_bias = config.head_norms = true;
    return config;
}

// All layers but the first see four places; sequences are longer.
static inline struct cr_model_config config_with_windows(void)
{
    struct cr_model_config config = small_config();
    config.window = 4;
    config.windowed[0] = 6;
    return config;
}

static inline struct cr_model_config gpt2_config(void)
{
    struct cr_model_config config = small_config();
    config.layout = CR_LAYOUT_GPT2;
    config.qkv_bias = config.o_bias = config.mlp_bias = config.layer_norm = config.gelu =
        config.learned_positions = true;
    return config;
}

// Skips the test where the processor does not compute in this type.
static inline struct cr_compute *compute_in(enum cr_dtype act, size_t threads)
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new(threads, &compute));
    if (act == CR_BF16 && !cr_compute_has_bf16(compute)) {
        cr_compute_free(compute);
        skip();
    }
    return compute;
}

static inline struct cr_model *random_model(struct cr_compute *compute, struct cr_model_config config,
                                            enum cr_dtype act)
{
    struct cr_model *model;
    assert_ok(cr_model_create(&config, compute, act, &model));
    uint64_t random = 1;
    for (size_t i = 0; i < model->parameter_count; i++) {
        const struct cr_model_parameter *parameter = &model->parameters[i];
        size_t columns = parameter->columns, count = parameter->rows * (columns ? columns : 1);
        CR_FREE float *values = NULL;
        assert_ok(cr_allocate(count, sizeof *values, &values));
        float scale = 1.7f / sqrtf((float)columns);
        if (parameter->kind == CR_PARAMETER_EMBEDDING || parameter->kind == CR_PARAMETER_POSITION) scale = 1;
        for (size_t j = 0; j < count; j++)
            values[j] = columns ? scale * next_float(&random)
                                : (cr_parameter_is_bias(parameter) ? 0 : 1) + 0.3f * next_float(&random);
        assert_ok(cr_model_set(model, i, values));
    }
    return model;
}

struct sample {
    struct cr_rows rows; // points at the arrays below
    size_t *offset;
    uint32_t *tokens, *position;
    int32_t *labels;
};

// A batch of these lengths, tokens and labels zero.
static inline struct sample sample_new(const size_t *lengths, size_t sequences)
{
    struct sample sample;
    size_t rows = 0;
    for (size_t i = 0; i < sequences; i++) rows += lengths[i];
    assert_ok(cr_allocate(sequences + 1, sizeof *sample.offset, &sample.offset));
    assert_ok(cr_allocate(rows, sizeof *sample.tokens, &sample.tokens));
    assert_ok(cr_allocate(rows, sizeof *sample.position, &sample.position));
    assert_ok(cr_allocate(rows, sizeof *sample.labels, &sample.labels));
    for (size_t i = 0, at = 0; i < sequences; i++) {
        for (size_t j = 0; j < lengths[i]; j++) sample.position[at++] = (uint32_t)j;
        sample.offset[i + 1] = at;
    }
    sample.rows =
        (struct cr_rows){sequences, rows, sample.offset, sample.tokens, sample.position, sample.labels};
    return sample;
}

// The same with random tokens and labels, one place in four without label.
static inline struct sample random_sample(const size_t *lengths, size_t sequences, size_t vocabulary,
                                          uint64_t seed)
{
    struct sample sample = sample_new(lengths, sequences);
    for (size_t i = 0; i < sample.rows.rows; i++) {
        sample.tokens[i] = (uint32_t)(next_random(&seed) % vocabulary);
        bool labelled = next_random(&seed) % 4 != 0;
        sample.labels[i] = labelled ? (int32_t)(next_random(&seed) % vocabulary) : CR_UNLABELLED;
    }
    return sample;
}

static inline void sample_free(struct sample *sample)
{
    free(sample->offset);
    free(sample->tokens);
    free(sample->position);
    free(sample->labels);
}

// A delta that adds nothing and collects the gradient of its module's weight: dW += dyᵀ x.
struct collector {
    struct cr_delta delta;
    struct cr_compute *compute;
    float *gradient; // [out, in]
};

static inline enum cr_status collect(const struct cr_delta_part *dy, size_t count, struct cr_matrix x,
                                     struct cr_matrix dx)
{
    (void)dx;
    for (size_t i = 0; i < count; i++) {
        struct collector *collector = (struct collector *)dy[i].delta;
        CR_TRY(cr_matmul(collector->compute, CR_TN, dy[i].columns, x,
                         cr_matrix_of(collector->gradient, CR_F32, dy[i].columns.columns, x.columns), true));
    }
    return CR_OK;
}

// One gradient for each of the model's parameters, in their order.
struct collectors {
    struct cr_tuned tuned;
    size_t parameters;
    size_t *count;
    float **gradient;
    struct collector *modules;
};

static inline struct collectors *collectors_new(const struct cr_model *model)
{
    static const struct cr_delta_kind kind = {.backward = collect};
    struct collectors *c;
    assert_ok(cr_allocate(1, sizeof *c, &c));
    c->parameters = model->parameter_count;
    assert_ok(cr_allocate(c->parameters, sizeof *c->count, &c->count));
    assert_ok(cr_allocate(c->parameters, sizeof *c->gradient, &c->gradient));
    assert_ok(cr_allocate(c->parameters, sizeof *c->modules, &c->modules));
    assert_ok(cr_allocate(model->config.layers, sizeof *c->tuned.layers, &c->tuned.layers));
    for (size_t i = 0; i < c->parameters; i++) {
        const struct cr_model_parameter *p = &model->parameters[i];
        c->count[i] = p->rows * (p->columns ? p->columns : 1);
        assert_ok(cr_allocate(c->count[i], sizeof(float), &c->gradient[i]));
        float **target = cr_tuned_gradient(&c->tuned, p);
        if (target) {
            *target = c->gradient[i];
        } else {
            c->modules[i] = (struct collector){{&kind}, model->compute, c->gradient[i]};
            c->tuned.layers[p->layer].delta[p->module] = &c->modules[i].delta;
        }
    }
    if (model->config.tied_head) c->tuned.head_gradient = c->tuned.embedding_gradient;
    return c;
}

static inline void collectors_free(struct collectors *c)
{
    for (size_t i = 0; i < c->parameters; i++) free(c->gradient[i]);
    free(c->count);
    free(c->gradient);
    free(c->modules);
    free(c->tuned.layers);
    free(c);
}

#endif
