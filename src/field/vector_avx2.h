// Eight words at a time. See vector_scalar.h for what each function promises.
#ifndef CARREL_FIELD_VECTOR_AVX2_H
#define CARREL_FIELD_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANES = 8 };
typedef __m256i wv;
typedef __m256i sv;

static inline wv w_set(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline wv w_load(const uint32_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

static inline wv w_fetch(const volatile uint32_t *p)
{
    return (wv) * (const volatile __m256i_u *)p;
}

static inline void w_store(uint32_t *p, wv x)
{
    _mm256_storeu_si256((__m256i_u *)p, x);
}

static inline wv w_add(wv a, wv b)
{
    return _mm256_add_epi32(a, b);
}

static inline wv w_sub(wv a, wv b)
{
    return _mm256_sub_epi32(a, b);
}

static inline wv w_min(wv a, wv b)
{
    return _mm256_min_epu32(a, b);
}

static inline wv w_max(wv a, wv b)
{
    return _mm256_max_epu32(a, b);
}

static inline bool w_all_below(wv a, wv b)
{
    return _mm256_testz_si256(_mm256_cmpeq_epi32(w_max(a, b), a), _mm256_set1_epi32(-1)) != 0;
}

static inline size_t w_split(const uint32_t *words, size_t count, unsigned digits, uint8_t *left,
                             size_t stride)
{
    (void)words, (void)count, (void)digits, (void)left, (void)stride;
    return 0;
}

static inline size_t b_pack(const int8_t *q, size_t stride, bool along, size_t depth, int8_t *right)
{
    (void)q, (void)stride, (void)along, (void)depth, (void)right;
    return 0;
}

static inline sv s_zero(void)
{
    return _mm256_setzero_si256();
}

static inline sv s_load(const uint64_t *lanes)
{
    return _mm256_loadu_si256((const __m256i_u *)lanes);
}

static inline void s_store(uint64_t *lanes, sv x)
{
    _mm256_storeu_si256((__m256i_u *)lanes, x);
}

static inline sv s_products(sv sum, wv a, wv b)
{
    __m256i even = _mm256_mul_epu32(a, b);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return _mm256_add_epi64(_mm256_add_epi64(sum, even), odd);
}

static inline sv s_products_at(sv sum, const uint32_t *a, wv b)
{
    wv first = w_load(a), second = w_load(a + 1);
    __m256i even = _mm256_mul_epu32(first, b), odd = _mm256_mul_epu32(second, _mm256_srli_epi64(b, 32));
    return _mm256_add_epi64(_mm256_add_epi64(sum, even), odd);
}

static inline sv s_fold31(sv x)
{
    return _mm256_add_epi64(_mm256_and_si256(x, _mm256_set1_epi64x(0x7fffffff)), _mm256_srli_epi64(x, 31));
}

static inline sv s_fold23(sv x)
{
    __m256i up = _mm256_srli_epi64(x, 23);
    up = _mm256_sub_epi64(_mm256_slli_epi64(up, 4), up);
    return _mm256_add_epi64(_mm256_and_si256(x, _mm256_set1_epi64x(0x7fffff)), up);
}

typedef __m256 fv;

static inline fv f_zero(void)
{
    return _mm256_setzero_ps();
}

static inline fv f_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline fv f_widen(const uint16_t *p)
{
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}

static inline void f_store(float *p, fv x)
{
    _mm256_storeu_ps(p, x);
}

static inline fv f_add(fv a, fv b)
{
    return _mm256_add_ps(a, b);
}

static inline fv f_mul(fv a, fv b)
{
    return _mm256_mul_ps(a, b);
}

static inline fv f_magnitude(fv x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

typedef struct {
    __m256d low, high;
} dv;

static inline dv d_set(double x)
{
    return (dv){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}

static inline dv d_load(const float *p)
{
    return (dv){_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}

static inline dv d_of(fv x)
{
    return (dv){_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}

static inline void d_store(double *p, dv x)
{
    _mm256_storeu_pd(p, x.low);
    _mm256_storeu_pd(p + 4, x.high);
}

static inline dv d_add(dv a, dv b)
{
    return (dv){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

static inline dv d_mul(dv a, dv b)
{
    return (dv){_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
}

static inline wv w_low(dv x)
{
    // Takes the low halves of two numbers from each half of both registers.
    __m256 low = _mm256_shuffle_ps(_mm256_castpd_ps(x.low), _mm256_castpd_ps(x.high), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(low), 0xd8);
}

#endif
