// tensor/matmul: against sums in double, and bit by bit against itself.
#include "tensor_support.h"

#include "tensor/matmul.h"
#include "tensor/ops.h"

struct operands {
    struct cr_matrix a, b, c;
};

static struct operands random_operands(uint64_t *state, enum cr_transpose form, size_t m, size_t n, size_t k,
                                       enum cr_dtype dtype, enum cr_dtype result, size_t gap)
{
    return (struct operands){
        .a = form == CR_TN ? random_matrix(state, k, m, dtype, gap) : random_matrix(state, m, k, dtype, gap),
        .b = form == CR_NT ? random_matrix(state, n, k, dtype, gap) : random_matrix(state, k, n, dtype, gap),
        .c = random_matrix(state, m, n, result, gap),
    };
}

static void free_operands(struct operands *o)
{
    free_matrix(&o->a);
    free_matrix(&o->b);
    free_matrix(&o->c);
}

static void check_product(struct cr_compute *compute, enum cr_transpose form, size_t m, size_t n, size_t k,
                          enum cr_dtype dtype, enum cr_dtype result, bool accumulate)
{
    uint64_t state = m * 1000003 + n * 1009 + k;
    struct operands o = random_operands(&state, form, m, n, k, dtype, result, k % 5);
    struct cr_matrix before = matrix(m, n, result, k % 5);
    memcpy(before.data, o.c.data, (m * o.c.stride) * cr_dtype_size(result));
    assert_ok(cr_matmul(compute, form, o.a, o.b, o.c, accumulate));
    // F32 chains of k steps; a BF16 result is rounded once more.
    double tolerance = 1e-6 * sqrt((double)k + 1) + (result == CR_BF16 ? 0x1p-8 : 0);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = accumulate ? at(&before, i, j) : 0;
            for (size_t p = 0; p < k; p++)
                sum += (form == CR_TN ? at(&o.a, p, i) : at(&o.a, i, p)) *
                       (form == CR_NT ? at(&o.b, j, p) : at(&o.b, p, j));
            if (!is_near(at(&o.c, i, j), sum, tolerance))
                fail_msg("form %d %zu x %zu x %zu type %d: (%zu, %zu) is %.9g, not %.9g", form, m, n, k,
                         dtype, i, j, at(&o.c, i, j), sum);
        }
        for (size_t j = n; j < o.c.stride && i < m; j++) assert_true(isnan(at(&o.c, i, j)));
    }
    free_matrix(&before);
    free_operands(&o);
}

static void products_agree_with_double(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},     {1, 100, 37},   {3, 1, 100},   {13, 33, 5},
                                      {12, 32, 16},  {25, 8, 130},   {40, 70, 8},   {100, 17, 33},
                                      {7, 300, 1},   {2, 3, 2100},   {97, 65, 64},  {5, 9, 0},
                                      {14, 31, 513}, {501, 257, 20}, {11, 40, 1025}};
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++) {
        struct cr_compute *compute;
        assert_ok(cr_compute_new_with(2, isa, &compute));
        assert_int_equal(cr_compute_has_bf16(compute), isa >= CR_ISA_AVX512_BF16);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int form = CR_NT; form <= CR_TN; form++)
                for (int kind = 0; kind < 8; kind++)
                    check_product(compute, (enum cr_transpose)form, sizes[s][0], sizes[s][1], sizes[s][2],
                                  kind & 1 ? CR_F32 : CR_BF16, kind & 2 ? CR_F32 : CR_BF16, kind & 4);
        cr_compute_free(compute);
    }
}

// On any number of threads, for a depth of one block and of several.
static void check_rows(enum cr_isa isa)
{
    enum { ROWS = THOROUGH ? 1200 : 200, COLUMNS = 70 };
    struct cr_compute *computes[3];
    for (size_t t = 0; t < 3; t++) assert_ok(cr_compute_new_with(t + 1, isa, &computes[t]));
    for (int kind = 0; kind < 8; kind++) {
        enum cr_dtype dtype = kind & 1 ? CR_F32 : CR_BF16, result = kind & 2 ? CR_F32 : CR_BF16;
        enum cr_transpose form = kind & 4 ? CR_NT : CR_NN;
        size_t depth = kind < 4 ? 37 : 1100;
        uint64_t seed = 7;
        struct operands o = random_operands(&seed, form, ROWS, COLUMNS, depth, dtype, result, 2);
        struct cr_matrix c = matrix(ROWS, COLUMNS, result, 1);
        assert_ok(cr_matmul(computes[0], form, o.a, o.b, o.c, false));
        for (size_t m = 1; m <= ROWS; m += m < 40 ? 1 : 61) {
            size_t first = m % 2 ? 0 : ROWS - m;
            struct cr_matrix part = cr_matrix_rows(c, 0, m), whole = cr_matrix_rows(o.c, first, m);
            assert_ok(cr_matmul(computes[m % 3], form, cr_matrix_rows(o.a, first, m), o.b, part, false));
            if (!same_bits(&part, &whole)) fail_msg("kind %d: %zu rows from %zu differ", kind, m, first);
        }
        free_matrix(&c);
        free_operands(&o);
    }
    for (size_t t = 0; t < 3; t++) cr_compute_free(computes[t]);
}

