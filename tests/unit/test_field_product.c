// field/prime.h and field/product.h: every path against sums of 64 bits.
#include "field_support.h"

#include <math.h>

static uint32_t modulo(int64_t v, uint32_t p)
{
    int64_t rest = v % (int64_t)p;
    return (uint32_t)(rest < 0 ? rest + (int64_t)p : rest);
}

static void words_are_numbers_modulo_p(void **unused)
{
    (void)unused;
    draw_state = 1;
    for (unsigned digits = 3; digits <= 4; digits++) {
        const uint32_t p = cr_prime(digits);
        const uint32_t ends[] = {0, 1, 2, p / 2 - 1, p / 2, p / 2 + 1, p - 2, p - 1};
        const int32_t widest = 2048 * 255 * 128; // a sum of products
        for (size_t i = 0; i < 100000; i++) {
            uint32_t a = i < 64 ? ends[i % 8] : draw() % p, b = i < 64 ? ends[i / 8] : draw() % p;
            assert_int_equal(cr_prime_add(a, b, p), ((uint64_t)a + b) % p);
            assert_int_equal(cr_prime_sub(a, b, p), ((uint64_t)a + p - b) % p);
            int32_t centred = cr_prime_centre(a, p);
            assert_true(centred >= -(int32_t)(p / 2) && centred <= (int32_t)(p / 2));
            assert_int_equal(modulo(centred, p), a);
            assert_int_equal(cr_prime_word(centred, p), a);
            assert_int_equal(cr_prime_up(a, digits), (uint64_t)a * 256 % p);
            const int32_t edges[] = {widest, -widest, widest - 1, 0, -1, (int32_t)(p / 8), -(int32_t)(p / 8)};
            int32_t sum = i < 700 ? edges[i % 7] : (int32_t)(draw() % (2 * (uint32_t)widest + 1)) - widest;
            assert_int_equal(cr_prime_of_sum(sum, digits), modulo(sum, p));
        }
    }
}

enum content { RANDOM, EXTREME, ONE_HUGE, ZEROS, CONTENTS };

// Words of pads are uniform; those without a pad, as here, may lie anywhere.
static void fill(enum content content, uint32_t p, uint32_t *x, size_t words, int8_t *q, size_t weights)
{
    for (size_t i = 0; i < words; i++)
        x[i] = content == RANDOM ? draw() % p : content == EXTREME ? p - 1 - (draw() & 1) * (p / 2) : 0;
    if (content == ONE_HUGE) x[draw() % words] = p / 2;
    for (size_t i = 0; i < weights; i++)
        q[i] = (int8_t)(content == RANDOM ? (int)(draw() % 255) - 127 : draw() & 1 ? 127 : -127);
    if (content == EXTREME) // the same signs throughout: the largest sums
        for (size_t i = 0; i < weights; i += 2) q[i] = q[i + 1 < weights ? i + 1 : i] = 127;
}

struct shape {
    size_t rows, depth, columns, parts;
};

