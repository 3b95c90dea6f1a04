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

// Every instruction set and every length gives what the scalar one gives.
static void every_processor_gives_the_same_numbers(void **state)
{
    (void)state;
    float w[ROWS * COLUMNS];
    fill(w);
    struct cr_compute *scalar;
    assert_ok(cr_compute_new_with(1, CR_ISA_SCALAR, &scalar));
    for (int isa = CR_ISA_AVX2; isa <= CR_ISA_AMX; isa++) {
        struct cr_compute *compute;
        enum cr_status status = cr_compute_new_with(1, (enum cr_isa)isa, &compute);
        if (status == CR_UNSUPPORTED) continue;
        assert_ok(status);
        for (size_t columns = 1; columns <= COLUMNS; columns++) {
            float scale[ROWS], wanted_scale[ROWS];
            int8_t q[ROWS * COLUMNS], wanted[ROWS * COLUMNS];
            memset(q, 0x55, sizeof q);
            memset(wanted, 0x55, sizeof wanted);
            assert_ok(cr_quantize_rows(scalar, w + 1, ROWS - 1, columns, wanted, wanted_scale, NULL));
            assert_ok(cr_quantize_rows(compute, w + 1, ROWS - 1, columns, q, scale, NULL));
            assert_memory_equal(q, wanted, sizeof q);
            assert_memory_equal(scale, wanted_scale, (ROWS - 1) * sizeof *scale);
        }
        cr_compute_free(compute);
    }
    cr_compute_free(scalar);
}

// The largest of 180 steps of the smallest numbers has a scale of one step, 1.4 rounded.
static void no_number_is_beyond_127(void **state)
{
    (void)state;
    const float step = 0x1p-149f, w[] = {180 * step, -180 * step, 64 * step, 127 * step, -128 * step, 0};
    const int8_t wanted[] = {127, -127, 64, 127, -127, 0};
    int8_t q[6];
    float scale;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_quantize_rows(compute, w, 1, 6, q, &scale, NULL));
    assert_true(scale == step);
    assert_memory_equal(q, wanted, sizeof q);
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
        cmocka_unit_test(every_processor_gives_the_same_numbers),
        cmocka_unit_test(no_number_is_beyond_127),
        cmocka_unit_test(halves_go_to_even_numbers),
        cmocka_unit_test(rows_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
