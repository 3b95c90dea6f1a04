// field/bound.h: rows that go to the edge of both bounds never wrap, in any part of a deep sum, and how large
// the rounding's error is.
#include "field_support.h"
#include "tensor/ops.h"

#include <math.h>

static double gaussian(void)
{
    double u = (draw() + 1.0) / 4294967297.0, v = draw() / 4294967296.0;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

enum { OUT = 4, LONGEST = 16384, KINDS = 6, MOST_PARTS = 8 };

// A part of a row against one column of the product, whose weights are w [depth].
static void make_row(int kind, const int8_t *w, size_t depth, float *x)
{
    float size = ldexpf(1, (int)(draw() % 120) - 60) * (1 + (float)(draw() % 1000) / 1000);
    if (draw() & 1) size = -size;
    size_t huge = draw() % depth;
    for (size_t k = 0; k < depth; k++) {
        float noise = (float)draw() / 2147483648.0f - 1;
        float sign = w[k] < 0 ? -1 : 1;
        switch (kind) {
        case 0: // along the weights: the bound by norms at its edge
            x[k] = size * w[k];
            break;
        case 1: // the same, and every rounding the same way
            x[k] = size * (w[k] + sign * fabsf(noise) * 1e-7f);
            break;
        case 2: // along their signs
            x[k] = size * sign;
            break;
        case 3: // one huge channel: the bound by sums
            x[k] = k == huge ? size * 1e6f : size * noise;
            break;
        case 4:
            x[k] = size * noise;
            break;
        default: // one channel alone
            x[k] = k == huge ? size : 0;
        }
    }
}

// The column with the heaviest weights of a part, w [OUT][LONGEST] from `begin` on.
static size_t heaviest_column(int8_t w[OUT][LONGEST], size_t begin, const struct cr_bound *bound)
{
    size_t heaviest = 0;
    double most = 0;
    for (size_t o = 0; o < OUT; o++) {
        double squares = 0;
        for (size_t k = begin; k < begin + bound->depth; k++) squares += w[o][k] * w[o][k];
        if (squares > most) {
            most = squares;
            heaviest = o;
        }
    }
    assert_true(bound->norm == fmax(1, sqrt(most)));
    return heaviest;
}

// Rows of one length. Of each part counts the largest share of (p−1)/2 that a sum took, and of these the
// least: reached[kind] becomes at least that.
static void check_rows(struct cr_field *field, unsigned digits, bool backward, size_t depth, size_t rows,
                       double reached[KINDS])
{
    static int8_t q[OUT * LONGEST], w[OUT][LONGEST];
    static float x[LONGEST];
    static uint32_t words[LONGEST];
    for (size_t i = 0; i < OUT * depth; i++)
        q[i] = (int8_t)(depth % 3 == 0 ? (draw() & 1 ? 127 : -127) : (int)(draw() % 255) - 127);
    struct cr_matrix matrix =
        backward ? cr_matrix_of(q, CR_I8, depth, OUT) : cr_matrix_of(q, CR_I8, OUT, depth);
    size_t parts = cr_bound_parts(depth, backward), heaviest[MOST_PARTS], begin = 0;
    struct cr_bound bounds[MOST_PARTS];
    double of_parts[MOST_PARTS][KINDS] = {{0}};
    assert_true(parts <= MOST_PARTS);
    assert_ok(cr_bound_new(&matrix, backward, digits, bounds));
    for (size_t o = 0; o < OUT; o++)
        for (size_t k = 0; k < depth; k++) w[o][k] = backward ? q[k * OUT + o] : q[o * depth + k];
    for (size_t i = 0; i < parts; begin += bounds[i++].depth) {
        assert_int_equal(begin, cr_bound_begin(depth, parts, i));
        assert_true(bounds[i].depth <= (backward ? CR_DEEPEST_BACKWARD : CR_DEEPEST_FORWARD));
        heaviest[i] = heaviest_column(w, begin, &bounds[i]);
    }
    assert_int_equal(begin, depth);
    const int64_t half = cr_prime(digits) / 2;
    for (size_t r = 0; r < rows; r++) {
        int kind = (int)(r % KINDS);
        double t[MOST_PARTS];
        begin = 0;
        for (size_t i = 0; i < parts; begin += bounds[i++].depth)
            make_row(kind, w[heaviest[i]] + begin, bounds[i].depth, x + begin);
        assert_true(cr_field_encode_row(field, bounds, parts, x, CR_F32, NULL, words, t));
        begin = 0;
        for (size_t i = 0; i < parts; begin += bounds[i++].depth)
            for (size_t o = 0; o < OUT; o++) {
                int64_t sum = 0;
                for (size_t k = begin; k < begin + bounds[i].depth; k++)
                    sum += (int64_t)cr_prime_centre(words[k], cr_prime(digits)) * w[o][k];
                if (llabs(sum) > half)
                    fail_msg("K = %zu, part %zu, %u digits, kind %d: %lld wraps", depth, i, digits, kind,
                             (long long)sum);
                of_parts[i][kind] = fmax(of_parts[i][kind], (double)llabs(sum) / (double)half);
            }
    }
    for (int kind = 0; kind < KINDS; kind++) {
        double least = of_parts[0][kind];
        for (size_t i = 1; i < parts; i++) least = fmin(least, of_parts[i][kind]);
        reached[kind] = fmax(reached[kind], least);
    }
}

// 200,000 rows in all, over both numbers of digits and both directions.
static void rows_at_the_edge_never_wrap(void **unused)
{
    (void)unused;
    const size_t per_length = 60, lengths = (THOROUGH ? 200000 : 20000) / (4 * per_length) + 1;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    draw_state = 4;
    for (unsigned digits = 3; digits <= 4; digits++)
        for (int backward = 0; backward < 2; backward++) {
            struct cr_field *field;
            assert_ok(cr_field_new(compute, digits, &field));
            double reached[KINDS] = {0};
            for (size_t i = 0; i < lengths; i++) {
                size_t depth = (size_t)exp2(14.0 * draw() / 4294967296.0);
                if (i == 0) depth = 1;
                if (i == 1) depth = LONGEST;
                check_rows(field, digits, backward, depth, per_length, reached);
            }
            assert_true(reached[0] > 0.999 && reached[1] > 0.999);
            assert_true(reached[3] > 0.999 && reached[5] > 0.999);
            cr_field_free(field);
        }
    cr_compute_free(compute);
}

// Each part of the longest rows along the heaviest row of Q comes as near with four digits.
static void long_rows_reach_the_bound(void **unused)
{
    (void)unused;
    struct cr_compute *compute;
    struct cr_field *field;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_field_new(compute, 4, &field));
    draw_state = 5;
    for (int backward = 0; backward < 2; backward++)
        for (size_t depth = 1; depth < LONGEST; depth = depth * 3 + 1) {
            double reached[KINDS] = {0};
            check_rows(field, 4, backward, depth, 2 * KINDS, reached);
            assert_true(reached[0] > 0.999);
        }
    cr_field_free(field);
    cr_compute_free(compute);
}

