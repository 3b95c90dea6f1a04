// Sixteen floats at a time, for processors with AVX-512 F, BW, DQ and VL; compiled for BF16 too, with what
// its instructions do. See vector_scalar.h for what each function promises.
#ifndef CARREL_TENSOR_VECTOR_AVX512_H
#define CARREL_TENSOR_VECTOR_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512BF16__
#define CR_KERNEL(name) name##__avx512_bf16
#define CR_HAS_BF16_DOT 1
#else
#define CR_KERNEL(name) name##__avx512
#define CR_HAS_BF16_DOT 0
#endif
enum { CR_LANES = 16, CR_MICRO_ROWS = 12 };

typedef __m512 vf;
typedef struct {
    __m512d low, high;
} vd;

static inline __mmask16 v_mask(size_t n)
{
    return (__mmask16)(n >= CR_LANES ? 0xffffu : (1u << n) - 1u);
}

static inline vf v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf v_load(const void *p)
{
    return _mm512_loadu_ps(p);
}

static inline vf v_broadcast(const void *p)
{
    float x;
    memcpy(&x, p, sizeof x); // p may be at any address
    return _mm512_set1_ps(x);
}

static inline vf v_load_n(const void *p, size_t n)
{
    return n >= CR_LANES ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(v_mask(n), p);
}

static inline void v_store(void *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

static inline void v_store_n(void *p, vf x, size_t n)
{
    if (n >= CR_LANES)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, v_mask(n), x);
}

static inline __m256i v_load_halves(const void *p, size_t n)
{
    return n >= CR_LANES ? _mm256_loadu_si256(p) : _mm256_maskz_loadu_epi16(v_mask(n), p);
}

static inline void v_store_halves(void *p, __m256i x, size_t n)
{
    if (n >= CR_LANES)
        _mm256_storeu_si256(p, x);
    else
        _mm256_mask_storeu_epi16(p, v_mask(n), x);
}

static inline vf v_load_bf16_n(const void *p, size_t n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v_load_halves(p, n)), 16));
}

static inline vf v_load_i8_n(const void *p, size_t n)
{
    __m128i bytes = n >= CR_LANES ? _mm_loadu_si128(p) : _mm_maskz_loadu_epi8(v_mask(n), p);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

static inline void v_store_bf16_n(void *p, vf x, size_t n)
{
    // Not vcvtneps2bf16: that one takes subnormal numbers for zero.
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    v_store_halves(p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)), n);
}

static inline vf v_load_f16_n(const void *p, size_t n)
{
    return _mm512_cvtph_ps(v_load_halves(p, n));
}

static inline void v_store_f16_n(void *p, vf x, size_t n)
{
    v_store_halves(p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}

static inline vf v_load_u16_n(const void *p, size_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(v_load_halves(p, n)));
}

static inline vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

static inline vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

static inline vf v_inverse(vf x)
{
    x = _mm512_min_ps(_mm512_set1_ps(0x1p126f), x); // a NaN stays; infinity would make one
    vf y = _mm512_rcp14_ps(x);
    return _mm512_fmadd_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(1.0f)),
                           y); // Newton's step doubles the bits
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}

static inline vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf v_choose_ge(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), y, x);
}

static inline vf v_round(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf v_scale_by_power(vf x, vf n)
{
    return _mm512_scalef_ps(x, n);
}

// The order of the two reductions is that of the intrinsics: halves onto each other.
static inline float v_sum(vf x)
{
    return _mm512_reduce_add_ps(x);
}

static inline float v_largest(vf x)
{
    return _mm512_reduce_max_ps(x);
}

static inline vd v_double_zero(void)
{
    return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()};
}

static inline void v_add_squares(vd *sum, vf x)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    sum->low = _mm512_fmadd_pd(low, low, sum->low);
    sum->high = _mm512_fmadd_pd(high, high, sum->high);
}

static inline double v_double_sum(vd x)
{
    return _mm512_reduce_add_pd(_mm512_add_pd(x.low, x.high));
}

static inline void v_transpose(vf x[CR_LANES])
{
    __m512 y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(y[i + j]), b = _mm512_castps_pd(y[i + 2 + j]);
            x[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            x[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    // x[4g + c] holds, in 128-bit lane l, column 4l + c of rows 4g .. 4g + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        __m512 even = _mm512_shuffle_f32x4(x[c], x[4 + c], 0x88),
               odd = _mm512_shuffle_f32x4(x[c], x[4 + c], 0xdd);
        __m512 even2 = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0x88);
        __m512 odd2 = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0xdd);
        y[c] = _mm512_shuffle_f32x4(even, even2, 0x88);
        y[8 + c] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        y[4 + c] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        y[12 + c] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = y[i];
}

#if CR_HAS_BF16_DOT
static inline void v_store_operands_n(void *p, vf x, size_t n)
{
    v_store_halves(p, (__m256i)_mm512_cvtneps_pbh(x), n);
}

// Lane i of the result: elements 2i and 2i+1 at p, as they lie; n elements are there.
static inline vf v_load_pairs_n(const void *p, size_t n)
{
    if (n >= 2 * CR_LANES) return _mm512_loadu_ps(p);
    __mmask32 mask = (__mmask32)((UINT32_C(1) << n) - 1);
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p));
}

// Lane i of the result: element i of the row at `even` below, of the row at `odd` above (NULL: zeros).
static inline vf v_interleave_n(const void *even, const void *odd, size_t n)
{
    __m512i low = _mm512_cvtepu16_epi32(v_load_halves(even, n));
    if (!odd) return _mm512_castsi512_ps(low);
    __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(v_load_halves(odd, n)), 16);
    return _mm512_castsi512_ps(_mm512_or_si512(low, high));
}

// c + a[2i]·b[2i] + a[2i+1]·b[2i+1] in each lane i, a and b being pairs of BF16.
static inline vf v_dot_pairs(vf c, vf a, vf b)
{
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}
#else
static inline void v_store_operands_n(void *p, vf x, size_t n)
{
    v_store_bf16_n(p, x, n);
}
#endif

#endif
