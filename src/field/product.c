// A thread takes some columns and rows of the result and processes them in blocks: some columns of Q over
// DEPTH of its depth are packed once, and all rows are multiplied with them, CR_DIGIT_ROWS rows of digits and
// CR_PAIR columns at a time. The result is reduced into the field at once and added up there, so that sums of
// 32 bits never hold more than DEPTH products, however long the whole sum. A sum also ends where a part of
// the depth ends.
#include "field/product.h"

#include "field/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH = 2048,
    // A block has a multiple of COLUMNS columns, at most MOST_COLUMNS, and fewer if they are deep, so that it
    // stays in the second-level cache. Words are split into digits again for each block.
    COLUMNS = 256,
    MOST_COLUMNS = 1024,
    BLOCK = 1 << 20, // numbers
    LINE = 64,
    PANELS = BLOCK + MOST_COLUMNS / CR_PANEL * LINE, // bytes; each panel has a cache line added, as rows have
    LEFT_STRIDE = DEPTH + LINE,
    LEAST_ROWS = 64, // of a share
};
_Static_assert((int64_t)DEPTH *COLUMNS <= BLOCK, "the deepest block has room");
_Static_assert((int64_t)DEPTH * 255 * 128 < INT32_MAX, "sums of a block are exact");

// A thread's own.
struct scratch {
    _Alignas(CR_ALIGNMENT) int8_t right[PANELS];
    _Alignas(CR_ALIGNMENT) uint8_t left[CR_DIGIT_ROWS * LEFT_STRIDE];
    _Alignas(CR_ALIGNMENT) int32_t sums[CR_DIGIT_ROWS * CR_PAIR];
};

struct cr_field {
    struct cr_compute *compute;
    enum cr_field_path path;
    const struct cr_field_kernels *kernels;
    unsigned digits;
    struct scratch *scratch; // [threads]
};

static const struct cr_field_kernels *const paths[] = {
    [CR_FIELD_SCALAR] = &cr_field_kernels__scalar,
    [CR_FIELD_AVX2] = &cr_field_kernels__avx2,
    [CR_FIELD_VNNI] = &cr_field_kernels__vnni,
    [CR_FIELD_AMX] = &cr_field_kernels__amx,
};

static bool has_path(const struct cr_compute *compute, enum cr_field_path path)
{
    enum cr_isa isa = cr_compute_isa(compute);
    switch (path) {
    case CR_FIELD_SCALAR:
        return true;
    case CR_FIELD_AVX2:
        return isa >= CR_ISA_AVX2;
    case CR_FIELD_VNNI:
        return isa >= CR_ISA_AVX512 && __builtin_cpu_supports("avx512vnni");
    case CR_FIELD_AMX:
        return isa >= CR_ISA_AMX && __builtin_cpu_supports("avx512vnni");
    }
    return false;
}

const struct cr_field_kernels *cr_field_kernels_for(const struct cr_compute *compute)
{
    int path = CR_FIELD_AMX;
    while (!has_path(compute, (enum cr_field_path)path)) path--;
    return paths[path];
}

// Tries a path where processors are known to differ: at the ends of the range, where sums saturate 16 bits.
static bool is_exact(const struct cr_field_kernels *kernels, struct scratch *scratch)
{
    enum { STEPS = 16, ROWS = 4, PANEL = STEPS * CR_STEP_BYTES + LINE };
    static const int8_t ends[] = {127, -127, 127, 127, -128, -128, 1, 0};
    int32_t wanted[ROWS * CR_PAIR];
    for (size_t i = 0; i < ROWS * CR_STEP * STEPS; i++)
        scratch->left[i / (CR_STEP * STEPS) * LEFT_STRIDE + i % (CR_STEP * STEPS)] =
            (uint8_t)(i % 7 == 6 ? i : 255);
    for (size_t i = 0; i < CR_PAIR / CR_PANEL; i++)
        for (size_t j = 0; j < STEPS * CR_STEP_BYTES; j++)
            scratch->right[i * PANEL + j] = ends[(j / 3 + i) % sizeof ends];
    cr_field_kernels__scalar.multiply(ROWS, STEPS, scratch->left, LEFT_STRIDE, scratch->right, PANEL, wanted);
    kernels->multiply(ROWS, STEPS, scratch->left, LEFT_STRIDE, scratch->right, PANEL, scratch->sums);
    return memcmp(wanted, scratch->sums, sizeof wanted) == 0;
}