// A row has the same bits whatever rows are computed with it.
static void rows_do_not_depend_on_each_other(void **state)
{
    (void)state;
    enum cr_isa best = best_isa();
    for (enum cr_isa isa = best < CR_ISA_AVX512 ? best : CR_ISA_AVX512; isa <= best; isa++) check_rows(isa);
}

// So has a column whatever columns.
static void columns_do_not_depend_on_each_other(void **state)
{
    (void)state;
    enum { ROWS = 50, COLUMNS = 300, DEPTH = 1100 };
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++)
        for (int kind = 0; kind < 12; kind++) {
            enum cr_transpose form = (enum cr_transpose)(kind / 4);
            enum cr_dtype result = kind & 2 ? CR_F32 : CR_BF16;
            struct cr_compute *compute;
            assert_ok(cr_compute_new_with(2, isa, &compute));
            uint64_t seed = 11;
            struct operands o =
                random_operands(&seed, form, ROWS, COLUMNS, DEPTH, kind & 1 ? CR_F32 : CR_BF16, result, 2);
            struct cr_matrix c = matrix(ROWS, COLUMNS, result, 1);
            assert_ok(cr_matmul(compute, form, o.a, o.b, o.c, false));
            for (size_t n = 1; n <= COLUMNS; n = n * 2 + 1) {
                size_t first = n % 7 * 3 % (COLUMNS - n + 1);
                struct cr_matrix b =
                    form == CR_NT ? cr_matrix_rows(o.b, first, n) : cr_matrix_columns(o.b, first, n);
                struct cr_matrix part = cr_matrix_columns(c, 0, n), whole = cr_matrix_columns(o.c, first, n);
                assert_ok(cr_matmul(compute, form, o.a, b, part, false));
                if (!same_bits(&part, &whole)) fail_msg("kind %d: %zu columns from %zu", kind, n, first);
            }
            free_matrix(&c);
            free_operands(&o);
            cr_compute_free(compute);
        }
}

// Neither do results depend on the threads, in any form.
static void threads_do_not_change_bits(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 700, 65}, {8, 515, 300}, {300, 8, 64}, {130, 130, 130}};
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++)
        for (size_t s = 0; s < 4; s++)
            for (int form = CR_NT; form <= CR_TN; form++) {
                uint64_t seed = s;
                struct operands o = random_operands(&seed, (enum cr_transpose)form, sizes[s][0], sizes[s][1],
                                                    sizes[s][2], CR_BF16, CR_F32, 0);
                struct cr_matrix c = matrix(sizes[s][0], sizes[s][1], CR_F32, 0);
                for (size_t threads = 1; threads <= 5; threads++) {
                    struct cr_compute *compute;
                    assert_ok(cr_compute_new_with(threads, isa, &compute));
                    assert_ok(
                        cr_matmul(compute, (enum cr_transpose)form, o.a, o.b, threads == 1 ? o.c : c, false));
                    if (threads > 1) assert_true(same_bits(&c, &o.c));
                    cr_compute_free(compute);
                }
                free_matrix(&c);
                free_operands(&o);
            }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    float x[64] = {0};
    struct cr_matrix a = cr_matrix_of(x, CR_F32, 2, 3), b = cr_matrix_of(x + 8, CR_F32, 4, 3);
    struct cr_matrix c = cr_matrix_of(x + 24, CR_F32, 2, 4), other = cr_matrix_of(x, CR_BF16, 2, 3);
    assert_ok(cr_matmul(compute, CR_NT, a, b, c, false));
    assert_fails(CR_INTERNAL, "2 x 3 and 4 x 3", cr_matmul(compute, CR_NN, a, b, c, false));
    assert_fails(CR_INTERNAL, "types differ", cr_matmul(compute, CR_NT, other, b, c, false));
    int8_t whole[12] = {0};
    struct cr_matrix weight = cr_matrix_of(whole, CR_I8, 4, 3);
    assert_fails(CR_INTERNAL, "with scales", cr_matmul(compute, CR_NT, a, weight, c, false));
    weight.scale = x;
    assert_ok(cr_matmul(compute, CR_NT, a, weight, c, false));
    assert_fails(CR_INTERNAL, "adds to nothing", cr_matmul(compute, CR_NT, a, weight, c, true));
    assert_fails(CR_INTERNAL, "into 4 x 2",
                 cr_matmul(compute, CR_NT, a, b, cr_matrix_of(x + 24, CR_F32, 4, 2), false));
    cr_compute_free(compute);
}

