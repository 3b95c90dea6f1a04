// tensor/sparse.c: against sums in double, in every instruction set; the same bits whatever the threads.
#include "tensor_support.h"

#include "tensor/sparse.h"

#include <float.h>

enum { ROWS = 70, COLUMNS = 133, TOKENS = 300 }; // more than a block, and ends that fill no vector

static struct cr_sparse made;
static float values[ROWS * COLUMNS];

// About one place of `spread`; row 3 and column 5 stay empty.
static void make(size_t spread)
{
    uint64_t seed = spread;
    made = (struct cr_sparse){.rows = ROWS, .columns = COLUMNS};
    assert_ok(cr_allocate(ROWS + 1, sizeof *made.start, &made.start));
    assert_ok(cr_allocate((size_t)ROWS * COLUMNS, sizeof *made.index, &made.index));
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t c = 0; c < COLUMNS; c++)
            if (r != 3 && c != 5 && next_random(&seed) * (double)spread >= (double)spread - 2) {
                values[made.count] = (float)next_random(&seed);
                made.index[made.count++] = c;
            }
        made.start[r + 1] = (uint32_t)made.count;
    }
    assert_true(made.count > 0);
    assert_ok(cr_allocate(COLUMNS + 1, sizeof *made.column_start, &made.column_start));
    assert_ok(cr_allocate(made.count, sizeof *made.row, &made.row));
    assert_ok(cr_allocate(made.count, sizeof *made.place, &made.place));
    cr_sparse_by_columns(&made);
}

static void forget(void)
{
    free(made.start);
    free(made.index);
    free(made.column_start);
    free(made.row);
    free(made.place);
}

static void columns_are_the_rows_turned(void **state)
{
    (void)state;
    make(9);
    assert_int_equal(made.column_start[0], 0);
    assert_int_equal(made.column_start[COLUMNS], made.count);
    for (uint32_t c = 0; c < COLUMNS; c++)
        for (uint32_t i = made.column_start[c]; i < made.column_start[c + 1]; i++) {
            uint32_t j = made.place[i];
            assert_int_equal(made.index[j], c);
            assert_true(made.start[made.row[i]] <= j && j < made.start[made.row[i] + 1]);
            assert_true(i == made.column_start[c] || made.row[i] > made.row[i - 1]);
        }
    forget();
}

struct operands {
    struct cr_matrix x, y, dy, dx;
    float *gradient, *scratch;
};

static struct operands operands_of(enum cr_dtype act, enum cr_dtype out)
{
    uint64_t seed = 4;
    return (struct operands){
        .x = random_matrix(&seed, TOKENS, COLUMNS, act, 3),
        .y = random_matrix(&seed, TOKENS, ROWS, out, 1),
        .dy = random_matrix(&seed, TOKENS, ROWS, act, 2),
        .dx = random_matrix(&seed, TOKENS, COLUMNS, CR_F32, 5),
        .gradient = room(made.count, CR_F32),
        .scratch = room(cr_sparse_scratch(ROWS, COLUMNS), CR_F32),
    };
}

static void free_operands(struct operands *o)
{
    free_matrix(&o->x);
    free_matrix(&o->y);
    free_matrix(&o->dy);
    free_matrix(&o->dx);
    free(o->gradient);
    free(o->scratch);
}

static void compute_all(struct cr_compute *compute, struct operands *o)
{
    cr_sparse_forward(compute, &made, values, o->x, o->y, o->scratch);
    cr_sparse_backward(compute, &made, values, o->x, o->dy, o->gradient, o->dx, o->scratch);
}

