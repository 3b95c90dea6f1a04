#include "tuning/cut.h"

#include "tensor/ops.h"
#include "tuning/config.h"

#include <math.h>
#include <string.h>

enum { LARGEST = 127 };

static size_t groups_of(size_t hidden)
{
    return (hidden + CR_CUT_GROUP - 1) / CR_CUT_GROUP;
}

size_t cr_cut_row_size(int activations, size_t hidden)
{
    if (activations == CR_SPLIT_ACTIVATIONS_FLOAT32) return hidden * sizeof(float);
    if (activations == CR_SPLIT_ACTIVATIONS_BFLOAT16) return hidden * sizeof(uint16_t);
    return hidden + groups_of(hidden) * sizeof(uint16_t);
}

// Replaces each block x by H x / √width; this is its own inverse.
static void rotate_block(float *x, size_t width)
{
    for (size_t half = 1; half < width; half *= 2)
        for (size_t i = 0; i < width; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float sum = x[j] + x[j + half], difference = x[j] - x[j + half];
                x[j] = sum;
                x[j + half] = difference;
            }
    float scale = 1 / sqrtf((float)width);
    for (size_t i = 0; i < width; i++) x[i] *= scale;
}

static void rotate(float *row, size_t hidden)
{
    size_t width = hidden & (~hidden + 1); // the largest power of two that divides hidden
    for (size_t at = 0; at < hidden; at += width) rotate_block(row + at, width);
}

// The smallest bfloat16 that is at least x, for x >= 0.
static uint16_t bfloat16_above(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0xffff) >> 16);
}

static float of_bfloat16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// `row` is already rotated.
static void encode_int8(const float *row, size_t hidden, unsigned char *bytes)
{
    for (size_t at = 0; at < hidden; at += CR_CUT_GROUP) {
        size_t width = cr_least(CR_CUT_GROUP, hidden - at);
        float largest = 0;
        for (size_t i = 0; i < width; i++) largest = fmaxf(largest, fabsf(row[at + i]));
        uint16_t half = bfloat16_above(largest / LARGEST);
        float scale = of_bfloat16(half);
        for (size_t i = 0; i < width; i++) {
            int8_t q = scale > 0 ? (int8_t)fmaxf(-LARGEST, fminf(LARGEST, rintf(row[at + i] / scale))) : 0;
            memcpy(bytes + at + i, &q, 1);
        }
        memcpy(bytes + hidden + at / CR_CUT_GROUP * sizeof half, &half, sizeof half);
    }
}

static void decode_int8(const unsigned char *bytes, size_t hidden, float *row)
{
    for (size_t at = 0; at < hidden; at += CR_CUT_GROUP) {
        size_t width = cr_least(CR_CUT_GROUP, hidden - at);
        uint16_t half;
        memcpy(&half, bytes + hidden + at / CR_CUT_GROUP * sizeof half, sizeof half);
        for (size_t i = 0; i < width; i++) {
            int8_t q;
            memcpy(&q, bytes + at + i, 1);
            row[at + i] = of_bfloat16(half) * (float)q;
        }
    }
    rotate(row, hidden);
}

static enum cr_status check(const float *row, size_t hidden)
{
    bool good = true;
    for (size_t i = 0; i < hidden; i++) good &= fabsf(row[i]) <= CR_CUT_LARGEST; // false for a NaN
    if (good) return CR_OK;
    return cr_fail(CR_INVALID, "an activation is NaN or infinite, or larger than any model's");
}

enum cr_status cr_cut_encode(struct cr_compute *compute, int activations, struct cr_matrix stream,
                             unsigned char *bytes)
{
    size_t hidden = stream.columns, size = cr_cut_row_size(activations, hidden);
    CR_FREE float *rotated = NULL;
    CR_TRY(cr_allocate(hidden, sizeof *rotated, &rotated));
    for (size_t i = 0; i < stream.rows; i++, bytes += size) {
        const float *row = cr_row(&stream, i);
        CR_TRY(check(row, hidden));
        if (activations == CR_SPLIT_ACTIVATIONS_INT8) {
            memcpy(rotated, row, hidden * sizeof *row);
            rotate(rotated, hidden);
            encode_int8(rotated, hidden, bytes);
        } else if (activations == CR_SPLIT_ACTIVATIONS_BFLOAT16) {
            cr_convert(compute, row, CR_F32, bytes, CR_BF16, hidden);
        } else {
            memcpy(bytes, row, size);
        }
    }
    return CR_OK;
}

enum cr_status cr_cut_decode(struct cr_compute *compute, int activations, const unsigned char *bytes,
                             struct cr_matrix stream)
{
    size_t hidden = stream.columns, size = cr_cut_row_size(activations, hidden);
    for (size_t i = 0; i < stream.rows; i++, bytes += size) {
        float *row = cr_row(&stream, i);
        if (activations == CR_SPLIT_ACTIVATIONS_INT8)
            decode_int8(bytes, hidden, row);
        else if (activations == CR_SPLIT_ACTIVATIONS_BFLOAT16)
            cr_convert(compute, bytes, CR_BF16, row, CR_F32, hidden);
        else
            memcpy(row, bytes, size);
        CR_TRY(check(row, hidden));
    }
    return CR_OK;
}