// q has a stride beyond its columns.
static void check(struct cr_field *const *fields, size_t count, unsigned digits, struct shape shape,
                  bool backward, enum content content)
{
    const uint32_t p = cr_prime(digits);
    size_t q_rows = backward ? shape.depth : shape.columns,
           q_columns = backward ? shape.columns : shape.depth;
    size_t parts = shape.parts, stride = q_columns + 3, words = shape.rows * shape.depth,
           results = shape.rows * parts * shape.columns;
    CR_FREE uint32_t *x = NULL, *y = NULL, *wanted = NULL, *less = NULL;
    CR_FREE int8_t *q = NULL;
    size_t width = parts * shape.columns, around = shape.rows + 1, turn = shape.rows / 2 + 1;
    assert_ok(cr_allocate(words, sizeof *x, &x));
    assert_ok(cr_allocate(around * width, sizeof *less, &less));
    assert_ok(cr_allocate(results, sizeof *y, &y));
    assert_ok(cr_allocate(results, sizeof *y, &wanted));
    assert_ok(cr_allocate(q_rows * stride, 1, &q));
    fill(content, p, x, words, q, q_rows * stride);
    for (size_t r = 0; r < shape.rows; r++)
        for (size_t i = 0; i < parts * shape.columns; i++) {
            int64_t sum = 0;
            size_t c = i % shape.columns, part = i / shape.columns;
            const int8_t *at = backward ? q + c : q + c * stride;
            size_t step = backward ? stride : 1, end = shape.depth * (part + 1) / parts;
            for (size_t k = shape.depth * part / parts; k < end; k++)
                sum += (int64_t)x[r * shape.depth + k] * at[k * step];
            wanted[r * parts * shape.columns + i] = modulo(sum, p);
        }
    struct cr_matrix matrix = cr_matrix_of(q, CR_I8, q_rows, q_columns);
    matrix.stride = stride;
    for (size_t i = 0; i < count; i++) {
        memset(y, 0xff, results * sizeof *y);
        cr_field_multiply(fields[i], x, shape.rows, matrix, backward, parts, y);
        if (memcmp(y, wanted, results * sizeof *y) != 0)
            fail_msg("path %d: %zu rows, K = %zu, %zu columns, %zu parts, %u digits, %s, content %d",
                     cr_field_path(fields[i]), shape.rows, shape.depth, shape.columns, parts, digits,
                     backward ? "backward" : "forward", content);
    }
    if (content != RANDOM) return; // what is taken away says nothing new of others
    for (size_t i = 0; i < around * width; i++) less[i] = i % 3 ? draw() % p : p - 1;
    for (size_t i = 0; i < results; i++)
        wanted[i] = cr_prime_sub(wanted[i], less[(turn + i / width) % around * width + i % width], p);
    const struct cr_field_circle circle = {less, turn, around};
    for (size_t i = 0; i < count; i++) {
        memset(y, 0xff, results * sizeof *y);
        cr_field_multiply_less(fields[i], x, shape.rows, matrix, backward, parts, &circle, y);
        if (memcmp(y, wanted, results * sizeof *y) != 0)
            fail_msg("path %d: %zu rows less others, K = %zu, %zu columns, %zu parts, %u digits",
                     cr_field_path(fields[i]), shape.rows, shape.depth, shape.columns, parts, digits);
    }
}

static void every_path_gives_the_sums_modulo_p(void **unused)
{
    (void)unused;
    draw_state = 2;
    static const struct shape shapes[] = {
        {1, 1, 1, 1},
        {1, 64, 16, 1},
        {2, 3, 5, 1},
        {3, 63, 33, 1},
        {5, 65, 257, 1},
        {25, 100, 31, 1},
        {33, 129, 40, 1},
        {97, 66, 290, 1},
        {1, 16384, 17, 1},
        {7, 16384, 3, 1},
        {3, 4097, 34, 1},
        {2, 2048, 32, 1},
        {4, 32000, 18, 1},
        {1000, 20, 2, 1},
        {1000, 70, 1, 1},
        {1, 70000, 2, 1},
        {200, 64, 64, 1},
        {1, 2049, 600, 1},
        {1, 1500, 2100, 1},
        {2, 70, 3300, 1},
        // In parts: of lengths about a block's and a step's, and of one term or two.
        {3, 16384, 5, 2},
        {2, 22016, 33, 3},
        {5, 4097, 16, 2},
        {2, 6145, 9, 3},
        {40, 66, 290, 7},
        {3, 63, 33, 63},
        {1, 129, 2100, 2},
        {26, 65, 3, 64},
        {2, 32000, 18, 4},
    };
    struct cr_compute *compute[2];
    assert_ok(cr_compute_new(1, &compute[0]));
    assert_ok(cr_compute_new(3, &compute[1]));
    for (unsigned digits = 3; digits <= 4; digits++) {
        struct cr_field *fields[8];
        size_t count = 0;
        for (int path = CR_FIELD_SCALAR; path <= CR_FIELD_AMX; path++)
            for (size_t i = !THOROUGH; i < 2; i++) {
                enum cr_status status =
                    cr_field_new_with(compute[i], digits, (enum cr_field_path)path, &fields[count]);
                if (status != CR_UNSUPPORTED) assert_ok(status);
                count += status == CR_OK;
            }
        assert_true(count >= 1 + THOROUGH);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int content = 0; content < (THOROUGH ? CONTENTS : ONE_HUGE); content++)
                for (int backward = 0; backward < 2; backward++)
                    check(fields, count, digits, shapes[i], backward, (enum content)content);
        struct cr_field *best;
        assert_ok(cr_field_new(compute[0], digits, &best));
        assert_int_equal(cr_field_path(best), cr_field_path(fields[count - 1]));
        cr_field_free(best);
        for (size_t i = 0; i < count; i++) cr_field_free(fields[i]);
    }
    struct cr_field *none;
    assert_fails(CR_INVALID, "digits", cr_field_new(compute[0], 5, &none));
    for (size_t i = 0; i < 2; i++) cr_compute_free(compute[i]);
}