static void check(struct cr_compute *compute, enum cr_dtype act, enum cr_dtype out)
{
    struct operands o = operands_of(act, out), before = operands_of(act, out);
    for (size_t j = 0; j < made.count; j++) o.gradient[j] = 0.5f;
    compute_all(compute, &o);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < ROWS; r++) {
            double sum = at(&before.y, t, r);
            for (uint32_t j = made.start[r]; j < made.start[r + 1]; j++)
                sum += (double)values[j] * at(&o.x, t, made.index[j]);
            assert_true(is_near(at(&o.y, t, r), sum, tolerance_of(out)));
        }
    for (size_t r = 0; r < ROWS; r++)
        for (uint32_t j = made.start[r]; j < made.start[r + 1]; j++) {
            double sum = 0.5, size = 0.5;
            for (size_t t = 0; t < TOKENS; t++) {
                double product = at(&o.dy, t, r) * at(&o.x, t, made.index[j]);
                sum += product;
                size += fabs(product);
            }
            assert_true(fabs((double)o.gradient[j] - sum) <= 0x1p-24 * TOKENS * size);
        }
    double want[COLUMNS];
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t c = 0; c < COLUMNS; c++) want[c] = at(&before.dx, t, c);
        for (size_t r = 0; r < ROWS; r++)
            for (uint32_t j = made.start[r]; j < made.start[r + 1]; j++)
                want[made.index[j]] += (double)values[j] * at(&o.dy, t, r);
        for (size_t c = 0; c < COLUMNS; c++) assert_true(is_near(at(&o.dx, t, c), want[c], 1e-5));
    }
    // Without dx the gradient is the same.
    float *again = room(made.count, CR_F32);
    for (size_t j = 0; j < made.count; j++) again[j] = 0.5f;
    cr_sparse_backward(compute, &made, values, o.x, o.dy, again, cr_matrix_of(NULL, CR_F32, TOKENS, COLUMNS),
                       o.scratch);
    assert_memory_equal(again, o.gradient, made.count * sizeof *again);
    free(again);
    free_operands(&o);
    free_operands(&before);
}

static void sums_are_those_in_double(void **state)
{
    (void)state;
    for (size_t spread = 3; spread < 40; spread *= 4) {
        make(spread);
        FOR_EACH_COMPUTE(compute)
        {
            check(compute, CR_F32, CR_F32);
            check(compute, CR_BF16, CR_BF16);
            check(compute, CR_BF16, CR_F32);
        }
        forget();
    }
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    make(5);
    struct cr_compute *compute[2];
    struct operands o[2];
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cr_compute_new(i ? 5 : 1, &compute[i]));
        o[i] = operands_of(CR_BF16, CR_BF16);
        compute_all(compute[i], &o[i]);
        cr_compute_free(compute[i]);
    }
    assert_true(same_bits(&o[0].y, &o[1].y));
    assert_true(same_bits(&o[0].dx, &o[1].dx));
    assert_memory_equal(o[0].gradient, o[1].gradient, made.count * sizeof(float));
    for (size_t i = 0; i < 2; i++) free_operands(&o[i]);
    forget();
}

static void columns_are_gathered_and_scattered(void **state)
{
    (void)state;
    const uint32_t index[] = {2, 3, 31, 40};
    FOR_EACH_COMPUTE(compute)
    {
        for (enum cr_dtype act = CR_F32; act <= CR_BF16; act += CR_BF16 - CR_F32) {
            uint64_t seed = 2;
            struct cr_matrix x = random_matrix(&seed, 50, 41, act, 3), some = matrix(50, 4, act, 0);
            struct cr_matrix change = random_matrix(&seed, 50, 4, CR_F32, 1), y = matrix(50, 41, act, 3);
            for (size_t i = 0; i < 50; i++)
                for (size_t j = 0; j < 41; j++) put(&y, i, j, at(&x, i, j));
            cr_gather_columns(compute, x, index, some);
            cr_scatter_add_columns(compute, change, index, y);
            for (size_t i = 0; i < 50; i++)
                for (size_t j = 0, k = 0; j < 41; j++) {
                    double want = at(&x, i, j);
                    if (k < 4 && index[k] == j) {
                        assert_true(at(&some, i, k) == want);
                        want += at(&change, i, k);
                        k++;
                        assert_true(is_near(at(&y, i, j), want, tolerance_of(act)));
                    } else {
                        assert_true(at(&y, i, j) == want);
                    }
                }
            free_matrix(&x);
            free_matrix(&some);
            free_matrix(&change);
            free_matrix(&y);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_the_rows_turned),
        cmocka_unit_test(sums_are_those_in_double),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(columns_are_gathered_and_scattered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
