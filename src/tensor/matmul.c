// Products by blocks. A thread takes a part of the rows and columns of C and processes it at three levels:
//
//   super-block of ROWS_SUPER rows, so that partial results of long sums have a bounded place
//   block of the depth (DEPTH words) and of columns: packed once into panels for the second-level cache
//   block of ROWS rows: used where it lies, or packed; multiplied with all those columns
//
// The kernels guarantee that this does not affect the results (kernels.h), so the split over threads may
// follow the shape and the number of threads.
#include "tensor/matmul.h"

#include "tensor/split.h"

enum {
    DEPTH = 512,                // words
    COLUMNS = 512,              // of a block at most
    ROWS = 96,                  // a multiple of every number of rows computed together
    ROWS_SUPER = 1056,          // a multiple of ROWS
    LINE = 16,                  // words of a cache line
    LEAST_WIDTH = 2,            // of a panel
    STRIP = 32,                 // rows of an I8 matrix that are widened together, see pack_widened
    LEFT_STRIDE = DEPTH + LINE, // an odd number of cache lines, so that rows do not compete for places
};

// The parts of a thread's workspace. `partial` comes last: until a product has partial results, which is
// rare, a thread touches only the one large page with the other parts.
struct scratch {
    uint32_t right[COLUMNS * DEPTH + COLUMNS / LEAST_WIDTH * LINE];
    uint32_t left[ROWS * LEFT_STRIDE];
    uint32_t strip[STRIP * COLUMNS]; // or STRIP rows of DEPTH words
    float partial[ROWS_SUPER * COLUMNS];
};

_Static_assert(COLUMNS >= DEPTH, "a strip holds rows of a block either way");

_Static_assert(sizeof(struct scratch) <= CR_WORKSPACE, "the workspace holds one block of each operand");

// Words from one panel to the next, including a cache line so that panels do not compete for places in a
// cache.
static size_t panel_words(const struct cr_product *product)
{
    return product->right_width * DEPTH + LINE;
}

struct job {
    const struct cr_compute *compute;
    const struct cr_product *product;
    enum cr_transpose form;
    struct cr_matrix a, b, c;
    size_t depth; // K
    bool accumulate;
    size_t row_parts, column_parts;
};

// Where part i of n of `count` starts: at a multiple of `width`.
static size_t part_start(size_t count, size_t width, size_t i, size_t n)
{
    size_t units = (count + width - 1) / width;
    return cr_least(count, units * i / n * width);
}

// Packs a right operand of I8: a few rows at a time are widened to the left operand's type, and packed while
// they are in the nearest cache. Rows along the depth (CR_NT) stay integers, which every type represents
// exactly, and the result is multiplied by their scales; rows across it (CR_NN) are multiplied by their
// scales and rounded. STRIP is a multiple of every product's step (so that strips along the depth have no
// padding between them) and of the widths of panels.
static void pack_widened(const struct job *job, size_t k, size_t depth, size_t column, size_t columns,
                         struct scratch *scratch)
{
    const struct cr_product *product = job->product;
    const struct cr_kernels *kernels = cr_compute_kernels(job->compute);
    enum cr_dtype act = job->a.dtype;
    bool along = job->form == CR_NT;
    size_t row = along ? column : k, rows = along ? columns : depth, first = along ? k : column;
    size_t length = along ? depth : columns, size = cr_dtype_size(act), panel = panel_words(product);
    for (size_t i = 0; i < rows; i += STRIP) {
        size_t n = cr_least(STRIP, rows - i);
        for (size_t r = 0; r < n; r++)
            kernels->widen(cr_at(&job->b, row + i + r, first), along ? 1.0f : job->b.scale[row + i + r],
                           (char *)scratch->strip + r * length * size, act, length);
        if (along)
            product->pack_right(scratch->strip, act, length, true, n, depth,
                                scratch->right + i / product->right_width * panel, panel);
        else
            product->pack_right(scratch->strip, act, length, false, columns, n,
                                scratch->right + i / product->per_word * product->right_width, panel);
    }
}

