#include "field/kernels.h"
#include "field/prime.h"
#include "field/vector_scalar.h"

#include <math.h>
#include <string.h>

static void multiply(size_t rows, size_t steps, const uint8_t *left, size_t left_stride, const int8_t *right,
                     size_t panel, int32_t *sums)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < CR_PAIR / CR_PANEL; i++) {
            int32_t sum[CR_PANEL] = {0};
            const int8_t *at = right + i * panel;
            for (size_t k = 0; k < steps * CR_STEP; k += CR_STEP)
                for (size_t c = 0; c < CR_PANEL; c++)
                    for (size_t j = 0; j < CR_STEP; j++)
                        sum[c] += left[r * left_stride + k + j] * at[k * CR_PANEL + c * CR_STEP + j];
            memcpy(sums + r * CR_PAIR + i * CR_PANEL, sum, sizeof sum);
        }
}

#define CR_FIELD_KERNELS cr_field_kernels__scalar
#include "field/kernels.inc"
