// Causal attention in tiles over packed sequences: memory is linear in the sequence length.
#ifndef CARREL_TENSOR_ATTENTION_H
#define CARREL_TENSOR_ATTENTION_H

#include "tensor/compute.h"

#include <stdint.h>

// Which rows attend to which. Sequence s holds query rows [offset[s], offset[s+1]) of q; a query at place i
// of its sequence sees keys 0..past[s]+i of the same sequence, or the last `window` of them. Key and value
// rows of sequence s start at key_offset[s] and number past[s] + its queries. Training: past = 0 and
// key_offset = offset.
struct cr_attention_layout {
    size_t sequences;
    const size_t *offset;     // [sequences + 1]
    const size_t *key_offset; // [sequences]
    const size_t *past;       // [sequences]
};

struct cr_attention_shape {
    size_t heads;    // query heads
    size_t kv_heads; // divides heads (grouped-query)
    size_t head_dim;
    float scale;   // of the scores: 1/sqrt(head_dim)
    size_t window; // keys that a query sees at most, including its own place; 0: all up to it
};

// Bytes of scratch (aligned, shared by all threads) for forward and backward. `longest`: the most keys of a
// sequence in a backward; what forward needs does not depend on the length of sequences.
size_t cr_attention_scratch(const struct cr_compute *compute, const struct cr_attention_shape *shape,
                            enum cr_dtype act, size_t longest);

// q [M, heads·head_dim], k and v [keys, kv_heads·head_dim], out like q; all act, any strides.
// log_sum [M, heads] F32 gets each row's log-sum-exp of scaled scores, for the backward; may be NULL.
enum cr_status cr_attention(struct cr_compute *compute, const struct cr_attention_shape *shape,
                            const struct cr_attention_layout *layout, struct cr_matrix q, struct cr_matrix k,
                            struct cr_matrix v, struct cr_matrix out, float *log_sum, void *scratch);

// Sets dq, dk and dv (does not add to them): act, with the shapes of q, k and v. out and log_sum are the
// forward's; dout has the shape of out.
enum cr_status cr_attention_backward(struct cr_compute *compute, const struct cr_attention_shape *shape,
                                     const struct cr_attention_layout *layout, struct cr_matrix q,
                                     struct cr_matrix k, struct cr_matrix v, struct cr_matrix out,
                                     const float *log_sum, struct cr_matrix dout, struct cr_matrix dq,
                                     struct cr_matrix dk, struct cr_matrix dv, void *scratch);

#endif