static void pack_right(const struct job *job, size_t k, size_t depth, size_t column, size_t columns,
                       uint32_t *target)
{
    const struct cr_product *product = job->product;
    bool along = job->form == CR_NT;
    const void *source = along ? cr_at(&job->b, column, k) : cr_at(&job->b, k, column);
    product->pack_right(source, job->b.dtype, job->b.stride, along, columns, depth, target,
                        panel_words(product));
}

// Rows of the left operand, used in place or packed into `space`; *stride in bytes.
static const void *left_rows(const struct job *job, size_t k, size_t depth, size_t row, size_t rows,
                             uint32_t *space, size_t *stride)
{
    enum { ALIAS = 4096 }; // rows so far apart share their place in the nearest cache
    const struct cr_product *product = job->product;
    bool along = job->form != CR_TN;
    const void *source = along ? cr_at(&job->a, row, k) : cr_at(&job->a, k, row);
    *stride = job->a.stride * cr_dtype_size(job->a.dtype);
    if (cr_left_in_place(product, job->a.dtype, along, depth) && *stride % ALIAS != 0) return source;
    product->pack_left(source, job->a.dtype, job->a.stride, along, rows, depth, space, LEFT_STRIDE);
    *stride = LEFT_STRIDE * sizeof *space;
    return space;
}

// Where the chains of a block start and end: in C, or, if C is not F32 and a later block of the depth
// continues the chain, in `partial`, which is F32.
static struct cr_ends ends_of(const struct job *job, size_t row, size_t column, bool first, bool last,
                              float *partial, size_t partial_stride)
{
    void *place = cr_at(&job->c, row, column);
    enum cr_dtype dtype = job->c.dtype;
    size_t stride = job->c.stride;
    struct cr_ends ends = {place, dtype, stride, place, dtype, stride, NULL};
    if (last && job->b.dtype == CR_I8 && job->form == CR_NT) ends.scale = job->b.scale + column;
    if (first && !job->accumulate) ends.from = NULL;
    if (dtype == CR_F32) return ends;
    if (!first) {
        ends.from = partial;
        ends.from_dtype = CR_F32;
        ends.from_stride = partial_stride;
    }
    if (!last) {
        ends.to = partial;
        ends.to_dtype = CR_F32;
        ends.to_stride = partial_stride;
    }
    return ends;
}

// Multiplies one block of columns of one super-block of rows, over the whole depth.
static void multiply_block(const struct job *job, size_t row, size_t rows, size_t column, size_t columns,
                           struct scratch *scratch)
{
    const struct cr_product *product = job->product;
    size_t k = 0, partial_stride = (columns + LINE - 1) / LINE * LINE;
    do {
        size_t depth = cr_least(DEPTH * product->per_word, job->depth - k);
        bool first = k == 0, last = k + depth == job->depth;
        if (job->b.dtype == CR_I8)
            pack_widened(job, k, depth, column, columns, scratch);
        else
            pack_right(job, k, depth, column, columns, scratch->right);
        for (size_t i = 0; i < rows; i += ROWS) {
            size_t here = cr_least(ROWS, rows - i);
            size_t stride;
            const void *left = left_rows(job, k, depth, row + i, here, scratch->left, &stride);
            float *partial = scratch->partial + i % ROWS_SUPER * partial_stride;
            struct cr_ends ends = ends_of(job, row + i, column, first, last, partial, partial_stride);
            product->multiply(here, columns, cr_words(product, depth), left, stride, scratch->right,
                              panel_words(product), &ends);
        }
        k += depth;
    } while (k < job->depth);
}

