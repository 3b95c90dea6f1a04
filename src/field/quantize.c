#include "field/quantize.h"

#include "field/kernels.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

struct job {
    const struct cr_field_kernels *kernels;
    const float *w;
    size_t columns;
    int8_t *q;
    float *scale;
    atomic_size_t bad; // the first row that is not finite; SIZE_MAX: none
};

static void quantize_row(void *context, size_t row, size_t thread)
{
    (void)thread;
    struct job *job = context;
    const float *w = job->w + row * job->columns;
    float scale = job->kernels->largest(w, job->columns) / 127;
    if (!isfinite(scale)) {
        size_t seen = atomic_load(&job->bad);
        while (row < seen && !atomic_compare_exchange_weak(&job->bad, &seen, row)) {
        }
        return;
    }
    if (scale == 0) scale = 1; // zeros, or subnormal numbers that no scale can tell from zeros
    job->scale[row] = scale;
    job->kernels->quantize(w, job->columns, scale, job->q + row * job->columns);
}

enum cr_status cr_quantize_rows(struct cr_compute *compute, const float *w, size_t rows, size_t columns,
                                int8_t *q, float *scale, size_t *bad_row)
{
    struct job job = {.kernels = cr_field_kernels_for(compute),
                      .w = w,
                      .columns = columns,
                      .q = q,
                      .scale = scale,
                      .bad = SIZE_MAX};
    cr_pool_run(cr_compute_pool(compute), rows, quantize_row, &job);
    size_t bad = atomic_load(&job.bad);
    if (bad == SIZE_MAX) return CR_OK;
    if (bad_row) *bad_row = bad;
    return cr_fail(CR_INVALID, "row %zu holds NaN or infinity", bad);
}

uint64_t cr_quantized_checksum(uint64_t sum, struct cr_matrix q)
{
    // Eight numbers at a time, little-endian, by multiply and rotate.
    const uint64_t factor = 0x9e3779b97f4a7c15u;
    const int8_t *numbers = q.data;
    sum = (sum ^ q.rows) * factor;
    sum = (sum ^ q.columns) * factor;
    for (size_t r = 0; r < q.rows; r++)
        for (size_t i = 0; i < q.columns; i += sizeof(uint64_t)) {
            uint64_t word = 0;
            memcpy(&word, numbers + r * q.stride + i, cr_least(sizeof word, q.columns - i));
            sum = (sum ^ word) * factor;
            sum = sum << 29 | sum >> 35;
        }
    return sum;
}
