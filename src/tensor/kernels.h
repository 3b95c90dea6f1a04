// The table of kernels that one instruction set offers. Internal to tensor/.
//
// A kernel works on the rows or elements it is given, in the calling thread; its callers split work over
// threads. A void pointer comes with its cr_dtype: F32 or BF16 unless stated otherwise.
#ifndef CARREL_TENSOR_KERNELS_H
#define CARREL_TENSOR_KERNELS_H

#include "tensor/compute.h"

#include <stdint.h>

// Products read their operands as 32-bit words. A word is one float or, in a BF16 product, two BF16 elements
// that are adjacent along the sum ("depth"). The left operand is rows of words at any stride; a matrix that
// already has this layout is used in place. The right operand is packed into panels of `right_width` columns:
// word k of column i is at k·right_width + i.
//
// Each element of a result is one chain of multiply-adds over the words in order, wherever in a tile or panel
// it is. A chain that is cut at a multiple of `word_step` words continues from the F32 value that it had
// reached. So results do not depend on the blocking, on the threads, or on how many rows are computed
// together.

// Where a chain starts and ends. `from` NULL: it starts at zero; `from` may be `to`. Strides in elements. If
// there is a `scale`, what is written to `to` is multiplied by its column's.
struct cr_ends {
    const void *from;
    enum cr_dtype from_dtype;
    size_t from_stride;
    void *to;
    enum cr_dtype to_dtype;
    size_t to_stride;
    const float *scale; // [columns], or NULL
};

struct cr_product {
    size_t per_word;      // elements of the depth in a word: 1 or 2
    size_t word_step;     // the words of a chain are padded with zeros to a multiple of this
    size_t left_rows;     // rows that are computed together
    size_t right_width;   // columns of a panel
    size_t right_columns; // columns of a block, whose panels stay in the second-level cache

    // Packs `count` rows of `depth` elements to words `target_stride` apart, padded with zeros to
    // cr_words(depth). Element k of the i-th row is at i·stride + k where `along`, at k·stride + i otherwise.
    void (*pack_left)(const void *source, enum cr_dtype dtype, size_t stride, bool along, size_t count,
                      size_t depth, uint32_t *target, size_t target_stride);

    // The same for columns, into panels `panel` words apart. If the columns end in the first half of a panel,
    // its second half may be left unchanged.
    void (*pack_right)(const void *source, enum cr_dtype dtype, size_t stride, bool along, size_t count,
                       size_t depth, uint32_t *target, size_t panel);

    // rows × columns elements over `words` words. left_stride is in bytes.
    void (*multiply)(size_t rows, size_t columns, size_t words, const void *left, size_t left_stride,
                     const uint32_t *right, size_t right_panel, const struct cr_ends *ends);

    // What each thread must call before and after its calls of `multiply`. NULL: nothing.
    void (*enter)(void);
    void (*leave)(void);
};

// Words that hold `depth` elements of a chain.
static inline size_t cr_words(const struct cr_product *product, size_t depth)
{
    size_t step = product->per_word * product->word_step;
    return (depth + step - 1) / step * product->word_step;
}

static inline void cr_product_enter(const struct cr_product *product)
{
    if (product->enter) product->enter();
}

static inline void cr_product_leave(const struct cr_product *product)
{
    if (product->leave) product->leave();
}

// Whether rows of `depth` elements can be used in place as the left operand.
static inline bool cr_left_in_place(const struct cr_product *product, enum cr_dtype dtype, bool along,
                                    size_t depth)
{
    return along && cr_dtype_size(dtype) * product->per_word == sizeof(uint32_t) &&
           depth % (product->per_word * product->word_step) == 0;
}

struct cr_adamw_factors {
    float decay;        // 1 − learning_rate·weight_decay
    float first_rate;   // 1 − beta1
    float second_keep;  // beta2
    float second_rate;  // 1 − beta2
    float inverse_root; // 1/sqrt(1 − beta2^step)
    float epsilon;
    float step_size; // learning_rate/(1 − beta1^step)
};

struct cr_sgd_factors {
    float learning_rate, momentum, weight_decay;
};

// Softmax of one tile of attention scores, keys down, queries across. Query c sees key r if first + c >= r
// and, with a window, r > first + c − window. scores [keys, stride]; stride is a whole number of vectors. The
// running state of each query: `maximum`, which is its maximum (or a little less) as a power of two, and
// `sum`, [queries] each; and result [depth, stride], the sum weighted with p so far, which is rescaled when
// the maximum changes. p [keys, stride], of dtype, gets exp(scale·score) / 2^maximum.
struct cr_softmax_tile {
    size_t keys, queries, stride;
    ptrdiff_t first;
    size_t window; // 0: none
    float scale;
    const float *scores;
    float *maximum, *sum;
    void *p;
    enum cr_dtype dtype;
    float *result;
    size_t depth;
};

// The same tile in the backward: p = exp(scale·score − log_sum), ds = scale·p·(dp − dot), where dot is the
// dot product of a query's rows of out and dout. p and ds are zero from column `queries` to the end of the
// tile.
struct cr_gradient_tile {
    size_t keys, queries, stride;
    ptrdiff_t first;
    size_t window;
    float scale;
    const float *scores, *dp, *log_sum, *dot;
    void *p, *ds;
    enum cr_dtype dtype;
};

struct cr_kernels {
    struct cr_product f32;
    struct cr_product bf16; // exact products of BF16, with words of two elements if the processor can