static void multiply_part(void *context, size_t item, size_t thread)
{
    const struct job *job = context;
    const struct cr_product *product = job->product;
    struct scratch *scratch = cr_compute_workspace(job->compute, thread);
    size_t i = item / job->column_parts, j = item % job->column_parts;
    size_t row_end = part_start(job->c.rows, product->left_rows, i + 1, job->row_parts);
    size_t column_end = part_start(job->c.columns, product->right_width, j + 1, job->column_parts);
    size_t column_start = part_start(job->c.columns, product->right_width, j, job->column_parts);
    // With few rows packing is most of the work, and a panel that is used at once is still in the nearest
    // cache.
    size_t columns = job->c.rows <= product->left_rows ? product->right_width : product->right_columns;
    // Without partial results there is no reason to pack the right operand more than once.
    bool partial = job->c.dtype != CR_F32 && job->depth > DEPTH * product->per_word;
    size_t rows = partial ? ROWS_SUPER : job->c.rows;
    cr_product_enter(product);
    for (size_t row = part_start(job->c.rows, product->left_rows, i, job->row_parts); row < row_end;
         row += rows)
        for (size_t column = column_start; column < column_end; column += columns)
            multiply_block(job, row, cr_least(rows, row_end - row), column,
                           cr_least(columns, column_end - column), scratch);
    cr_product_leave(product);
}

// Chooses into how many parts rows and columns are cut: the largest part should be small, and so should
// packing, which each part repeats.
static void split(struct job *job)
{
    const struct cr_product *product = job->product;
    size_t threads = cr_pool_threads(cr_compute_pool(job->compute));
    size_t row_units = (job->c.rows + product->left_rows - 1) / product->left_rows;
    size_t column_units = (job->c.columns + product->right_width - 1) / product->right_width;
    double best = 0;
    for (size_t row_parts = 1; row_parts <= threads; row_parts++) {
        size_t column_parts = threads / row_parts;
        double rows = (double)((row_units + row_parts - 1) / row_parts * product->left_rows);
        double columns = (double)((column_units + column_parts - 1) / column_parts * product->right_width);
        // In units of one row and column: packing a column's words costs about as much as 64 rows of it, and
        // reading a row's words from afar as 16 columns.
        double cost = rows * columns + 64 * columns + 16 * rows;
        if (row_parts == 1 || cost < best) {
            best = cost;
            job->row_parts = row_parts;
            job->column_parts = column_parts;
        }
    }
    // A block of columns is packed and used by itself anyway, so it is an item of its own, for whichever
    // thread is free.
    size_t columns = (job->c.columns + job->column_parts - 1) / job->column_parts;
    job->column_parts *= (columns + product->right_columns - 1) / product->right_columns;
}

enum cr_status cr_matmul(struct cr_compute *compute, enum cr_transpose form, struct cr_matrix a,
                         struct cr_matrix b, struct cr_matrix c, bool accumulate)
{
    size_t m = form == CR_TN ? a.columns : a.rows, k = form == CR_TN ? a.rows : a.columns;
    size_t n = form == CR_NT ? b.rows : b.columns, k_of_b = form == CR_NT ? b.columns : b.rows;
    bool fit = a.dtype == b.dtype || b.dtype == CR_I8 || (a.dtype == CR_F32 && b.dtype == CR_BF16);
    if (k != k_of_b || c.rows != m || c.columns != n || !fit)
        return cr_fail(CR_INTERNAL,
                       "product of %zu x %zu and %zu x %zu into %zu x %zu: shapes or types differ", a.rows,
                       a.columns, b.rows, b.columns, c.rows, c.columns);
    if ((a.dtype != CR_F32 && a.dtype != CR_BF16) || (c.dtype != CR_F32 && c.dtype != CR_BF16))
        return cr_fail(CR_INTERNAL, "products are of F32 or BF16");
    if (b.dtype == CR_I8 && (!b.scale || form == CR_TN || (form == CR_NT && accumulate)))
        return cr_fail(CR_INTERNAL,
                       "a product with I8 takes it as a weight with scales, and adds to nothing forward");
    if (m == 0 || n == 0) return CR_OK;
    const struct cr_kernels *kernels = cr_compute_kernels(compute);
    struct job job = {.compute = compute,
                      .product = cr_product_of(kernels, a.dtype),
                      .form = form,
                      .a = a,
                      .b = b,
                      .c = c,
                      .depth = k,
                      .accumulate = accumulate};
    split(&job);
    cr_pool_run(cr_compute_pool(compute), job.row_parts * job.column_parts, multiply_part, &job);
    return CR_OK;
}