// Gaussian rows: the error relative to the products' size is √(K/P)·N/(√12·(p−1)/2) of P parts, with N that
// of a part.
static void check_error(struct cr_compute *compute, unsigned digits, bool backward, size_t depth)
{
    enum { ROWS = 64, COLUMNS = 128 };
    CR_FREE int8_t *q = NULL;
    CR_FREE float *x = NULL;
    CR_FREE uint32_t *words = NULL, *products = NULL;
    size_t parts = cr_bound_parts(depth, backward);
    assert_ok(cr_allocate(COLUMNS * depth, 1, &q));
    assert_ok(cr_allocate(ROWS * depth, sizeof *x, &x));
    assert_ok(cr_allocate(ROWS * depth, sizeof *words, &words));
    assert_ok(cr_allocate(ROWS * parts * COLUMNS, sizeof *products, &products));
    for (size_t i = 0; i < COLUMNS * depth; i++) q[i] = (int8_t)fmax(-127, fmin(127, rint(32 * gaussian())));
    for (size_t i = 0; i < ROWS * depth; i++) x[i] = (float)gaussian();
    struct cr_matrix matrix =
        backward ? cr_matrix_of(q, CR_I8, depth, COLUMNS) : cr_matrix_of(q, CR_I8, COLUMNS, depth);
    struct cr_bound bounds[MOST_PARTS];
    struct cr_field *field;
    double t[ROWS * MOST_PARTS];
    float y[ROWS * COLUMNS];
    uint16_t y16[ROWS * COLUMNS], rounded[ROWS * COLUMNS];
    assert_true(parts <= MOST_PARTS);
    assert_ok(cr_bound_new(&matrix, backward, digits, bounds));
    assert_ok(cr_field_new(compute, digits, &field));
    assert_int_equal(encode_rows(field, bounds, parts, cr_matrix_of(x, CR_F32, ROWS, depth), NULL, words, t),
                     ROWS);
    cr_field_multiply(field, words, ROWS, matrix, backward, parts, products);
    decode_rows(field, products, t, parts, NULL, cr_matrix_of(y, CR_F32, ROWS, COLUMNS));
    decode_rows(field, products, t, parts, NULL, cr_matrix_of(y16, CR_BF16, ROWS, COLUMNS));
    cr_convert(compute, y, CR_F32, rounded, CR_BF16, ROWS * COLUMNS); // once, whatever the parts
    assert_memory_equal(y16, rounded, sizeof rounded);
    double error = 0, size = 0, norm = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            double exact = 0, found = 0, size_of_parts = 0; // words themselves are compared
            for (size_t k = 0; k < depth; k++)
                exact += (double)x[r * depth + k] * (backward ? q[k * COLUMNS + c] : q[c * depth + k]);
            for (size_t i = 0; i < parts; i++) {
                double sum = cr_prime_centre(products[(r * parts + i) * COLUMNS + c], cr_prime(digits)) *
                             t[r * parts + i];
                found += sum;
                size_of_parts += fabs(sum);
            }
            assert_true(fabs((double)y[r * COLUMNS + c] - found) <= size_of_parts * 0x1p-21);
            error += (found - exact) * (found - exact);
            size += exact * exact;
        }
    for (size_t i = 0; i < parts; i++) norm += bounds[i].norm / (double)parts;
    double relative = sqrt(error / size);
    double wanted = sqrt((double)depth / (double)parts / 12) * norm / ((cr_prime(digits) - 1) / 2);
    if (fabs(relative / wanted - 1) > 0.05)
        fail_msg("K = %zu, %u digits: error %.3g, by the formula %.3g", depth, digits, relative, wanted);
    print_message("K = %zu in %zu, %u digits: %.3g, by the formula %.3g\n", depth, parts, digits, relative,
                  wanted);
    cr_field_free(field);
}

