// A peer's coded activations. What is taken is numbers. The first byte is the coding, the second the width.
#include "tensor/ops.h"
#include "tuning/config.h"
#include "tuning/cut.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_compute *compute;
    if (size < 2) return 0;
    if (!compute && cr_compute_new(1, &compute) != CR_OK) abort();
    int coding = CR_SPLIT_ACTIVATIONS_FLOAT32 + data[0] % 3;
    size_t width = data[1] % 200 + 1u, rows = (size - 2) / cr_cut_row_size(coding, width);
    float *values = malloc((rows * width + 1) * sizeof *values);
    unsigned char *bytes = malloc(size); // no more than there is, and aligned
    if (!values || !bytes) abort();
    memcpy(bytes, data + 2, size - 2);
    struct cr_matrix stream = cr_matrix_of(values, CR_F32, rows, width);
    if (cr_cut_decode(compute, coding, bytes, stream) == CR_OK &&
        !cr_all_finite(compute, values, rows * width))
        abort();
    free(bytes);
    free(values);
    return 0;
}
