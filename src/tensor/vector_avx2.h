// Eight floats at a time, for processors with AVX2, FMA and F16C. See vector_scalar.h for what each function
// promises.
#ifndef CARREL_TENSOR_VECTOR_AVX2_H
#define CARREL_TENSOR_VECTOR_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CR_KERNEL(name) name##__avx2
#define CR_HAS_BF16_DOT 0
enum { CR_LANES = 8, CR_MICRO_ROWS = 6 };

typedef __m256 vf;
typedef struct {
    __m256d low, high;
} vd;

static inline __m256i v_mask(size_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const void *)(ones + 8 - n));
}

static inline vf v_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf v_load(const void *p)
{
    return _mm256_loadu_ps(p);
}

static inline vf v_broadcast(const void *p)
{
    return _mm256_broadcast_ss(p);
}

static inline vf v_load_n(const void *p, size_t n)
{
    return n >= CR_LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, v_mask(n));
}

static inline void v_store(void *p, vf x)
{
    _mm256_storeu_ps(p, x);
}

static inline void v_store_n(void *p, vf x, size_t n)
{
    if (n >= CR_LANES)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, v_mask(n), x);
}

static inline __m128i v_load_halves(const void *p, size_t n)
{
    if (n >= CR_LANES) return _mm_loadu_si128(p);
    uint16_t part[CR_LANES] = {0};
    memcpy(part, p, n * sizeof *part);
    return _mm_loadu_si128((const void *)part);
}

static inline void v_store_halves(void *p, __m128i x, size_t n)
{
    if (n >= CR_LANES) {
        _mm_storeu_si128(p, x);
        return;
    }
    uint16_t part[CR_LANES];
    _mm_storeu_si128((void *)part, x);
    memcpy(p, part, n * sizeof *part);
}

static inline vf v_load_bf16_n(const void *p, size_t n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v_load_halves(p, n)), 16));
}

static inline vf v_load_i8_n(const void *p, size_t n)
{
    uint64_t bytes = 0; // the first n of them
    memcpy(&bytes, p, n >= CR_LANES ? CR_LANES : n);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)bytes)));
}

static inline void v_store_bf16_n(void *p, vf x, size_t n)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
    v_store_halves(p, _mm256_castsi256_si128(packed), n);
}

static inline void v_store_operands_n(void *p, vf x, size_t n)
{
    v_store_bf16_n(p, x, n);
}

static inline vf v_load_f16_n(const void *p, size_t n)
{
    return _mm256_cvtph_ps(v_load_halves(p, n));
}

static inline void v_store_f16_n(void *p, vf x, size_t n)
{
    v_store_halves(p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}

static inline vf v_load_u16_n(const void *p, size_t n)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(v_load_halves(p, n)));
}

static inline vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}

static inline vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}

static inline vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

static inline vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}

static inline vf v_inverse(vf x)
{
    return _mm256_div_ps(_mm256_set1_ps(1.0f), x);
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}

static inline vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

static inline vf v_choose_ge(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GE_OQ));
}

static inline vf v_round(vf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf v_scale_by_power(vf x, vf n)
{
    // In two steps, so that results below the smallest normal number and powers above 127 come out right.
    __m256i whole = _mm256_cvtps_epi32(n);
    __m256i half = _mm256_srai_epi32(whole, 1);
    __m256i bias = _mm256_set1_epi32(127);
    __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}

static inline float v_sum(vf x)
{
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

static inline float v_largest(vf x)
{
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

static inline vd v_double_zero(void)
{
    return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

static inline void v_add_squares(vd *sum, vf x)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    sum->low = _mm256_fmadd_pd(low, low, sum->low);
    sum->high = _mm256_fmadd_pd(high, high, sum->high);
}

static inline double v_double_sum(vd x)
{
    __m256d y = _mm256_add_pd(x.low, x.high);
    __m128d z = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    return _mm_cvtsd_f64(_mm_add_sd(z, _mm_unpackhi_pd(z, z)));
}

static inline void v_transpose(vf x[CR_LANES])
{
    __m256 y[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m256d a = _mm256_castps_pd(y[i + j]), b = _mm256_castps_pd(y[i + 2 + j]);
            x[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            x[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        y[c] = _mm256_permute2f128_ps(x[c], x[4 + c], 0x20);
        y[4 + c] = _mm256_permute2f128_ps(x[c], x[4 + c], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) x[i] = y[i];
}

#endif
