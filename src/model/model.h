// A decoder-only transformer: its tensors, and the places where a tuned structure attaches.
#ifndef CARREL_MODEL_MODEL_H
#define CARREL_MODEL_MODEL_H

#include "model/config.h"
#include "model/linear.h"

#include <stdint.h>

// The linear modules of a layer, as PEFT's target_modules name them (q_proj, ..., down_proj).
enum cr_module { CR_Q, CR_K, CR_V, CR_O, CR_GATE, CR_UP, CR_DOWN, CR_MODULES };

const char *cr_module_name(enum cr_module module);          // "q_proj", ...
bool cr_module_find(const char *name, enum cr_module *out); // false for an unknown name

// A tuned structure attached to one linear: LoRA, sparse rows, or the collector of a full weight's gradient.
struct cr_delta;
struct cr_delta_kind {
    // y += delta(x): x [M,in] act, y [M,out] act. May be NULL: adds nothing.
    enum cr_status (*forward)(struct cr_delta *self, struct cr_matrix x, struct cr_matrix y);
    // Adds this batch's gradient to the delta's own; dx += delta's share: x [M,in] act, dy [M,out] act,
    // dx [M,in] F32. dx.data is NULL where nothing before this layer needs it.
    enum cr_status (*backward)(struct cr_delta *self, struct cr_matrix x, struct cr_matrix dy,
                               struct cr_matrix dx);
};
struct cr_delta {
    const struct cr_delta_kind *kind;
};

// What is tuned, by place. NULL where nothing is. The gradients of norms, embedding and head are added to,
// [d], [V,d], [V,d] F32.
struct cr_layer_tuning {
    struct cr_delta *delta[CR_MODULES];
    float *norm1_gradient, *norm2_gradient;
};
struct cr_tuned {
    struct cr_layer_tuning *layers; // [config.layers]
    float *norm_gradient;           // the final norm's
    float *embedding_gradient;
    float *head_gradient; // the embedding's own where the head is tied
};

struct cr_layer {
    float *norm1, *norm2;     // [d] F32: input_layernorm, post_attention_layernorm
    struct cr_linear qkv;     // [(heads + 2·kv_heads)·head_dim, d]: rows of q, then k, then v
    struct cr_linear o;       // [d, heads·head_dim]
    struct cr_linear gate_up; // [2F, d]: rows of gate, then up
    struct cr_linear down;    // [d, F]
};

struct cr_model {
    struct cr_model_config config;
    struct cr_compute *compute;       // borrowed
    enum cr_dtype act;                // activations and weights of products: BF16 or F32
    struct cr_layer *layers;          // [config.layers]
    struct cr_matrix embedding;       // [V,d] act
    struct cr_linear head;            // [V,d]
    float *norm;                      // [d] the final norm
    float *cosine, *sine;             // [context, head_dim/2]
    unsigned char weights_digest[32]; // see cr_model_open
};

// Opens a Hugging Face directory. Weights stay in the mapping where they can (same dtype, one tensor), else
// they are converted once. act = CR_BF16 needs cr_compute_has_bf16. Missing, surplus or misshapen tensors are
// CR_INVALID by name. `compute` must outlive the model.
enum cr_status cr_model_open(const char *directory, struct cr_compute *compute, enum cr_dtype act,
                             struct cr_model **out);
void cr_model_free(struct cr_model *model); // NULL is allowed

#endif
