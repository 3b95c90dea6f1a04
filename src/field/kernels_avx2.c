// Without VNNI: products of 16-bit halves, since AVX2's own product of bytes (vpmaddubsw) saturates. Even and
// odd bytes are widened to 16 bits separately; the sum of two products of 255·128 fits 32 bits.
#include "field/kernels.h"
#include "field/prime.h"
#include "field/vector_avx2.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { ROWS = 4 };

static void multiply(size_t rows, size_t steps, const uint8_t *left, size_t left_stride, const int8_t *right,
                     size_t panel, int32_t *sums)
{
    const __m256i low = _mm256_set1_epi16(0xff);
    for (size_t r = 0; r < rows; r += ROWS)
        for (size_t i = 0; i < CR_PAIR / CR_PANEL; i++) {
            __m256i sum[ROWS][2];
            for (size_t j = 0; j < ROWS; j++) sum[j][0] = sum[j][1] = _mm256_setzero_si256();
            for (size_t s = 0; s < steps; s++) {
                __m256i even[2], odd[2];
                for (size_t h = 0; h < 2; h++) {
                    const int8_t *at = right + i * panel + s * CR_STEP_BYTES + h * 32;
                    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)at);
                    even[h] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
                    odd[h] = _mm256_srai_epi16(bytes, 8);
                }
                for (size_t j = 0; j < ROWS; j++) {
                    int32_t four;
                    memcpy(&four, left + (r + j) * left_stride + s * CR_STEP, sizeof four);
                    __m256i digits = _mm256_set1_epi32(four);
                    __m256i a = _mm256_and_si256(digits, low), b = _mm256_srli_epi16(digits, 8);
                    for (size_t h = 0; h < 2; h++)
                        sum[j][h] =
                            _mm256_add_epi32(sum[j][h], _mm256_add_epi32(_mm256_madd_epi16(a, even[h]),
                                                                         _mm256_madd_epi16(b, odd[h])));
                }
            }
            for (size_t j = 0; j < ROWS; j++)
                for (size_t h = 0; h < 2; h++) {
                    int32_t *to = sums + (r + j) * CR_PAIR + i * CR_PANEL + h * 8;
                    _mm256_storeu_si256((__m256i *)(void *)to, sum[j][h]);
                }
        }
}

#define CR_FIELD_KERNELS cr_field_kernels__avx2
#include "field/kernels.inc"