// Rows of F32 or BF16 through the field under a pad: exactly the sums of the rounded row, and alike on every
// path.
static void check_rows(enum cr_dtype dtype, unsigned digits, bool backward)
{
    enum { ROWS = 6, OUT = 45, IN = 70 };
    const uint32_t p = cr_prime(digits);
    const size_t depth = backward ? OUT : IN, columns = backward ? IN : OUT;
    int8_t q[OUT * IN];
    float scale[OUT], x[ROWS * IN];
    uint16_t narrow[ROWS * IN];
    for (size_t i = 0; i < OUT * IN; i++) q[i] = (int8_t)((int)(draw() % 255) - 127);
    for (size_t i = 0; i < OUT; i++) scale[i] = 0.001f * (float)(1 + draw() % 9);
    for (size_t i = 0; i < ROWS * depth; i++) {
        x[i] = ((float)draw() / 2147483648.0f - 1) * (i / depth == 2 ? 1e30f : 1);
        if (i / depth == 3) x[i] = i % depth == 7 ? -5e4f : x[i] * 1e-3f; // one huge channel
        if (i / depth == 4) x[i] = 0;
        if (i / depth == 5) x[i] *= 1e-33f; // whose t is none of fp32
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        narrow[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000;
        if (dtype == CR_BF16) memcpy(&x[i], &bits, sizeof bits);
    }
    struct cr_matrix matrix = cr_matrix_of(q, CR_I8, OUT, IN);
    struct cr_bound bound;
    assert_ok(cr_bound_new(&matrix, backward, digits, &bound));
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    uint32_t words[ROWS * IN], pad[ROWS * IN], got[ROWS * IN], of_pad[ROWS * IN], first[ROWS * IN];
    for (size_t i = 0; i < ROWS * IN; i++) pad[i] = draw() % p;
    for (int path = CR_FIELD_SCALAR; path <= CR_FIELD_AMX; path++) {
        struct cr_field *field;
        enum cr_status status = cr_field_new_with(compute, digits, (enum cr_field_path)path, &field);
        if (status == CR_UNSUPPORTED) continue;
        assert_ok(status);
        double t[ROWS];
        assert_int_equal(encode_rows(field, &bound, 1,
                                     cr_matrix_of(dtype == CR_F32 ? (void *)x : narrow, dtype, ROWS, depth),
                                     backward ? scale : NULL, words, t),
                         ROWS);
        if (path == CR_FIELD_SCALAR) memcpy(first, words, sizeof first);
        assert_memory_equal(first, words, ROWS * depth * sizeof *words);
        assert_true(t[4] == 1);
        int64_t sums[ROWS * IN];
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < columns; c++) {
                int64_t sum = 0;
                for (size_t k = 0; k < depth; k++) {
                    float value = x[r * depth + k] * (backward ? scale[k] : 1);
                    int32_t whole = cr_prime_centre(words[r * depth + k], p);
                    assert_true(fabs((double)value / t[r] - whole) <= 0.5 + 1e-6);
                    sum += (int64_t)whole * (backward ? q[k * IN + c] : q[c * IN + k]);
                }
                assert_true(llabs(sum) <= p / 2);
                sums[r * columns + c] = sum;
            }
        for (size_t i = 0; i < ROWS * depth; i++) words[i] = cr_prime_add(words[i], pad[i], p);
        cr_field_multiply(field, words, ROWS, matrix, backward, 1, got);
        cr_field_multiply(field, pad, ROWS, matrix, backward, 1, of_pad);
        for (size_t i = 0; i < ROWS * columns; i++) got[i] = cr_prime_sub(got[i], of_pad[i], p);
        float y[ROWS * IN];
        uint16_t y16[ROWS * IN];
        decode_rows(field, got, t, 1, backward ? NULL : scale, cr_matrix_of(y, CR_F32, ROWS, columns));
        decode_rows(field, got, t, 1, backward ? NULL : scale, cr_matrix_of(y16, CR_BF16, ROWS, columns));
        for (size_t i = 0; i < ROWS * columns; i++) {
            double factor = t[i / columns] * (backward ? 1 : (double)scale[i % columns]);
            assert_true(fabs((double)y[i] - (double)sums[i] * factor) <= fabs((double)y[i]) * 0x1p-22);
            uint32_t bits = (uint32_t)y16[i] << 16;
            float wide;
            memcpy(&wide, &bits, sizeof wide);
            assert_true(fabsf(wide - y[i]) <= fabsf(y[i]) / 256);
        }
        cr_field_free(field);
    }
    cr_compute_free(compute);
}

