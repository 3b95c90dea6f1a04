// The operations that kernels are written in where the compiler's own vectors are not enough, one word at a
// time: the reference that the other instruction sets (vector_avx2.h, vector_avx512.h) match bit by bit.
// Nothing here branches on a value.
#ifndef CARREL_FIELD_VECTOR_SCALAR_H
#define CARREL_FIELD_VECTOR_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// wv has LANES words. sv has the 64-bit sums that their products are added to: one lane for two words, or,
// here, for one.
enum { LANES = 1 };
typedef uint32_t wv;
typedef uint64_t sv;

static inline wv w_set(uint32_t x)
{
    return x;
}

// Loads from any address that a uint32_t may have.
static inline wv w_load(const uint32_t *p)
{
    return *p;
}

// With exactly one load, whose result is used however often it is needed: another process may be writing
// there.
static inline wv w_fetch(const volatile uint32_t *p)
{
    return *p;
}

static inline void w_store(uint32_t *p, wv x)
{
    *p = x;
}

// Addition modulo 2^32.
static inline wv w_add(wv a, wv b)
{
    return a + b;
}

static inline wv w_sub(wv a, wv b)
{
    return a - b;
}

static inline wv w_min(wv a, wv b)
{
    return a < b ? a : b;
}

static inline wv w_max(wv a, wv b)
{
    return a > b ? a : b;
}

// Whether a < b in every lane.
static inline bool w_all_below(wv a, wv b)
{
    return a < b;
}

// Writes byte d of word k to left[d·stride + k], d < digits, for the first words, and returns for how many:
// none if the compiler's own vectors are to do it.
static inline size_t w_split(const uint32_t *words, size_t count, unsigned digits, uint8_t *left,
                             size_t stride)
{
    (void)words, (void)count, (void)digits, (void)left, (void)stride;
    return 0;
}

// Packs a panel of 16 columns (kernels.h) for the first part of its depth, and returns how much that is, a
// multiple of 4: none if the compiler's own vectors are to do it.
static inline size_t b_pack(const int8_t *q, size_t stride, bool along, size_t depth, int8_t *right)
{
    (void)q, (void)stride, (void)along, (void)depth, (void)right;
    return 0;
}

static inline sv s_zero(void)
{
    return 0;
}

// Loads lanes that s_store wrote, or zeros; there are CR_MASK_LANES.
static inline sv s_load(const uint64_t *lanes)
{
    return lanes[0];
}

static inline void s_store(uint64_t *lanes, sv x)
{
    lanes[0] = x;
}

// sum + a·b; adds at most two products to each lane.
static inline sv s_products(sv sum, wv a, wv b)
{
    return sum + (uint64_t)a * b;
}

// The same with the first LANES words at a. The word after them is read as well: loading from one word
// further on moves the words at odd places to even ones, which the multiplication uses.
static inline sv s_products_at(sv sum, const uint32_t *a, wv b)
{
    return sum + (uint64_t)*a * b;
}

// x modulo 2^31 − 1, not fully reduced: below 2^31 + 2^33.
static inline sv s_fold31(sv x)
{
    return (x & 0x7fffffff) + (x >> 31);
}

// x modulo 2^23 − 15, not fully reduced: below 2^45 for x below 2^63 + 2^45.
static inline sv s_fold23(sv x)
{
    return (x & 0x7fffff) + 15 * (x >> 23);
}

// LANES numbers of single precision.
typedef float fv;

static inline fv f_zero(void)
{
    return 0;
}

static inline fv f_load(const float *p)
{
    return *p;
}

// From BF16.
static inline fv f_widen(const uint16_t *p)
{
    uint32_t bits = (uint32_t)*p << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void f_store(float *p, fv x)
{
    *p = x;
}

static inline fv f_add(fv a, fv b)
{
    return a + b;
}

static inline fv f_mul(fv a, fv b)
{
    return a * b;
}

static inline fv f_magnitude(fv x)
{
    return fabsf(x);
}

// LANES numbers of double precision.
typedef double dv;

static inline dv d_set(double x)
{
    return x;
}

static inline dv d_load(const float *p)
{
    return (double)*p;
}

static inline dv d_of(fv x)
{
    return (double)x;
}

static inline void d_store(double *p, dv x)
{
    *p = x;
}

static inline dv d_add(dv a, dv b)
{
    return a + b;
}

static inline dv d_mul(dv a, dv b)
{
    return a * b;
}

// The lowest 32 bits of each lane.
static inline wv w_low(dv x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint32_t)bits;
}

#endif
