// Element-wise and row-wise operations of a transformer, forward and backward, split over the compute's
// threads.
//
// M = rows (tokens of all sequences of the batch, one after the other), d = hidden size, F = intermediate
// size. "act" is the activation type of the run: BF16 or F32. Residual streams and their gradients are F32.
// Each operation has a scalar, an AVX2 and an AVX-512 kernel from one source over tensor/vector_*.h; none
// allocates or fails.
#ifndef CARREL_TENSOR_OPS_H
#define CARREL_TENSOR_OPS_H

#include "tensor/compute.h"

#include <stdint.h>

// dst = src, converting between F32, BF16 (round to nearest even) and F16; `count` elements.
void cr_convert(struct cr_compute *compute, const void *src, enum cr_dtype src_dtype, void *dst,
                enum cr_dtype dst_dtype, size_t count);

// The same for matrices of one shape and any strides (F32/BF16).
void cr_copy_matrix(struct cr_compute *compute, struct cr_matrix src, struct cr_matrix dst);

// y[i] = table[ids[i]]: table [V,d] F32/BF16, y [M,d] F32.
void cr_embed(struct cr_compute *compute, struct cr_matrix table, const uint32_t *ids, struct cr_matrix y);
// y[i] += table[ids[i]].
void cr_add_embed(struct cr_compute *compute, struct cr_matrix table, const uint32_t *ids,
                  struct cr_matrix y);
// dtable[ids[i]] += dy[i], in row order: dtable [V,d] F32, dy [M,d] F32.
void cr_embed_backward(struct cr_compute *compute, const uint32_t *ids, struct cr_matrix dy,
                       struct cr_matrix dtable);

// RMS norm: y = x / sqrt(mean(x²) + epsilon) · weight. x [M,d] F32, weight [d] F32, y [M,d] act,
// inverse [M] F32 gets 1/sqrt(...) for the backward.
void cr_rms_norm(struct cr_compute *compute, struct cr_matrix x, const float *weight, float epsilon,
                 struct cr_matrix y, float *inverse);
// dx += the gradient; dx [M,d] F32, dy [M,d] F32 or BF16. dweight [d] F32 is added to, or NULL.
void cr_rms_norm_backward(struct cr_compute *compute, struct cr_matrix x, const float *weight,
                          const float *inverse, struct cr_matrix dy, struct cr_matrix dx, float *dweight);

// Layer norm: y = (x − mean) / sqrt(variance + epsilon) · weight + bias, as PyTorch's (the variance divided
// by the count). x [M,d] F32, weight and bias [d] F32, y [M,d] act; statistics [M,2] F32 gets mean and
// 1/sqrt(...) of each row for the backward.
void cr_layer_norm(struct cr_compute *compute, struct cr_matrix x, const float *weight, const float *bias,
                   float epsilon, struct cr_matrix y, float *statistics);
// dx += the gradient; dx [M,d] F32, dy [M,d] F32 or BF16. dweight [d] F32 is added to, or NULL. The bias's
// gradient is the sum of dy's columns.
void cr_layer_norm_backward(struct cr_compute *compute, struct cr_matrix x, const float *weight,
                            const float *statistics, struct cr_matrix dy, struct cr_matrix dx,
                            float *dweight);

// Rotary position embedding in place on `heads` heads of `head_dim` columns each, half-rotation layout
// (Hugging Face): pairs (j, j + head_dim/2). cosine, sine: [positions, head_dim/2] F32; row i uses
// position[i]. `inverse` rotates the other way, for the backward.
void cr_rope(struct cr_compute *compute, struct cr_matrix x, size_t heads, size_t head_dim,
             const float *cosine, const float *sine, const uint32_t *position, bool inverse);

// SwiGLU: y = silu(gate) · up. gate_up [M,2F] act (gate in columns 0..F-1, up in F..2F-1), y [M,F] act.
void cr_swiglu(struct cr_compute *compute, struct cr_matrix gate_up, struct cr_matrix y);
// dgate_up [M,2F] act from dy [M,F] act; dgate_up may be gate_up itself.
void cr_swiglu_backward(struct cr_compute *compute, struct cr_matrix gate_up, struct cr_matrix dy,
                        struct cr_matrix dgate_up);

// GELU with tanh ("gelu_new"; Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2):
// y = x/2 · (1 + tanh(sqrt(2/pi)·(x + 0.044715·x³))); or with `erf` ("gelu") y = x/2 · (1 + erf(x/sqrt(2))).
// x, y [M,F] act.
void cr_gelu(struct cr_compute *compute, struct cr_matrix x, struct cr_matrix y, bool erf);
// dx [M,F] act from dy [M,F] act; dx may be x itself.
void cr_gelu_backward(struct cr_compute *compute, struct cr_matrix x, struct cr_matrix dy,
                      struct cr_matrix dx, bool erf);

// y += scale · x, any of F32/BF16 each, same shape.
void cr_add_scaled(struct cr_compute *compute, struct cr_matrix y, float scale, struct cr_matrix x);
// y[i] += row for every row i of y; y F32/BF16, row [columns] F32.
void cr_add_row(struct cr_compute *compute, struct cr_matrix y, const float *row);
// sums[j] += the sum of column j of x, in row order; x F32/BF16, sums [columns] F32.
void cr_add_column_sums(struct cr_compute *compute, struct cr_matrix x, float *sums);
// x = scale · x.
void cr_scale(struct cr_compute *compute, struct cr_matrix x, float scale);

// Inverted dropout. Each of the M·columns places is kept with probability 1 − p, decided by 16 bits of `bits`
// (keep where bits[k] >= p·65536, k = i·columns + j): y = keep ? x/(1 − p) : 0. y may be x.
void cr_dropout(struct cr_compute *compute, struct cr_matrix x, const uint16_t *bits, float p,
                struct cr_matrix y);

// Softmax cross-entropy over rows of logits [m,V] F32, label[i] in [0,V) or −100 (ignored: no loss, zero
// gradient). loss[i] F32 per row, 0 where ignored; rank1[i] (may be NULL): whether the label is the arg max,
// which is the first of equal largest logits. dlogits [m,V] act gets (softmax − onehot)·scale; its rows may
// begin where those of the logits do, which are overwritten. For evaluation its data is NULL.
void cr_cross_entropy(struct cr_compute *compute, struct cr_matrix logits, const int32_t *label, float scale,
                      float *loss, bool *rank1, struct cr_matrix dlogits);

// The sum of squares, in double, taken in a fixed order; and whether no value is NaN or infinite.
double cr_sum_of_squares(struct cr_compute *compute, const float *x, size_t count);
bool cr_all_finite(struct cr_compute *compute, const float *x, size_t count);

// One AdamW update as PyTorch's (decoupled weight decay; `step` counts from 1). All [count] F32.
struct cr_adamw {
    double learning_rate, beta1, beta2, epsilon, weight_decay;
};
void cr_adamw_update(struct cr_compute *compute, const struct cr_adamw *rule, uint64_t step, float *value,
                     const float *gradient, float *first_moment, float *second_moment, size_t count);

// SGD as PyTorch's: buffer = momentum·buffer + (gradient + weight_decay·value); value −=
// learning_rate·buffer. buffer may be NULL where momentum is 0.
void cr_sgd_update(struct cr_compute *compute, double learning_rate, double momentum, double weight_decay,
                   float *value, const float *gradient, float *buffer, size_t count);

#endif