// A weight in I8 gives the bits of the same product with q written out, each column of the result times its
// scale (CR_NT), or with scale·q written out (CR_NN).
static void check_widened(struct cr_compute *compute, enum cr_transpose form, enum cr_dtype act,
                          enum cr_dtype result, size_t m, size_t n, size_t k)
{
    uint64_t state = m + n + k;
    size_t rows = form == CR_NT ? n : k, columns = form == CR_NT ? k : n;
    struct cr_matrix a = random_matrix(&state, m, k, act, 3), wide = matrix(rows, columns, act, 0);
    struct cr_matrix got = matrix(m, n, result, 1), want = matrix(m, n, result, 1);
    CR_FREE int8_t *q = NULL;
    CR_FREE float *scale = NULL;
    assert_ok(cr_allocate(rows * (columns + 5), 1, &q));
    assert_ok(cr_allocate(rows, sizeof *scale, &scale));
    struct cr_matrix narrow = {
        .data = q, .dtype = CR_I8, .rows = rows, .columns = columns, .stride = columns + 5, .scale = scale};
    for (size_t i = 0; i < rows; i++) {
        scale[i] = 0.003f + 0.001f * (float)(i % 17);
        for (size_t j = 0; j < columns; j++) {
            int8_t value = (int8_t)((int)((i * 31 + j * 17) % 255) - 127);
            q[i * narrow.stride + j] = value;
            float exact = form == CR_NT ? (float)value : scale[i] * (float)value;
            cr_convert(compute, &exact, CR_F32, (char *)wide.data + (i * columns + j) * cr_dtype_size(act),
                       act, 1);
        }
    }
    assert_ok(cr_matmul(compute, form, a, narrow, got, false));
    if (form == CR_NT) {
        struct cr_matrix sums = matrix(m, n, CR_F32, 0);
        assert_ok(cr_matmul(compute, form, a, wide, sums, false));
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) ((float *)sums.data)[i * n + j] *= scale[j];
        for (size_t i = 0; i < m; i++)
            cr_convert(compute, (float *)sums.data + i * n, CR_F32,
                       (char *)want.data + i * want.stride * cr_dtype_size(result), result, n);
        free_matrix(&sums);
    } else {
        assert_ok(cr_matmul(compute, form, a, wide, want, false));
    }
    if (!same_bits(&got, &want)) fail_msg("%zu x %zu x %zu differs from the product written out", m, n, k);
    // Some rows of a weight alone, as a module of several that share an input is.
    if (form == CR_NT && n > 3) {
        struct cr_matrix part = matrix(m, n - 3, result, 0), wanted = cr_matrix_columns(want, 2, n - 3);
        assert_ok(cr_matmul(compute, form, a, cr_matrix_rows(narrow, 2, n - 3), part, false));
        assert_true(same_bits(&part, &wanted));
        free_matrix(&part);
    }
    free_matrix(&a), free_matrix(&wide), free_matrix(&got), free_matrix(&want);
}

static void a_weight_in_8_bits_is_what_it_stands_for(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1},     {1, 40, 33},    {3, 5, 7},
                                       {40, 70, 129}, {100, 600, 40}, {33, 50, 1100}};
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++) {
        struct cr_compute *compute;
        assert_ok(cr_compute_new_with(2, isa, &compute));
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int kind = 0; kind < 4; kind++)
                for (int form = CR_NT; form <= CR_NN; form++)
                    check_widened(compute, (enum cr_transpose)form, kind & 1 ? CR_BF16 : CR_F32,
                                  kind & 2 ? CR_BF16 : CR_F32, shapes[i][0], shapes[i][1], shapes[i][2]);
        cr_compute_free(compute);
    }
}

// A weight in BF16 in a product of F32 gives the bits of the same weight in F32.
static void a_weight_in_bf16_is_what_it_stands_for(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {40, 70, 129}, {100, 600, 40}, {33, 50, 1100}};
    FOR_EACH_COMPUTE(compute)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int form = CR_NT; form <= CR_TN; form++) {
            const size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
            uint64_t seed = i + 1;
            struct operands o = random_operands(&seed, (enum cr_transpose)form, m, n, k, CR_F32, CR_F32, 3);
            struct cr_matrix narrow = random_matrix(&seed, o.b.rows, o.b.columns, CR_BF16, 5);
            struct cr_matrix got = matrix(m, n, CR_F32, 1);
            for (size_t row = 0; row < o.b.rows; row++)
                for (size_t column = 0; column < o.b.columns; column++)
                    put(&o.b, row, column, at(&narrow, row, column));
            assert_ok(cr_matmul(compute, (enum cr_transpose)form, o.a, o.b, o.c, false));
            assert_ok(cr_matmul(compute, (enum cr_transpose)form, o.a, narrow, got, false));
            if (!same_bits(&got, &o.c)) fail_msg("form %d, %zu x %zu x %zu differs", form, m, n, k);
            free_operands(&o);
            free_matrix(&narrow);
            free_matrix(&got);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_double),
        cmocka_unit_test(rows_do_not_depend_on_each_other),
        cmocka_unit_test(columns_do_not_depend_on_each_other),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_weight_in_8_bits_is_what_it_stands_for),
        cmocka_unit_test(a_weight_in_bf16_is_what_it_stands_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