    // Dtypes may also be F16.
    void (*convert)(const void *source, enum cr_dtype source_dtype, void *target, enum cr_dtype target_dtype,
                    size_t count);
    // y = scale·x, y F32 or BF16.
    void (*widen)(const int8_t *x, float scale, void *y, enum cr_dtype y_dtype, size_t count);
    void (*add_scaled)(void *y, enum cr_dtype y_dtype, float scale, const void *x, enum cr_dtype x_dtype,
                       size_t count);
    void (*scale)(void *x, enum cr_dtype dtype, float scale, size_t count);
    void (*dropout)(const void *x, enum cr_dtype x_dtype, const uint16_t *bits, float least, float scale,
                    void *y, enum cr_dtype y_dtype, size_t count);

    // One row. Returns 1/sqrt(mean(x²) + epsilon).
    float (*rms_norm)(const float *x, const float *weight, float epsilon, void *y, enum cr_dtype dtype,
                      size_t count);
    void (*rms_norm_backward)(const float *x, const float *weight, float inverse, const void *dy,
                              enum cr_dtype dtype, float *dx, size_t count);
    void (*rms_norm_weight)(const float *x, float inverse, const void *dy, enum cr_dtype dtype,
                            float *dweight, size_t count);

    // One row. statistics[0] and [1] are the mean and 1/sqrt(variance + epsilon).
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float epsilon, void *y,
                       enum cr_dtype dtype, size_t count, float statistics[2]);
    void (*layer_norm_backward)(const float *x, const float *weight, const float statistics[2],
                                const void *dy, enum cr_dtype dtype, float *dx, size_t count);
    void (*layer_norm_weight)(const float *x, const float statistics[2], const void *dy, enum cr_dtype dtype,
                              float *dweight, size_t count);

    // One row of `heads` heads; `inverse` rotates the other way.
    void (*rope)(void *x, enum cr_dtype dtype, size_t heads, size_t head_dim, const float *cosine,
                 const float *sine, bool inverse);
    void (*swiglu)(const void *gate, const void *up, void *y, enum cr_dtype dtype, size_t count);
    void (*swiglu_backward)(const void *gate, const void *up, const void *dy, void *dgate, void *dup,
                            enum cr_dtype dtype, size_t count);

    void (*gelu)(const void *x, void *y, enum cr_dtype dtype, size_t count, bool erf);
    void (*gelu_backward)(const void *x, const void *dy, void *dx, enum cr_dtype dtype, size_t count,
                          bool erf);

    // One row: the largest logit.
    float (*maximum)(const float *x, size_t count);
    // Returns the sum of exp(x − maximum) and writes the terms to y, which may be x, or NULL.
    float (*exponentials)(const float *x, float maximum, float *y, size_t count);
    // y = factor·x; y may begin where x begins.
    void (*scaled)(const float *x, float factor, void *y, enum cr_dtype dtype, size_t count);

    float (*dot)(const void *x, const void *y, enum cr_dtype dtype, size_t count);
    double (*sum_of_squares)(const float *x, size_t count);
    bool (*all_finite)(const float *x, size_t count);
    void (*adamw)(const struct cr_adamw_factors *factors, float *value, const float *gradient, float *first,
                  float *second, size_t count);
    void (*sgd)(const struct cr_sgd_factors *factors, float *value, const float *gradient, float *buffer,
                size_t count);

    // Rows have n floats and are `stride` apart. to[r] = Σ_j value[place[j]]·from[index[j]] over the j from
    // start[r] to start[r + 1] (place NULL: j itself); sum[j] += the dot product of left[r] and
    // right[index[j]].
    void (*sparse_product)(const uint32_t *start, const uint32_t *index, const uint32_t *place,
                           const float *value, size_t rows, const float *from, size_t stride, float *to,
                           size_t n);
    void (*sparse_dots)(const uint32_t *start, const uint32_t *index, size_t rows, const float *left,
                        const float *right, size_t stride, size_t n, float *sum);
    // y[j] = x[index[j]], of one type; y[index[j]] += x[j].
    void (*gather)(const void *x, enum cr_dtype dtype, const uint32_t *index, size_t count, void *y);
    void (*scatter_add)(const float *x, const uint32_t *index, size_t count, void *y, enum cr_dtype dtype);

    void (*softmax_tile)(const struct cr_softmax_tile *tile);
    void (*gradient_tile)(const struct cr_gradient_tile *tile);
    // y [columns, rows] = the transpose of x [rows, columns], with column c of x multiplied by scale[c]
    // (NULL: 1). `stride`, that of x, is a whole number of vectors.
    void (*transpose)(const float *x, size_t stride, size_t rows, size_t columns, const float *scale, void *y,
                      enum cr_dtype dtype, size_t y_stride);
};

// The product of operands of that type.
static inline const struct cr_product *cr_product_of(const struct cr_kernels *kernels, enum cr_dtype dtype)
{
    return dtype == CR_BF16 ? &kernels->bf16 : &kernels->f32;
}

extern const struct cr_kernels cr_kernels__scalar;
extern const struct cr_kernels cr_kernels__avx2;
extern const struct cr_kernels cr_kernels__avx512;
extern const struct cr_kernels cr_kernels__avx512_bf16;
extern const struct cr_product cr_product__amx; // of BF16; all else is as for AVX-512 with BF16

const struct cr_kernels *cr_compute_kernels(const struct cr_compute *compute);

// A thread's own memory for packed operands: CR_WORKSPACE bytes, aligned.
enum { CR_WORKSPACE = 1 << 22 };
void *cr_compute_workspace(const struct cr_compute *compute, size_t thread);

#endif
