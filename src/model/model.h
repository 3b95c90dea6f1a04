// A decoder-only transformer: its tensors, and the places where a tuned structure attaches.
#ifndef CARREL_MODEL_MODEL_H
#define CARREL_MODEL_MODEL_H

#include "format/safetensors.h"
#include "model/config.h"
#include "model/delta.h"
#include "model/linear.h"

#include <stdint.h>

// The linear modules of a layer. A model has either q, k and v or one module for all three, and may have no
// gate.
enum cr_module { CR_QKV, CR_Q, CR_K, CR_V, CR_O, CR_GATE, CR_UP, CR_DOWN, CR_MODULES };

// cr_module_path: a module's path within its layer, as Transformers names it ("self_attn.q_proj",
// "attn.c_attn"), or NULL if models of this layout have no such module. cr_module_name: the last part of that
// path ("q_proj"), as in PEFT's target_modules.
const char *cr_module_path(const struct cr_model_config *config, enum cr_module module);
const char *cr_module_name(const struct cr_model_config *config, enum cr_module module);

// The path of the layers in a model of this layout: "model.layers", "transformer.h".
const char *cr_layers_path(enum cr_layout layout);

// Modules that share their input and form one linear: `count` of them from `first`.
struct cr_modules {
    enum cr_module first;
    size_t count;
};
struct cr_modules cr_qkv_modules(const struct cr_model_config *config);
struct cr_modules cr_gate_up_modules(const struct cr_model_config *config);

// Whether the module adds a bias.
bool cr_module_has_bias(const struct cr_model_config *config, enum cr_module module);

// The shape [out,in] of a module's weight as products use it, whatever the layout in the file.
void cr_module_shape(const struct cr_model_config *config, enum cr_module module, size_t *out, size_t *in);

// Whether the two modules of a layer share their input.
bool cr_modules_share(enum cr_module a, enum cr_module b);

// Trained keys and values that every sequence attends to before its own, [prefix, 2·kv_heads·head_dim]: keys
// as attention uses them (no norm, no rotation), then values.
struct cr_layer_prefix {
    struct cr_matrix values;   // act
    struct cr_matrix gradient; // F32, added to; no data if it is not wanted
};

// What is tuned, by place in the model; NULL where nothing is. The gradients of norms, biases, embedding,
// positions and head are F32 and are added to: [d] (or [head_dim]), [out], [V,d], [context,d], [V,d].
struct cr_layer_tuning {
    struct cr_delta *delta[CR_MODULES];
    float *norm1_gradient, *norm2_gradient;
    float *norm1_bias_gradient, *norm2_bias_gradient;
    float *q_norm_gradient, *k_norm_gradient;
    float *bias_gradient[CR_MODULES];
    struct cr_layer_prefix prefix;
};
struct cr_tuned {
    struct cr_layer_tuning *layers; // [config.layers]
    size_t prefix;                  // rows of every layer's prefix; 0: none. A text's positions follow them
    float *norm_gradient;           // the final norm's
    float *norm_bias_gradient;
    float *embedding_gradient;
    float *position_gradient;
    float *head_gradient; // the same as the embedding's if the head is tied
};

// A norm of rows: an RMS norm, or, if the configuration has `layer_norm`, a layer norm, which has a bias.
struct cr_norm {
    float *weight; // [d] F32
    float *bias;   // [d] F32, or NULL
};

struct cr_layer {
    struct cr_norm norm1, norm2; // input_layernorm, post_attention_layernorm
    float *q_norm, *k_norm;      // [head_dim] F32, NULL without head norms
    struct cr_linear qkv;        // [(heads + 2·kv_heads)·head_dim, d]: rows of q, then k, then v
    struct cr_linear o;          // [d, heads·head_dim]
    struct cr_linear gate_up;    // [2F, d]: rows of gate, then up; [F, d] with gelu, which has no gate
    struct cr_linear down;       // [d, F]
};

