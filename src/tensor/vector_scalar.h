// One float at a time: the reference for the other vector headers, and what runs on processors without them.
//
// The three headers give kernels.inc the same functions over a "vector" of CR_LANES floats. A suffix _n takes
// the number n of elements that are there, at least 1: n >= CR_LANES means a whole vector, otherwise lanes
// from n on read as zero and are not written. Loads and stores need no alignment. Converting to BF16 and F16
// rounds to nearest, ties to even, and gives the same bits in all three.
#ifndef CARREL_TENSOR_VECTOR_SCALAR_H
#define CARREL_TENSOR_VECTOR_SCALAR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CR_KERNEL(name) name##__scalar
#define CR_HAS_BF16_DOT 0 // 1: v_load_pairs_n, v_interleave_n and v_dot_pairs are there
enum { CR_LANES = 1, CR_MICRO_ROWS = 4 };

typedef float vf;
typedef double vd;

static inline vf v_set(float x)
{
    return x;
}

static inline vf v_load(const void *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline vf v_broadcast(const void *p)
{
    return v_load(p);
}

static inline vf v_load_n(const void *p, size_t n)
{
    (void)n;
    return v_load(p);
}

static inline void v_store(void *p, vf x)
{
    memcpy(p, &x, sizeof x);
}

static inline void v_store_n(void *p, vf x, size_t n)
{
    (void)n;
    v_store(p, x);
}

static inline uint16_t v_half_at(const void *p)
{
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    return bits;
}

static inline uint32_t v_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float v_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline vf v_load_bf16_n(const void *p, size_t n)
{
    (void)n;
    return v_from_bits((uint32_t)v_half_at(p) << 16);
}

static inline vf v_load_i8_n(const void *p, size_t n)
{
    (void)n;
    return *(const signed char *)p;
}

static inline void v_store_bf16_n(void *p, vf x, size_t n)
{
    (void)n;
    uint32_t bits = v_bits(x);
    uint32_t rounded = x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    uint16_t half = (uint16_t)(rounded >> 16);
    memcpy(p, &half, sizeof half);
}

// The same for operands of products, where a subnormal number may become zero.
static inline void v_store_operands_n(void *p, vf x, size_t n)
{
    v_store_bf16_n(p, x, n);
}

static inline vf v_load_f16_n(const void *p, size_t n)
{
    (void)n;
    uint32_t half = v_half_at(p);
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 31) { // infinity, or a NaN, which conversion makes quiet
        uint32_t quiet = fraction ? 0x400000 : 0;
        return v_from_bits(sign | 0x7f800000 | fraction << 13 | quiet);
    }
    if (exponent > 0) return v_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f;
    return sign ? -small : small;
}

static inline void v_store_f16_n(void *p, vf x, size_t n)
{
    (void)n;
    uint32_t bits = v_bits(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    uint32_t half;
    if (size > 0x7f800000) {
        half = 0x7e00 | (size >> 13 & 0x3ff);
    } else if (size >= 0x477ff000) { // rounds to 2^16 or more
        half = 0x7c00;
    } else if (size >= 0x38800000) { // normal in F16
        half = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    } else {
        half = v_bits(v_from_bits(size) + 0.5f) - 0x3f000000;
    }
    uint16_t result = (uint16_t)(sign | half);
    memcpy(p, &result, sizeof result);
}

static inline vf v_load_u16_n(const void *p, size_t n)
{
    (void)n;
    return (float)v_half_at(p);
}

static inline vf v_add(vf a, vf b)
{
    return a + b;
}

static inline vf v_sub(vf a, vf b)
{
    return a - b;
}

static inline vf v_mul(vf a, vf b)
{
    return a * b;
}

static inline vf v_div(vf a, vf b)
{
    return a / b;
}

// 1/x for x >= 1 with a relative error of at most 1.2e-7; from 2^126 on it may stay 2^-126.
static inline vf v_inverse(vf x)
{
    return 1.0f / x;
}

// a·b + c, rounded once where the processor can.
static inline vf v_fma(vf a, vf b, vf c)
{
    return a * b + c;
}

static inline vf v_sqrt(vf a)
{
    return sqrtf(a);
}

// Returns the second operand if either is NaN, as the processor's instruction does.
static inline vf v_max(vf a, vf b)
{
    return a > b ? a : b;
}

static inline vf v_min(vf a, vf b)
{
    return a < b ? a : b;
}

// x in lanes where a >= b, else y.
static inline vf v_choose_ge(vf a, vf b, vf x, vf y)
{
    return a >= b ? x : y;
}

// To the nearest whole number; |x| < 2^22.
static inline vf v_round(vf x)
{
    return x + 0x1.8p23f - 0x1.8p23f; // the sum has no place for fractions
}

// x·2^n for whole n in [-250, 250].
static inline vf v_scale_by_power(vf x, vf n)
{
    int whole = n == n ? (int)n : 0;
    int half = whole >> 1;
    float first = v_from_bits((uint32_t)(half + 127) << 23);
    float second = v_from_bits((uint32_t)(whole - half + 127) << 23);
    return x * first * second;
}

static inline float v_sum(vf x)
{
    return x;
}

static inline float v_largest(vf x)
{
    return x;
}

static inline vd v_double_zero(void)
{
    return 0.0;
}

static inline void v_add_squares(vd *sum, vf x)
{
    *sum += (double)x * (double)x;
}

static inline double v_double_sum(vd x)
{
    return x;
}

// Element (i, j) of the CR_LANES rows goes to (j, i).
static inline void v_transpose(vf x[CR_LANES])
{
    (void)x;
}

#endif
