// AVX-512 with VNNI: vpdpbusd adds four products of an unsigned and a signed byte to a sum of 32 bits,
// exactly.
#include "field/kernels.h"
#include "field/prime.h"
#include "field/vector_avx512.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { ROWS = 12 };

// ROWS rows or fewer, two panels.
static inline __attribute__((always_inline)) void block(const size_t rows, size_t steps, const uint8_t *left,
                                                        size_t left_stride, const int8_t *right, size_t panel,
                                                        int32_t *sums)
{
    __m512i sum[ROWS][2];
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    for (size_t s = 0; s < steps; s++) {
        __m512i b0 = _mm512_loadu_si512(right + s * CR_STEP_BYTES);
        __m512i b1 = _mm512_loadu_si512(right + panel + s * CR_STEP_BYTES);
#pragma GCC unroll 12
        for (size_t r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, left + r * left_stride + s * CR_STEP, sizeof four);
            __m512i digits = _mm512_set1_epi32(four);
            sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], digits, b0);
            sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], digits, b1);
        }
    }
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++) {
        _mm512_storeu_si512(sums + r * CR_PAIR, sum[r][0]);
        _mm512_storeu_si512(sums + r * CR_PAIR + CR_PANEL, sum[r][1]);
    }
}

static void multiply(size_t rows, size_t steps, const uint8_t *left, size_t left_stride, const int8_t *right,
                     size_t panel, int32_t *sums)
{
    for (size_t r = 0; r < rows; r += ROWS) {
        const uint8_t *a = left + r * left_stride;
        int32_t *c = sums + r * CR_PAIR;
        if (rows - r <= 4)
            block(4, steps, a, left_stride, right, panel, c);
        else if (rows - r <= 8)
            block(8, steps, a, left_stride, right, panel, c);
        else
            block(ROWS, steps, a, left_stride, right, panel, c);
    }
}

#define CR_FIELD_KERNELS cr_field_kernels__vnni
#include "field/kernels.inc"
