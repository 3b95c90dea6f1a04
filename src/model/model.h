// A decoder-only transformer: its tensors, and the places where a tuned structure attaches.
#ifndef CARREL_MODEL_MODEL_H
#define CARREL_MODEL_MODEL_H

#include "format/safetensors.h"
#include "model/config.h"
#include "model/linear.h"

#include <stdint.h>

// The linear modules of a layer, as PEFT's target_modules name them (q_proj, ..., down_proj).
enum cr_module { CR_Q, CR_K, CR_V, CR_O, CR_GATE, CR_UP, CR_DOWN, CR_MODULES };

const char *cr_module_name(enum cr_module module); // "q_proj", ...

// The shape [out,in] of a module's weight.
void cr_module_shape(const struct cr_model_config *config, enum cr_module module, size_t *out, size_t *in);

// A tuned structure attached to one linear: LoRA, sparse rows, or the collector of a full weight's gradient.
struct cr_delta;
struct cr_delta_kind {
    // y += delta(x): x [M,in] act, y [M,out] act (F32 for o_proj and down_proj). May be NULL: adds nothing.
    // Either view may have a stride.
    enum cr_status (*forward)(struct cr_delta *self, struct cr_matrix x, struct cr_matrix y);
    // Adds this batch's gradient to the delta's own; dx += delta's share: x [M,in] act, dy [M,out] act,
    // dx [M,in] F32. dx.data is NULL where nothing before this module needs it. May be NULL: a delta that is
    // not being trained and adds nothing.
    enum cr_status (*backward)(struct cr_delta *self, struct cr_matrix x, struct cr_matrix dy,
                               struct cr_matrix dx);
};
struct cr_delta {
    const struct cr_delta_kind *kind;
};

// What is tuned, by place. NULL where nothing is. The gradients of norms, biases, embedding and head are
// added to, F32: [d] (or [head_dim]), [out], [V,d], [V,d].
struct cr_layer_tuning {
    struct cr_delta *delta[CR_MODULES];
    float *norm1_gradient, *norm2_gradient;
    float *q_norm_gradient, *k_norm_gradient;
    float *bias_gradient[CR_V + 1]; // of q_proj, k_proj, v_proj
};
struct cr_tuned {
    struct cr_layer_tuning *layers; // [config.layers]
    float *norm_gradient;           // the final norm's
    float *embedding_gradient;
    float *head_gradient; // the embedding's own where the head is tied
};

struct cr_layer {
    float *norm1, *norm2;     // [d] F32: input_layernorm, post_attention_layernorm
    float *q_norm, *k_norm;   // [head_dim] F32, NULL without head norms
    struct cr_linear qkv;     // [(heads + 2·kv_heads)·head_dim, d]: rows of q, then k, then v
    struct cr_linear o;       // [d, heads·head_dim]
    struct cr_linear gate_up; // [2F, d]: rows of gate, then up
    struct cr_linear down;    // [d, F]
};

// One tensor of a model, as Transformers names it.
enum cr_parameter_kind {
    CR_PARAMETER_EMBEDDING, // model.embed_tokens.weight
    CR_PARAMETER_MODULE,    // model.layers.N.self_attn.q_proj.weight, ...
    CR_PARAMETER_BIAS,      // model.layers.N.self_attn.q_proj.bias, of k_proj, of v_proj
    CR_PARAMETER_Q_NORM,    // model.layers.N.self_attn.q_norm.weight
    CR_PARAMETER_K_NORM,    // model.layers.N.self_attn.k_norm.weight
    CR_PARAMETER_NORM1,     // model.layers.N.input_layernorm.weight
    CR_PARAMETER_NORM2,     // model.layers.N.post_attention_layernorm.weight
    CR_PARAMETER_NORM,      // model.norm.weight
    CR_PARAMETER_HEAD,      // lm_head.weight; none where the head is tied
};
struct cr_model_parameter {
    char *name;
    enum cr_parameter_kind kind;
    size_t layer;           // of all that a layer has
    enum cr_module module;  // of modules and biases
    size_t rows, columns;   // columns 0: a vector of `rows`
    struct cr_matrix place; // where the model keeps it, a vector as one row: act, vectors F32
};

struct cr_model {
    struct cr_model_config config;
    struct cr_compute *compute;            // borrowed
    enum cr_dtype act;                     // activations and weights of products: BF16 or F32
    struct cr_layer *layers;               // [config.layers]
    struct cr_matrix embedding;            // [V,d] act
    struct cr_linear head;                 // [V,d]
    float *norm;                           // [d] the final norm
    struct cr_safetensors *weights;        // the checkpoint as it lies in its files; NULL for cr_model_create
    bool writable;                         // cr_model_set is allowed
    struct cr_model_parameter *parameters; // in the order of Transformers' named_parameters
    size_t parameter_count;
    struct cr_arena memory; // private copies
};

// Opens a Hugging Face directory. A linear's weight stays in the mapping where it lies there as products want
// it: of type act, aligned, and for stacked modules (q, k, v; gate, up) one after the other. Otherwise it is
// copied or converted once. act = CR_BF16 needs cr_compute_has_bf16. Missing, surplus or misshapen tensors
// are CR_INVALID by name. `compute` must outlive the model.
enum cr_status cr_model_open(const char *directory, struct cr_compute *compute, enum cr_dtype act,
                             struct cr_model **out);

// The same with every weight in private memory, so that cr_model_set may change it.
enum cr_status cr_model_open_trainable(const char *directory, struct cr_compute *compute, enum cr_dtype act,
                                       struct cr_model **out);

// A writable model of this shape without a checkpoint: norms are one and all else is zero until cr_model_set.
enum cr_status cr_model_create(const struct cr_model_config *config, struct cr_compute *compute,
                               enum cr_dtype act, struct cr_model **out);
void cr_model_free(struct cr_model *model); // NULL is allowed

// Copies parameter i out of the model, or into it (rounded to its dtype there), row-major F32,
// rows·max(columns, 1) values. Setting is CR_INVALID where the model is not writable. No pass may be walking.
void cr_model_get(const struct cr_model *model, size_t i, float *values);
enum cr_status cr_model_set(struct cr_model *model, size_t i, const float *values);

// The parameter of that name, or NULL; its index is the difference to model->parameters.
const struct cr_model_parameter *cr_model_find(const struct cr_model *model, const char *name);

// For when a loss or logits came out NaN or infinite: reads every weight, fails with CR_INVALID and a
// sentence that begins with `what` and names the first weight that is so itself, or ends with `otherwise`.
enum cr_status cr_model_fail_nonfinite(const struct cr_model *model, const char *what, const char *otherwise);

#endif
