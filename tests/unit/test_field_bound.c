// field/bound.h: rows that go to the edge of both bounds never wrap, and how large the rounding's error is.
#include "support.h"

#include "field_support.h"

#include <math.h>
#include <stdio.h>

static uint64_t state;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static double gaussian(void)
{
    double u = (draw() + 1.0) / 4294967297.0, v = draw() / 4294967296.0;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

enum { OUT = 4, LONGEST = 16384, KINDS = 6 };

// A row against column `at` of the product, whose weights are w [depth].
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

// Rows of random lengths; the largest share of (p−1)/2 that a sum took is at *reached.
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
    struct cr_bound bound;
    assert_ok(cr_bound_new(&matrix, backward, digits, &bound));
    size_t heaviest = 0;
    double most = 0;
    for (size_t o = 0; o < OUT; o++) {
        double squares = 0;
        for (size_t k = 0; k < depth; k++) {
            w[o][k] = backward ? q[k * OUT + o] : q[o * depth + k];
            squares += w[o][k] * w[o][k];
        }
        if (squares > most) {
            most = squares;
            heaviest = o;
        }
    }
    assert_true(bound.norm == fmax(1, sqrt(most)));
    const int64_t half = cr_prime(digits) / 2;
    for (size_t r = 0; r < rows; r++) {
        int kind = (int)(r % KINDS);
        make_row(kind, w[heaviest], depth, x);
        double t;
        assert_true(cr_field_encode_row(field, &bound, x, CR_F32, NULL, words, &t));
        for (size_t o = 0; o < OUT; o++) {
            int64_t sum = 0;
            for (size_t k = 0; k < depth; k++)
                sum += (int64_t)cr_prime_centre(words[k], cr_prime(digits)) * w[o][k];
            if (llabs(sum) > half)
                fail_msg("K = %zu, %u digits, kind %d: %lld wraps", depth, digits, kind, (long long)sum);
            reached[kind] = fmax(reached[kind], (double)llabs(sum) / (double)half);
        }
    }
}

// 200,000 rows, over both numbers of digits and both directions.
static void rows_at_the_edge_never_wrap(void **unused)
{
    (void)unused;
    const size_t per_length = 60, lengths = 200000 / (4 * per_length) + 1;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    state = 4;
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

// The longest rows along the heaviest row of Q come as near with four digits.
static void long_rows_reach_the_bound(void **unused)
{
    (void)unused;
    struct cr_compute *compute;
    struct cr_field *field;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_field_new(compute, 4, &field));
    state = 5;
    for (int backward = 0; backward < 2; backward++)
        for (size_t depth = 1; depth < LONGEST; depth = depth * 3 + 1) {
            double reached[KINDS] = {0};
            check_rows(field, 4, backward, depth, 2 * KINDS, reached);
            assert_true(reached[0] > 0.999);
        }
    cr_field_free(field);
    cr_compute_free(compute);
}

// Gaussian rows: the error relative to the products' size is √K·N/(√12·room) for room = (p−1)/2 less the
// rounding's part.
static void check_error(struct cr_compute *compute, unsigned digits, size_t depth)
{
    enum { ROWS = 64, COLUMNS = 128 };
    CR_FREE int8_t *q = NULL;
    CR_FREE float *x = NULL;
    CR_FREE uint32_t *words = NULL;
    assert_ok(cr_allocate(COLUMNS * depth, 1, &q));
    assert_ok(cr_allocate(ROWS * depth, sizeof *x, &x));
    assert_ok(cr_allocate(ROWS * depth, sizeof *words, &words));
    for (size_t i = 0; i < COLUMNS * depth; i++) q[i] = (int8_t)fmax(-127, fmin(127, rint(32 * gaussian())));
    for (size_t i = 0; i < ROWS * depth; i++) x[i] = (float)gaussian();
    struct cr_matrix matrix = cr_matrix_of(q, CR_I8, COLUMNS, depth);
    struct cr_bound bound;
    struct cr_field *field;
    double t[ROWS];
    float y[ROWS * COLUMNS];
    uint32_t products[ROWS * COLUMNS];
    assert_ok(cr_bound_new(&matrix, false, digits, &bound));
    assert_ok(cr_field_new(compute, digits, &field));
    assert_int_equal(encode_rows(field, &bound, cr_matrix_of(x, CR_F32, ROWS, depth), NULL, words, t), ROWS);
    cr_field_multiply(field, words, ROWS, matrix, false, products);
    decode_rows(field, products, t, NULL, cr_matrix_of(y, CR_F32, ROWS, COLUMNS));
    double error = 0, size = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            double exact = 0; // and the rounding of y to fp32 is taken out: the words themselves are compared
            for (size_t k = 0; k < depth; k++) exact += (double)x[r * depth + k] * q[c * depth + k];
            double found = cr_prime_centre(products[r * COLUMNS + c], cr_prime(digits)) * t[r];
            assert_true(y[r * COLUMNS + c] == (float)found);
            error += (found - exact) * (found - exact);
            size += exact * exact;
        }
    double relative = sqrt(error / size);
    double wanted = sqrt((double)depth / 12) * bound.norm / ((cr_prime(digits) - 1) / 2);
    if (fabs(relative / wanted - 1) > 0.05)
        fail_msg("K = %zu, %u digits: error %.3g, by the formula %.3g", depth, digits, relative, wanted);
    cr_field_free(field);
}

static void the_error_is_that_of_the_formula(void **unused)
{
    (void)unused;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    state = 6;
    check_error(compute, 4, 1024);
    check_error(compute, 4, 4096);
    check_error(compute, 4, 11008);
    check_error(compute, 3, 1024);
    check_error(compute, 3, 2816);
    cr_compute_free(compute);
}

static void sums_that_no_bound_fits_are_refused(void **unused)
{
    (void)unused;
    enum { DEPTH = 70000 };
    CR_FREE int8_t *q = NULL;
    assert_ok(cr_allocate(DEPTH, 1, &q));
    memset(q, 127, DEPTH);
    struct cr_matrix row = cr_matrix_of(q, CR_I8, 1, DEPTH), column = cr_matrix_of(q, CR_I8, DEPTH, 1);
    struct cr_bound bound = {.depth = 5};
    assert_fails(CR_UNSUPPORTED, "70000", cr_bound_new(&row, false, 3, &bound));
    assert_fails(CR_UNSUPPORTED, "70000", cr_bound_new(&column, true, 3, &bound));
    assert_int_equal(bound.depth, 5);
    assert_ok(cr_bound_new(&row, false, 4, &bound));
    memset(q, 0, DEPTH);
    assert_ok(cr_bound_new(&row, false, 4, &bound));
    assert_true(bound.norm == 1 && cr_bound_scale(&bound, 0, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_at_the_edge_never_wrap),
        cmocka_unit_test(long_rows_reach_the_bound),
        cmocka_unit_test(the_error_is_that_of_the_formula),
        cmocka_unit_test(sums_that_no_bound_fits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
