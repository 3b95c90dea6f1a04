// Products of BF16 by the matrix unit (AMX): tiles of 16 rows of 16 words, of which eight are in registers.
// Four hold 32 × 32 elements of the result, and two each the operands' next 16 words. Within such a step the
// unit sums the even and the odd elements of the depth separately, each in order, and then adds both to the
// result. So the chain of an element consists of whole steps, wherever in a tile it is.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, LDTILECFG and TDPBF16PS.
#include "tensor/kernels.h"

#include "tensor/vector_avx512.h"

#include "tensor/kernels_pack.inc"

enum {
    STEP = 16,        // words of a step
    SIDE = 16,        // rows or columns of a tile
    WIDTH = 2 * SIDE, // of two tiles
    CHUNK = 8,        // steps of a chunk
    STRIPS = 4,       // of WIDTH rows
};

// The shapes of the tiles: memory operand of LDTILECFG.
struct shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct shape) == 64, "as the processor reads it");

// GCC does not know what the tile instructions read: what was written at p must be in memory before them.
CR_INLINE void settle(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

// Tiles 0 to 3 are the result, 4 and 5 the upper and lower left operand, 6 and 7 the right operand.
static void set_shape(size_t above, size_t below)
{
    struct shape shape = {.palette = 1};
    const size_t rows[8] = {above, above, below, below, above, below, STEP, STEP};
    for (size_t t = 0; t < 8; t++) {
        shape.rows[t] = (uint8_t)rows[t];
        shape.row_bytes[t] = rows[t] > 0 ? STEP * sizeof(uint32_t) : 0;
    }
    settle(&shape);
    _tile_loadconfig(&shape);
}

static void enter(void)
{
    set_shape(SIDE, SIDE);
}

static void leave(void)
{
    _tile_release();
}

static void pack_left_tiles(const void *source, enum cr_dtype dtype, size_t stride, bool along, size_t count,
                            size_t depth, uint32_t *target, size_t target_stride)
{
    (void)dtype;
    pack_left(source, CR_BF16, true, STEP, stride, along, count, depth, target, target_stride);
}

static void pack_right_tiles(const void *source, enum cr_dtype dtype, size_t stride, bool along, size_t count,
                             size_t depth, uint32_t *target, size_t panel)
{
    (void)dtype;
    pack_right(source, CR_BF16, true, STEP, stride, along, count, depth, target, panel);
}

// Rows of the result that a block will be written to. Prefetching a few of them in each step hides their
// latency. A row takes one or two cache lines; NULL: nothing is prefetched. Going past the last row does no
// harm.
struct place {
    const char *row;
    size_t stride; // bytes
    bool two_lines;
};

CR_INLINE void reach_for(struct place *place)
{
    if (!place->row) return;
#pragma GCC unroll 4
    for (size_t i = 0; i < WIDTH / CHUNK; i++, place->row += place->stride) {
        __builtin_prefetch(place->row, 1);
        if (place->two_lines) __builtin_prefetch(place->row + CR_ALIGNMENT, 1);
    }
}

// Multiplies the tiles of one block; `below` and `beside`: it has a second row, or column, of tiles. Strides
// in bytes.
CR_INLINE void multiply_tiles(const bool below, const bool beside, size_t steps, const char *left,
                              size_t left_stride, const uint32_t *right, const float *from,
                              size_t from_stride, float *to, size_t to_stride, struct place place)
{
    const char *lower = left + SIDE * left_stride;
    if (from) {
        const float *from_lower = (const float *)((const char *)from + SIDE * from_stride);
        _tile_loadd(0, from, from_stride);
        if (beside) _tile_loadd(1, from + SIDE, from_stride);
        if (below) _tile_loadd(2, from_lower, from_stride);
        if (below && beside) _tile_loadd(3, from_lower + SIDE, from_stride);
    } else {
        _tile_zero(0);
        if (beside) _tile_zero(1);
        if (below) _tile_zero(2);
        if (below && beside) _tile_zero(3);
    }
    for (size_t s = 0; s < steps; s++) {
        reach_for(&place);
        _tile_loadd(6, right, WIDTH * sizeof *right);
        _tile_loadd(4, left, left_stride);
        _tile_dpbf16ps(0, 4, 6);
        if (below) {
            _tile_loadd(5, lower, left_stride);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (beside) {
            _tile_loadd(7, right + SIDE, WIDTH * sizeof *right);
            _tile_dpbf16ps(1, 4, 7);
            if (below) _tile_dpbf16ps(3, 5, 7);
        }
        left += STEP * sizeof *right;
        lower += STEP * sizeof *right;
        right += STEP * WIDTH;
    }
    float *to_lower = (float *)((char *)to + SIDE * to_stride);
    _tile_stored(0, to, to_stride);
    if (beside) _tile_stored(1, to + SIDE, to_stride);
    if (below) _tile_stored(2, to_lower, to_stride);
    if (below && beside) _tile_stored(3, to_lower + SIDE, to_stride);
}

// Whether the tiles of a block are loaded from and stored to the matrix directly: whole rows of F32. Other
// types and narrower blocks go through `sums`.
static bool is_direct(enum cr_dtype dtype, size_t columns)
{
    return dtype == CR_F32 && columns % SIDE == 0;
}

// A block of the result: at most WIDTH rows and columns.
struct block {
    size_t row, rows, column, columns;
    float *sums; // [WIDTH, WIDTH]
};

CR_INLINE void fetch(const struct block *b, const struct cr_ends *ends)
{
    for (size_t r = 0; r < b->rows; r++)
        for (size_t c = 0; c < b->columns; c += SIDE)
            v_store(b->sums + r * WIDTH + c,
                    load_n(ends->from, ends->from_dtype, (b->row + r) * ends->from_stride + b->column + c,
                           b->columns - c));
    settle(b->sums);
}

CR_INLINE vf scaled(const struct cr_ends *ends, size_t column, size_t columns, vf sum)
{
    return ends->scale ? v_mul(sum, v_load_n(ends->scale + column, columns)) : sum;
}

CR_INLINE void deliver(const struct block *b, const struct cr_ends *ends, enum cr_dtype dtype)
{
    for (size_t r = 0; r < b->rows; r++)
        for (size_t c = 0; c < b->columns; c += SIDE)
            store_n(ends->to, dtype, (b->row + r) * ends->to_stride + b->column + c,
                    scaled(ends, b->column + c, b->columns - c, v_load(b->sums + r * WIDTH + c)),
                    b->columns - c);
}

// Multiplies one chunk of the depth of a block; `first` and `last`: the chains start, or end, with it.
CR_INLINE void multiply_block(const bool below, const struct block *b, size_t steps, const char *left,
                              size_t left_stride, const uint32_t *right, const struct cr_ends *ends,
                              bool first, bool last)
{
    const float *from = b->sums;
    float *to = b->sums;
    size_t from_stride = WIDTH * sizeof *from, to_stride = from_stride;
    if (first && !ends->from) {
        from = NULL;
    } else if (first && is_direct(ends->from_dtype, b->columns)) {
        from = (const float *)ends->from + b->row * ends->from_stride + b->column;
        from_stride = ends->from_stride * sizeof *from;
    } else if (first) {
        fetch(b, ends);
    }
    bool direct = last && !ends->scale && is_direct(ends->to_dtype, b->columns);
    if (direct) {
        to = (float *)ends->to + b->row * ends->to_stride + b->column;
        to_stride = ends->to_stride * sizeof *to;
    }
    struct place place = {0};
    if (last && !ends->from) {
        size_t size = cr_dtype_size(ends->to_dtype);
        place.row = (const char *)ends->to + (b->row * ends->to_stride + b->column) * size;
        place.stride = ends->to_stride * size;
        place.two_lines = b->columns * size > CR_ALIGNMENT;
    }
    if (b->columns > SIDE)
        multiply_tiles(below, true, steps, left, left_stride, right, from, from_stride, to, to_stride, place);
    else
        multiply_tiles(below, false, steps, left, left_stride, right, from, from_stride, to, to_stride,
                       place);
    if (!last || direct) return;
    if (ends->to_dtype == CR_F32)
        deliver(b, ends, CR_F32);
    else
        deliver(b, ends, CR_BF16);
}

// Prefetches the start of a block's chains while the block before it is multiplied: its rows are far apart,
// and the processor would otherwise wait for all of them.
CR_INLINE void ask_for_ends(const struct cr_ends *ends, size_t row, size_t rows, size_t column)
{
    size_t line = CR_ALIGNMENT / cr_dtype_size(ends->from_dtype);
    for (size_t r = row; r < row + cr_least(WIDTH, rows); r++)
        for (size_t c = 0; c < WIDTH; c += line)
            ask_for(ends->from, ends->from_dtype, ends->from_stride, r, column + c);
}

// Multiplies `rows` rows in strips of WIDTH; only a single strip may be shorter. A chunk of a panel stays in
// the nearest cache while all strips use it.
CR_INLINE void multiply_strips(const bool below, size_t rows, size_t columns, size_t steps, const char *left,
                               size_t left_stride, const uint32_t *right, size_t right_panel,
                               const struct cr_ends *ends, size_t row)
{
    _Alignas(64) float sums[STRIPS][WIDTH * WIDTH];
    for (size_t j = 0; j < columns; j += WIDTH, right += right_panel) {
        size_t k = 0, here;
        do {
            here = cr_least(CHUNK, steps - k);
            for (size_t i = 0; i < rows; i += WIDTH) {
                if (k == 0 && ends->from) {
                    if (i + WIDTH < rows)
                        ask_for_ends(ends, row + i + WIDTH, rows - i - WIDTH, j);
                    else if (j + WIDTH < columns)
                        ask_for_ends(ends, row, rows, j + WIDTH);
                }
                struct block block = {row + i, cr_least(WIDTH, rows - i), j, cr_least(WIDTH, columns - j),
                                      sums[i / WIDTH]};
                multiply_block(below, &block, here, left + i * left_stride + k * STEP * sizeof *right,
                               left_stride, right + k * STEP * WIDTH, ends, k == 0, k + here == steps);
            }
            k += here;
        } while (k < steps);
    }
}

static void multiply(size_t rows, size_t columns, size_t words, const void *left, size_t left_stride,
                     const uint32_t *right, size_t right_panel, const struct cr_ends *ends)
{
    size_t steps = words / STEP, row = 0;
    const char *a = left;
    settle(left);
    while (rows - row >= WIDTH) {
        size_t here = cr_least(STRIPS * WIDTH, (rows - row) / WIDTH * WIDTH);
        multiply_strips(true, here, columns, steps, a + row * left_stride, left_stride, right, right_panel,
                        ends, row);
        row += here;
    }
    size_t rest = rows - row;
    if (rest == 0) return;
    set_shape(cr_least(SIDE, rest), rest > SIDE ? rest - SIDE : 0);
    a += row * left_stride;
    if (rest > SIDE)
        multiply_strips(true, rest, columns, steps, a, left_stride, right, right_panel, ends, row);
    else
        multiply_strips(false, rest, columns, steps, a, left_stride, right, right_panel, ends, row);
    enter();
}

const struct cr_product cr_product__amx = {
    .per_word = 2,
    .word_step = STEP,
    .left_rows = WIDTH,
    .right_width = WIDTH,
    .right_columns = 512,
    .pack_left = pack_left_tiles,
    .pack_right = pack_right_tiles,
    .multiply = multiply,
    .enter = enter,
    .leave = leave,
};