// The kinds of tensors of a model, with their names in a llama checkpoint.
enum cr_parameter_kind {
    CR_PARAMETER_EMBEDDING,  // model.embed_tokens.weight
    CR_PARAMETER_POSITION,   // with learned positions only: transformer.wpe.weight
    CR_PARAMETER_MODULE,     // model.layers.N.self_attn.q_proj.weight, ...
    CR_PARAMETER_BIAS,       // model.layers.N.self_attn.q_proj.bias, ...
    CR_PARAMETER_Q_NORM,     // model.layers.N.self_attn.q_norm.weight
    CR_PARAMETER_K_NORM,     // model.layers.N.self_attn.k_norm.weight
    CR_PARAMETER_NORM1,      // model.layers.N.input_layernorm.weight
    CR_PARAMETER_NORM1_BIAS, // with layer norms only, as the other two
    CR_PARAMETER_NORM2,      // model.layers.N.post_attention_layernorm.weight
    CR_PARAMETER_NORM2_BIAS,
    CR_PARAMETER_NORM, // model.norm.weight
    CR_PARAMETER_NORM_BIAS,
    CR_PARAMETER_HEAD, // lm_head.weight; none if the head is tied
};
struct cr_model_parameter {
    char *name; // Transformers'
    enum cr_parameter_kind kind;
    bool transposed;       // a file holds it as [columns,rows]
    bool tied;             // the embedding of a tied head: a file may hold it under the head's name only
    size_t layer;          // of parameters within a layer
    enum cr_module module; // of a module or its bias
    size_t rows, columns;  // columns 0: a vector of `rows`
    // Where the model holds it, a vector as one row, in cr_parameter_type or I8. No data if it does not hold
    // it.
    struct cr_matrix place;
};

// Which tensors a model holds. A linear that it lacks has its shape, and its products fail with CR_INTERNAL.
struct cr_model_part {
    size_t first, last; // layers [first, last)
    bool embedding;     // and learned positions
    bool head;          // and the final norm; a tied head brings the embedding's matrix, or only its int8
};

// The parts below and above the split of a model that is split before layer `layer`.
static inline struct cr_model_part cr_model_front(size_t layer)
{
    return (struct cr_model_part){.last = layer, .embedding = true};
}

static inline struct cr_model_part cr_model_tail(size_t layer)
{
    return (struct cr_model_part){.first = layer, .last = SIZE_MAX, .head = true};
}

struct cr_model {
    struct cr_model_config config;
    struct cr_model_part part;
    struct cr_compute *compute;            // borrowed
    enum cr_dtype act;                     // activations and weights of products: BF16 or F32
    struct cr_layer *layers;               // [config.layers]
    struct cr_matrix embedding;            // [V,d] act, or BF16 if its file has it in BF16
    struct cr_matrix positions;            // [context,d], with learned positions; typed as the embedding is
    struct cr_linear head;                 // [V,d]
    struct cr_norm norm;                   // the final norm
    struct cr_safetensors *weights;        // the opened checkpoint; NULL for cr_model_create
    bool writable;                         // cr_model_set is allowed
    bool in_8bit;                          // opened as CR_MODEL_IN_8BIT
    bool outside;                          // opened as CR_MODEL_OUTSIDE
    struct cr_model_parameter *parameters; // in the order of Transformers' named_parameters
    size_t parameter_count;
    struct cr_arena memory; // private copies
};

// How a model holds a checkpoint's weights.
enum cr_model_form {
    // A linear's weight is used where it lies in the file's mapping if products can use it there: of type act
    // or BF16, aligned, and for stacked modules (q, k, v; gate, up) contiguous. Otherwise it is copied or
    // converted once.
    CR_MODEL_AS_FILED,
    // The weights of all linears are quantised to int8 as they are read, with one scale for each row
    // (field/quantize.h): about one byte of memory for each weight. A tied head has its int8 weights besides
    // the embedding. A row with NaN or infinity returns CR_INVALID.
    CR_MODEL_IN_8BIT,
    // The matrices of the linears are left out: another provider computes with them (cr_linear_outside_init),
    // and model/frozen.h reads them one at a time. If the head is tied, the model holds the embedding for
    // looking up tokens only, and a part without the embedding does not hold it.
    CR_MODEL_OUTSIDE,
    // Every weight is in private memory, so that cr_model_set may change it.
    CR_MODEL_TRAINABLE,
    // Weights are checked but not read: for cr_pass_memory_of and the list `parameters`. No pass may use such
    // a model.
    CR_MODEL_SHAPE,
};

