// The matrix unit (AMX): tiles of 16 rows of 64 digits times tiles of 16 steps of a panel, which already have
// the layout that the unit needs. Sums have 32 bits and are exact.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, LDTILECFG and TDPBUSD.
#include "field/kernels.h"
#include "field/prime.h"
#include "field/vector_avx512.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum {
    SIDE = 16,
    ROWS = 2 * SIDE,
    LINE = 64,
    DEEP = 8 * SIDE, // steps for which a pair's panels and ROWS rows fit the first-level cache
};

// The shapes of the tiles: memory operand of LDTILECFG.
struct shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct shape) == 64, "as the processor reads it");
_Static_assert(CR_DIGIT_ROWS % ROWS == 0, "rows are computed by twice SIDE");

// Adds the products over part of the depth to 32 rows of sums, or with `first` sets these.
static inline __attribute__((always_inline)) void add_up(bool first, size_t steps, const uint8_t *left,
                                                         size_t left_stride, const int8_t *right,
                                                         size_t panel, int32_t *sums)
{
    const size_t width = CR_PAIR * sizeof *sums;
    const uint8_t *below = left + SIDE * left_stride;
    int32_t *low = sums + SIDE * CR_PAIR;
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, width);
        _tile_loadd(1, sums + CR_PANEL, width);
        _tile_loadd(2, low, width);
        _tile_loadd(3, low + CR_PANEL, width);
    }
    for (size_t s = 0; s < steps; s += SIDE) {
        _tile_loadd(6, right + s * CR_STEP_BYTES, LINE);
        _tile_loadd(7, right + panel + s * CR_STEP_BYTES, LINE);
        _tile_loadd(4, left + s * CR_STEP, left_stride);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, below + s * CR_STEP, left_stride);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums, width);
    _tile_stored(1, sums + CR_PANEL, width);
    _tile_stored(2, low, width);
    _tile_stored(3, low + CR_PANEL, width);
}

static void multiply(size_t rows, size_t steps, const uint8_t *left, size_t left_stride, const int8_t *right,
                     size_t panel, int32_t *sums)
{
    struct shape shape = {.palette = 1};
    for (size_t t = 0; t < 8; t++) {
        shape.rows[t] = SIDE;
        shape.row_bytes[t] = LINE;
    }
    // GCC does not know what the tile instructions read and write.
    __asm__ volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
    size_t s = 0;
    do { // zeros where there are no steps
        for (size_t r = 0; r < rows; r += ROWS)
            add_up(s == 0, steps - s < DEEP ? steps - s : DEEP, left + r * left_stride + s * CR_STEP,
                   left_stride, right + s * CR_STEP_BYTES, panel, sums + r * CR_PAIR);
        s += DEEP;
    } while (s < steps);
    _tile_release();
    __asm__ volatile("" : : : "memory");
}

#define CR_FIELD_KERNELS cr_field_kernels__amx
#include "field/kernels.inc"
