// Sixteen words at a time, for processors with AVX-512 F, BW, DQ and VL. See vector_scalar.h for what each
// function promises.
#ifndef CARREL_FIELD_VECTOR_AVX512_H
#define CARREL_FIELD_VECTOR_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANES = 16 };
typedef __m512i wv;
typedef __m512i sv;

static inline wv w_set(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline wv w_load(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline wv w_fetch(const volatile uint32_t *p)
{
    return (wv) * (const volatile __m512i_u *)p;
}

static inline void w_store(uint32_t *p, wv x)
{
    _mm512_storeu_si512(p, x);
}

static inline wv w_add(wv a, wv b)
{
    return _mm512_add_epi32(a, b);
}

static inline wv w_sub(wv a, wv b)
{
    return _mm512_sub_epi32(a, b);
}

static inline wv w_min(wv a, wv b)
{
    return _mm512_min_epu32(a, b);
}

static inline wv w_max(wv a, wv b)
{
    return _mm512_max_epu32(a, b);
}

static inline bool w_all_below(wv a, wv b)
{
    return _mm512_cmpge_epu32_mask(a, b) == 0;
}

static inline size_t w_split(const uint32_t *words, size_t count, unsigned digits, uint8_t *left,
                             size_t stride)
{
    const __m512i by_digit =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    const __m512i gather = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        __m512i digit[4]; // of sixteen words each: first their first digits, then their second ones, ...
        for (size_t j = 0; j < 4; j++)
            digit[j] = _mm512_permutexvar_epi32(
                gather, _mm512_shuffle_epi8(_mm512_loadu_si512(words + i + 16 * j), by_digit));
        __m512i a = _mm512_shuffle_i32x4(digit[0], digit[1], 0x44),
                b = _mm512_shuffle_i32x4(digit[2], digit[3], 0x44),
                c = _mm512_shuffle_i32x4(digit[0], digit[1], 0xee),
                d = _mm512_shuffle_i32x4(digit[2], digit[3], 0xee);
        _mm512_storeu_si512(left + i, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(left + stride + i, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_storeu_si512(left + 2 * stride + i, _mm512_shuffle_i32x4(c, d, 0x88));
        if (digits == 4) _mm512_storeu_si512(left + 3 * stride + i, _mm512_shuffle_i32x4(c, d, 0xdd));
    }
    return i;
}

// Loads 16 bytes from each of four places.
static inline __m512i b_load_four(const int8_t *p, size_t stride)
{
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i_u *)p));
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i_u *)(p + stride)), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i_u *)(p + 2 * stride)), 2);
    return _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i_u *)(p + 3 * stride)), 3);
}

static inline size_t b_pack(const int8_t *q, size_t stride, bool along, size_t depth, int8_t *right)
{
    const __m512i by_column =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    const __m512i gather = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    size_t k = 0;
    for (; !along && k + 4 <= depth; k += 4) {
        __m512i rows = _mm512_permutexvar_epi32(gather, b_load_four(q + k * stride, stride));
        _mm512_storeu_si512(right + 16 * k, _mm512_shuffle_epi8(rows, by_column));
    }
    for (; along && k + 16 <= depth; k += 16) {
        // Prefetch the next panel's columns: sixteen streams are too many for a processor to predict.
        for (size_t c = 16; k % 64 == 0 && c < 32; c++) __builtin_prefetch(q + c * stride + k);
        __m512i four[4]; // columns j, 4 + j, 8 + j and 12 + j
        for (size_t j = 0; j < 4; j++) four[j] = b_load_four(q + j * stride + k, 4 * stride);
        __m512i low[2], high[2];
        for (size_t j = 0; j < 2; j++) {
            low[j] = _mm512_unpacklo_epi32(four[2 * j], four[2 * j + 1]);
            high[j] = _mm512_unpackhi_epi32(four[2 * j], four[2 * j + 1]);
        }
        _mm512_storeu_si512(right + 16 * k, _mm512_unpacklo_epi64(low[0], low[1]));
        _mm512_storeu_si512(right + 16 * k + 64, _mm512_unpackhi_epi64(low[0], low[1]));
        _mm512_storeu_si512(right + 16 * k + 128, _mm512_unpacklo_epi64(high[0], high[1]));
        _mm512_storeu_si512(right + 16 * k + 192, _mm512_unpackhi_epi64(high[0], high[1]));
    }
    return k;
}

static inline sv s_zero(void)
{
    return _mm512_setzero_si512();
}

static inline sv s_load(const uint64_t *lanes)
{
    return _mm512_loadu_si512(lanes);
}

static inline void s_store(uint64_t *lanes, sv x)
{
    _mm512_storeu_si512(lanes, x);
}

static inline sv s_products(sv sum, wv a, wv b)
{
    __m512i even = _mm512_mul_epu32(a, b);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    return _mm512_add_epi64(_mm512_add_epi64(sum, even), odd);
}

static inline sv s_products_at(sv sum, const uint32_t *a, wv b)
{
    wv first = w_load(a), second = w_load(a + 1);
    __m512i even = _mm512_mul_epu32(first, b), odd = _mm512_mul_epu32(second, _mm512_srli_epi64(b, 32));
    return _mm512_add_epi64(_mm512_add_epi64(sum, even), odd);
}

static inline sv s_fold31(sv x)
{
    return _mm512_add_epi64(_mm512_and_si512(x, _mm512_set1_epi64(0x7fffffff)), _mm512_srli_epi64(x, 31));
}

static inline sv s_fold23(sv x)
{
    __m512i up = _mm512_srli_epi64(x, 23);
    up = _mm512_sub_epi64(_mm512_slli_epi64(up, 4), up);
    return _mm512_add_epi64(_mm512_and_si512(x, _mm512_set1_epi64(0x7fffff)), up);
}

typedef __m512 fv;

static inline fv f_zero(void)
{
    return _mm512_setzero_ps();
}

static inline fv f_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline fv f_widen(const uint16_t *p)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i_u *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

static inline void f_store(float *p, fv x)
{
    _mm512_storeu_ps(p, x);
}

static inline fv f_add(fv a, fv b)
{
    return _mm512_add_ps(a, b);
}

static inline fv f_mul(fv a, fv b)
{
    return _mm512_mul_ps(a, b);
}

static inline fv f_magnitude(fv x)
{
    return _mm512_abs_ps(x);
}

typedef struct {
    __m512d low, high;
} dv;

static inline dv d_set(double x)
{
    return (dv){_mm512_set1_pd(x), _mm512_set1_pd(x)};
}

static inline dv d_load(const float *p)
{
    return (dv){_mm512_cvtps_pd(_mm256_loadu_ps(p)), _mm512_cvtps_pd(_mm256_loadu_ps(p + 8))};
}

static inline dv d_of(fv x)
{
    return (dv){_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}

static inline void d_store(double *p, dv x)
{
    _mm512_storeu_pd(p, x.low);
    _mm512_storeu_pd(p + 8, x.high);
}

static inline dv d_add(dv a, dv b)
{
    return (dv){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
}

static inline dv d_mul(dv a, dv b)
{
    return (dv){_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)};
}

static inline wv w_low(dv x)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_epi32(_mm512_castpd_si512(x.low), even, _mm512_castpd_si512(x.high));
}

#endif