enum cr_status cr_field_new_with(struct cr_compute *compute, unsigned digits, enum cr_field_path path,
                                 struct cr_field **out)
{
    if (digits != 3 && digits != 4) return cr_fail(CR_INVALID, "words have 3 or 4 digits, not %u", digits);
    if (!has_path(compute, path))
        return cr_fail(CR_UNSUPPORTED, "this processor lacks the instructions for these products");
    struct cr_field *field;
    CR_TRY(cr_allocate(1, sizeof *field, &field));
    *field = (struct cr_field){.compute = compute, .path = path, .kernels = paths[path], .digits = digits};
    enum cr_status status =
        cr_allocate(cr_pool_threads(cr_compute_pool(compute)), sizeof *field->scratch, &field->scratch);
    if (status == CR_OK && !is_exact(field->kernels, field->scratch))
        status = cr_fail(CR_UNSUPPORTED, "this processor's products of bytes are not exact");
    if (status != CR_OK) {
        cr_field_free(field);
        return status;
    }
    *out = field;
    return CR_OK;
}

enum cr_status cr_field_new(struct cr_compute *compute, unsigned digits, struct cr_field **out)
{
    enum cr_status status = CR_UNSUPPORTED;
    for (int path = CR_FIELD_AMX; path >= CR_FIELD_SCALAR && status == CR_UNSUPPORTED; path--)
        status = cr_field_new_with(compute, digits, (enum cr_field_path)path, out);
    return status;
}

void cr_field_free(struct cr_field *field)
{
    if (!field) return;
    if (field->scratch)
        cr_wipe(field->scratch, cr_pool_threads(cr_compute_pool(field->compute)) * sizeof *field->scratch);
    free(field->scratch);
    free(field);
}

enum cr_field_path cr_field_path(const struct cr_field *field)
{
    return field->path;
}

unsigned cr_field_digits(const struct cr_field *field)
{
    return field->digits;
}

const struct cr_field_kernels *cr_field_kernels(const struct cr_field *field)
{
    return field->kernels;
}

// For squares that are too small or too large for floats.
static void wide_norms(const float *values, size_t count, double *sum, double *squares)
{
    *sum = *squares = 0;
    for (size_t i = 0; i < count; i++) {
        *sum += fabs((double)values[i]);
        *squares += (double)values[i] * (double)values[i];
    }
}

bool cr_field_encode_row(const struct cr_field *field, const struct cr_bound *bounds, size_t parts,
                         const void *x, enum cr_dtype dtype, const float *scale, uint32_t *words, double *t)
{
    size_t begin = 0;
    for (size_t i = 0; i < parts; begin += bounds[i++].depth) {
        double sum, squares;
        size_t depth = bounds[i].depth;
        const void *part = (const unsigned char *)x + begin * cr_dtype_size(dtype);
        float *values = (float *)(void *)(words + begin); // each is stored where its word will be
        field->kernels->norms(part, dtype, scale ? scale + begin : NULL, depth, values, &sum, &squares);
        if (sum != 0 && !(squares > 0x1p-96 && squares < 0x1p100)) wide_norms(values, depth, &sum, &squares);
        if (!isfinite(squares)) return false;
        t[i] = cr_bound_scale(&bounds[i], sum, squares);
        field->kernels->encode(values, depth, 1 / t[i], cr_prime(field->digits), words + begin);
    }
    return true;
}

static void decode_part(const struct cr_field *field, const uint32_t *words, double t, const float *scale,
                        size_t count, const float *before, void *y, enum cr_dtype dtype)
{
    // t may be far smaller than any float while y is not, so two floats represent t.
    int power;
    double part = frexp(t, &power);
    const float factors[2] = {(float)ldexp(part, power / 2), (float)ldexp(1, power - power / 2)};
    field->kernels->decode(words, factors, scale, count, cr_prime(field->digits), before, y, dtype);
}

void cr_field_decode_row(const struct cr_field *field, const uint32_t *words, const double *t, size_t parts,
                         const float *scale, size_t count, void *y, enum cr_dtype dtype)
{
    enum { CHUNK = 512 };
    float sums[CHUNK]; // of all parts but the last
    size_t most = parts > 1 ? CHUNK : count;
    for (size_t first = 0; first < count; first += most) {
        size_t n = cr_least(most, count - first), last = parts - 1;
        const float *scales = scale ? scale + first : NULL;
        for (size_t i = 0; i < last; i++)
            decode_part(field, words + i * count + first, t[i], scales, n, i > 0 ? sums : NULL, sums, CR_F32);
        decode_part(field, words + last * count + first, t[last], scales, n, last > 0 ? sums : NULL,
                    (unsigned char *)y + first * cr_dtype_size(dtype), dtype);
    }
}

struct product_job {
    struct cr_field *field;
    const uint32_t *x;
    uint32_t *y;
    struct cr_matrix q;
    bool backward;
    size_t rows, depth, columns, parts;
    const struct cr_field_circle *less; // NULL: nothing
    size_t block, panel;                // columns of a block, bytes from one panel of it to the next
    size_t shares;                      // of the rows
};

static const uint32_t *row_of(const struct cr_field_circle *circle, size_t row, size_t width)
{
    return circle->words + (circle->turn + row) % circle->around * width;
}