static void the_error_is_that_of_the_formula(void **unused)
{
    (void)unused;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    draw_state = 6;
    check_error(compute, 4, false, 1024);
    check_error(compute, 4, false, 4096);
    check_error(compute, 4, true, 4096);
    check_error(compute, 4, false, 11008);
    check_error(compute, 4, true, 22016);
    check_error(compute, 3, false, 1024);
    check_error(compute, 3, false, 2816);
    check_error(compute, 3, true, 9000);
    cr_compute_free(compute);
}

// Neither the longest sums there are nor the heaviest weights leave a part without room.
static void there_is_always_room(void **unused)
{
    (void)unused;
    enum { DEPTH = 70000, PARTS = 32 };
    CR_FREE int8_t *q = NULL;
    assert_ok(cr_allocate(DEPTH, 1, &q));
    struct cr_matrix row = cr_matrix_of(q, CR_I8, 1, DEPTH), column = cr_matrix_of(q, CR_I8, DEPTH, 1);
    struct cr_bound bounds[PARTS];
    for (int weight = -128; weight <= 127; weight += 255)
        for (unsigned digits = 3; digits <= 4; digits++)
            for (int backward = 0; backward < 2; backward++) {
                size_t parts = cr_bound_parts(DEPTH, backward);
                assert_true(parts <= PARTS);
                memset(q, weight, DEPTH);
                assert_ok(cr_bound_new(backward ? &column : &row, backward, digits, bounds));
                for (size_t i = 0; i < parts; i++)
                    assert_true(bounds[i].room_norm > 1 && bounds[i].room_sum > 1);
            }
    memset(q, 0, DEPTH);
    assert_ok(cr_bound_new(&row, false, 4, bounds));
    assert_true(bounds[0].norm == 1 && cr_bound_scale(bounds, 0, 0) == 1);
    assert_int_equal(cr_bound_parts(0, false), 1);
    for (int backward = 0; backward < 2; backward++) {
        size_t most = backward ? CR_DEEPEST_BACKWARD : CR_DEEPEST_FORWARD;
        assert_int_equal(cr_bound_parts(most, backward), 1);
        assert_int_equal(cr_bound_parts(most + 1, backward), 2);
        assert_int_equal(cr_bound_parts(3 * most, backward), 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_at_the_edge_never_wrap),
        cmocka_unit_test(long_rows_reach_the_bound),
        cmocka_unit_test(the_error_is_that_of_the_formula),
        cmocka_unit_test(there_is_always_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
