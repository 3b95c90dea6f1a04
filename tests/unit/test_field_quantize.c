// field/quantize.h against the definition in double.
#include "support.h"

#include "field/quantize.h"

#include <math.h>

enum { ROWS = 7, COLUMNS = 131 };

static void fill(float *w)
{
    uint64_t state = 5;
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        w[i] = ((float)(state >> 40) / (float)(1 << 23) - 1) * powf(10, (float)(i / COLUMNS) - 3);
    }
    for (size_t i = 0; i < COLUMNS; i++) w[3 * COLUMNS + i] = 0;
    for (size_t i = 0; i < COLUMNS; i++)
        w[4 * COLUMNS + i] = (float)(i % 40) * 1e-45f; // subnormal: no scale can tell them
    w[5 * COLUMNS + 17] = -3e38f;                      // one huge value, the rest vanish
}

static void rows_are_scaled_to_their_largest(void **state)
{
    (void)state;
    float w[ROWS * COLUMNS], scale[ROWS];
    int8_t q[ROWS * COLUMNS];
    fill(w);
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_quantize_rows(compute, w, ROWS, COLUMNS, q, scale, NULL));
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = w + r * COLUMNS;
        double most = 0;
        int reached = 0;
        for (size_t i = 0; i < COLUMNS; i++) most = fmax(most, fabs((double)row[i]));
        if (r == 3 || r == 4) {
            assert_true(scale[r] == 1);
            for (size_t i = 0; i < COLUMNS; i++) assert_int_equal(q[r * COLUMNS + i], 0);
            continue;
        }
        assert_true(fabs((double)scale[r] * 127 / most - 1) < 1e-6);
        for (size_t i = 0; i < COLUMNS; i++) {
            int whole = q[r * COLUMNS + i];
            if (abs(whole) > reached) reached = abs(whole);
            assert_true(fabs((double)row[i] / (double)scale[r] - whole) <= 0.5 + 1e-4);
        }
        assert_int_equal(reached, 127);
    }
    cr_compute_free(compute);
}

static void halves_go_to_even_numbers(void **state)
{
    (void)state;
    const float w[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 126.5f};
    const int8_t wanted[] = {127, 0, 2, 2, 0, -2, -126, 126};
    int8_t q[8];
    float scale;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_quantize_rows(compute, w, 1, 8, q, &scale, NULL));
    assert_true(scale == 1);
    assert_memory_equal(q, wanted, sizeof q);
    cr_compute_free(compute);
}

static void rows_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < 3; k++)
        for (size_t at = 0; at < COLUMNS; at += 13) {
            float w[ROWS * COLUMNS], scale[ROWS];
            int8_t q[ROWS * COLUMNS];
            size_t row = 0;
            fill(w);
            w[2 * COLUMNS + at] = w[6 * COLUMNS + at] = bad[k];
            assert_fails(CR_INVALID, "row 2", cr_quantize_rows(compute, w, ROWS, COLUMNS, q, scale, &row));
            assert_int_equal(row, 2);
        }
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_scaled_to_their_largest),
        cmocka_unit_test(halves_go_to_even_numbers),
        cmocka_unit_test(rows_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