static inline enum cr_model_form cr_model_form_of(bool in_8bit)
{
    return in_8bit ? CR_MODEL_IN_8BIT : CR_MODEL_AS_FILED;
}

// Opens the model in a Hugging Face directory, or one part of it, for which the checkpoint may lack the other
// tensors; `part` NULL: all of it. act = CR_BF16 requires cr_compute_has_bf16. Missing, surplus or misshapen
// tensors return CR_INVALID with a message that names them. `compute` must outlive the model.
enum cr_status cr_model_open(const char *directory, enum cr_model_form form, const struct cr_model_part *part,
                             struct cr_compute *compute, enum cr_dtype act, struct cr_model **out);

// Whether a model of that part holds the parameter.
bool cr_model_part_has(const struct cr_model_part *part, const struct cr_model_config *config,
                       const struct cr_model_parameter *parameter);

// A writable model of this shape without a checkpoint: norm weights are one and all else is zero until
// cr_model_set.
enum cr_status cr_model_create(const struct cr_model_config *config, struct cr_compute *compute,
                               enum cr_dtype act, struct cr_model **out);
void cr_model_free(struct cr_model *model);     // NULL is allowed
void cr_model_release(struct cr_model **model); // frees *model; for CR_CLEANUP

// The number of values in all `parameters`.
size_t cr_model_value_count(const struct cr_model *model);

// Copies parameter i, which the model must hold, to or from `values`: row-major F32, rows·max(columns, 1)
// values. Setting rounds to the model's dtype, and returns CR_INVALID if the model is not writable. No pass
// may be running.
void cr_model_get(const struct cr_model *model, size_t i, float *values);
enum cr_status cr_model_set(struct cr_model *model, size_t i, const float *values);

// The member of `tuned` that points to the gradient of a parameter; NULL for a module, whose delta collects
// it.
float **cr_tuned_gradient(struct cr_tuned *tuned, const struct cr_model_parameter *parameter);

// The parameter of that name, or NULL. Subtract model->parameters for its index.
const struct cr_model_parameter *cr_model_find(const struct cr_model *model, const char *name);

// Whether it is a bias of a linear or of a norm: zero in a model from cr_model_create.
bool cr_parameter_is_bias(const struct cr_model_parameter *parameter);

// The type in which the model holds a parameter whose linear is not in 8 bits: a vector in F32, a matrix in
// act. In an F32 model a matrix that the checkpoint has in BF16 stays BF16 unless it is trained: products
// widen it exactly as they read it, and it takes half the memory.
enum cr_dtype cr_parameter_type(const struct cr_model *model, const struct cr_model_parameter *parameter);

// The tensor of a file that holds this parameter, or NULL. Old files of gpt2 leave out "transformer."; of two
// tied tensors safetensors' save_model keeps the head.
const struct cr_tensor_entry *cr_parameter_entry(const struct cr_model_parameter *parameter,
                                                 const struct cr_safetensors *file);

// Convert between a file's tensor (bytes of `dtype`, in the file's layout) and `values`, F32 [rows,
// max(columns, 1)].
enum cr_status cr_parameter_decode(struct cr_compute *compute, const struct cr_model_parameter *parameter,
                                   struct cr_slice bytes, enum cr_dtype dtype, float *values);
enum cr_status cr_parameter_encode(struct cr_compute *compute, const struct cr_model_parameter *parameter,
                                   const float *values, enum cr_dtype dtype, void *bytes);

// Call it when a loss or logits are NaN or infinite. Reads every weight and fails with CR_INVALID; the
// message begins with `what`, and names the first weight that is NaN or infinite, or ends with `otherwise` if
// none is.
enum cr_status cr_model_fail_nonfinite(const struct cr_model *model, const char *what, const char *otherwise);

#endif