// Multiplies with some columns, from `column` on, over `depth` terms from k on, which are all in one part.
static void multiply_rows(const struct product_job *job, size_t row, size_t rows, size_t column,
                          size_t columns, size_t part, size_t k, size_t depth, struct scratch *scratch)
{
    const struct cr_field_kernels *kernels = job->field->kernels;
    unsigned digits = job->field->digits;
    for (size_t r = 0; r < rows; r++)
        kernels->split(job->x + (row + r) * job->depth + k, depth, digits,
                       scratch->left + r * digits * LEFT_STRIDE, LEFT_STRIDE);
    size_t steps = (depth + CR_DEPTH_STEP - 1) / CR_DEPTH_STEP * (CR_DEPTH_STEP / CR_STEP);
    const bool first = k == cr_bound_begin(job->depth, job->parts, part);
    size_t width = job->parts * job->columns, at = part * job->columns + column;
    const uint32_t *less[CR_DIGIT_ROWS] = {NULL};
    for (size_t r = 0; first && job->less && r < rows; r++) less[r] = row_of(job->less, row + r, width) + at;
    // Sums stay in the first-level cache. The processor's other units reduce them into the field while its
    // matrix unit begins with the next ones.
    for (size_t i = 0; i < columns; i += CR_PAIR) {
        kernels->multiply(rows * digits, steps, scratch->left, LEFT_STRIDE,
                          scratch->right + i / CR_PANEL * job->panel, job->panel, scratch->sums);
        for (size_t r = 0; r < rows; r++) {
            uint32_t *y = job->y + (row + r) * width + at + i;
            // Prefetch for the next columns: they are in too many rows for the processor to predict.
            for (size_t c = CR_PAIR; c < 2 * CR_PAIR; c += LINE / sizeof *y) {
                __builtin_prefetch(y + c, 1);
                if (less[r]) __builtin_prefetch(less[r] + i + c);
            }
            kernels->combine(scratch->sums + r * digits * CR_PAIR, cr_least(CR_PAIR, columns - i), digits,
                             first, less[r] ? less[r] + i : NULL, y);
        }
    }
}

static void multiply_item(void *context, size_t item, size_t thread)
{
    const struct product_job *job = context;
    struct scratch *scratch = &job->field->scratch[thread];
    size_t share = item % job->shares, column = item / job->shares * job->block;
    size_t columns = cr_least(job->block, job->columns - column);
    size_t first = job->rows * share / job->shares, end = job->rows * (share + 1) / job->shares;
    size_t at_once = CR_DIGIT_ROWS / job->field->digits;
    size_t k = 0, part = 0;
    do {
        size_t part_end = cr_bound_begin(job->depth, job->parts, part + 1);
        size_t depth = cr_least(DEPTH, part_end - k);
        const int8_t *q = job->q.data;
        q += job->backward ? k * job->q.stride + column : column * job->q.stride + k;
        job->field->kernels->pack(q, job->q.stride, !job->backward, columns, depth, scratch->right,
                                  job->panel);
        for (size_t row = first; row < end; row += at_once)
            multiply_rows(job, row, cr_least(at_once, end - row), column, columns, part, k, depth, scratch);
        k += depth;
        part += k == part_end;
    } while (part < job->parts);
}

void cr_field_multiply(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                       bool backward, size_t parts, uint32_t *y)
{
    cr_field_multiply_less(field, x, rows, q, backward, parts, NULL, y);
}

void cr_field_multiply_less(struct cr_field *field, const uint32_t *x, size_t rows, struct cr_matrix q,
                            bool backward, size_t parts, const struct cr_field_circle *less, uint32_t *y)
{
    struct product_job job = {.field = field,
                              .x = x,
                              .y = y,
                              .q = q,
                              .backward = backward,
                              .rows = rows,
                              .depth = backward ? q.rows : q.columns,
                              .columns = backward ? q.columns : q.rows,
                              .parts = parts,
                              .less = less};
    if (rows == 0) return;
    struct cr_pool *pool = cr_compute_pool(field->compute);
    size_t deepest =
        cr_least(DEPTH, cr_most(1, job.depth) + CR_DEPTH_STEP - 1) / CR_DEPTH_STEP * CR_DEPTH_STEP;
    // As few blocks as possible, the same number for each thread.
    size_t threads = cr_pool_threads(pool), fit = cr_least(MOST_COLUMNS, BLOCK / deepest / COLUMNS * COLUMNS);
    size_t cuts = threads * ((job.columns + threads * fit - 1) / (threads * fit));
    job.block = cr_most(1, (job.columns + cuts * COLUMNS - 1) / (cuts * COLUMNS)) * COLUMNS;
    job.panel = deepest * CR_PANEL + LINE;
    size_t blocks = (job.columns + job.block - 1) / job.block;
    // Each share of the rows packs the matrix again, so there are no more shares than threads need.
    size_t wanted = blocks ? (2 * threads + blocks - 1) / blocks : 1;
    job.shares = cr_least(wanted, (rows + LEAST_ROWS - 1) / LEAST_ROWS);
    cr_pool_run(pool, blocks * job.shares, multiply_item, &job);
}