static void rows_come_back_from_under_a_pad(void **unused)
{
    (void)unused;
    draw_state = 3;
    for (int backward = 0; backward < 2; backward++)
        for (unsigned digits = 3; digits <= 4; digits++) {
            check_rows(CR_F32, digits, backward);
            check_rows(CR_BF16, digits, backward);
        }
}

// The formula, whatever a row's length, and t alike on every path.
static void rows_are_rounded_to_the_nearest(void **unused)
{
    (void)unused;
    enum { LONGEST = 530, PATHS = CR_FIELD_AMX + 1 };
    const uint32_t p = cr_prime(4);
    float x[LONGEST + 1], scale[LONGEST], values[LONGEST];
    uint16_t narrow[LONGEST + 1];
    uint32_t words[LONGEST];
    struct cr_compute *compute;
    struct cr_field *fields[PATHS];
    size_t count = 0;
    draw_state = 4;
    assert_ok(cr_compute_new(1, &compute));
    for (int path = CR_FIELD_SCALAR; path < PATHS; path++) {
        enum cr_status status = cr_field_new_with(compute, 4, (enum cr_field_path)path, &fields[count]);
        if (status != CR_UNSUPPORTED) assert_ok(status);
        count += status == CR_OK;
    }
    for (size_t depth = 1; depth <= LONGEST; depth++)
        for (int kind = 0; kind < 12; kind++) {
            bool narrowed = kind & 1, scaled = kind & 2;
            float size = (const float[]){1, 1e-21f, 1e25f}[kind / 4]; // whose squares no float holds well
            long double sum = 0, squares = 0;
            for (size_t i = 0; i < depth; i++) {
                x[i + 1] = ((float)draw() / 2147483648.0f - 1) * (draw() % 64 ? 1 : 1000) * size;
                scale[i] = 0.001f * (float)(1 + draw() % 9);
                uint32_t bits;
                memcpy(&bits, &x[i + 1], sizeof bits);
                narrow[i + 1] = (uint16_t)(bits >> 16);
                bits &= 0xffff0000;
                if (narrowed) memcpy(&x[i + 1], &bits, sizeof bits);
                values[i] = x[i + 1] * (scaled ? scale[i] : 1);
                sum += fabsl((long double)values[i]);
                squares += (long double)values[i] * (long double)values[i];
            }
            struct cr_bound bound = {.depth = depth, .norm = 1000, .room_norm = 1e6, .room_sum = 8e6};
            double wanted = cr_bound_scale(&bound, (double)sum, (double)squares), first = 0;
            struct cr_matrix row =
                cr_matrix_of(narrowed ? (void *)(narrow + 1) : x + 1, narrowed ? CR_BF16 : CR_F32, 1, depth);
            for (size_t f = 0; f < count; f++) {
                double t;
                assert_true(encode_rows(fields[f], &bound, 1, row, scaled ? scale : NULL, words, &t) == 1);
                assert_true(fabs(t / wanted - 1) < 10 * 0x1p-24); // as docs/NUMERICS.md has it
                first = f == 0 ? t : first;
                assert_true(t == first);
                for (size_t i = 0; i < depth; i++)
                    assert_int_equal(cr_prime_centre(words[i], p), lrint((double)values[i] * (1 / t)));
            }
        }
    for (size_t f = 0; f < count; f++) cr_field_free(fields[f]);
    cr_compute_free(compute);
}

static void rows_that_are_not_finite_are_refused(void **unused)
{
    (void)unused;
    enum { ROWS = 4, DEPTH = 21 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    int8_t q[DEPTH];
    memset(q, 1, sizeof q);
    struct cr_matrix matrix = cr_matrix_of(q, CR_I8, 1, DEPTH);
    struct cr_bound bound;
    assert_ok(cr_bound_new(&matrix, false, 4, &bound));
    struct cr_compute *compute;
    struct cr_field *field;
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_field_new(compute, 4, &field));
    for (size_t i = 0; i < 3; i++)
        for (size_t at = 0; at < DEPTH; at++) {
            float x[ROWS * DEPTH] = {0};
            uint32_t words[ROWS * DEPTH];
            double t[ROWS];
            x[DEPTH + at] = x[3 * DEPTH + at] = bad[i];
            assert_int_equal(
                encode_rows(field, &bound, 1, cr_matrix_of(x, CR_F32, ROWS, DEPTH), NULL, words, t), 1);
        }
    cr_field_free(field);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_numbers_modulo_p),
        cmocka_unit_test(every_path_gives_the_sums_modulo_p),
        cmocka_unit_test(rows_come_back_from_under_a_pad),
        cmocka_unit_test(rows_are_rounded_to_the_nearest),
        cmocka_unit_test(rows_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
