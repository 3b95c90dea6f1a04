// tensor/ops_rows.c: against formulas in double, finite differences, and bit by bit over threads.
#include "tensor_support.h"

#include "tensor/ops.h"

static const size_t widths[] = {1, 2, 7, 16, 31, 64, 100, 257, 1030};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void embedding_picks_and_adds_rows(void **state)
{
    (void)state;
    const uint32_t ids[] = {3, 0, 3, 4, 3};
    FOR_EACH_COMPUTE(compute)
    {
        uint64_t seed = 1;
        struct cr_matrix table = random_matrix(&seed, 5, 300, CR_BF16, 1), y = matrix(5, 300, CR_F32, 0);
        struct cr_matrix dtable = matrix(5, 300, CR_F32, 0);
        cr_embed(compute, table, ids, y);
        cr_embed_backward(compute, ids, y, dtable);
        for (size_t j = 0; j < 300; j++) {
            for (size_t i = 0; i < 5; i++) assert_true(at(&y, i, j) == at(&table, ids[i], j));
            assert_true(at(&dtable, 1, j) == 0 && at(&dtable, 4, j) == at(&y, 3, j));
            assert_true(is_near(at(&dtable, 3, j), 3 * at(&y, 0, j), 1e-6));
        }
        free_matrix(&table);
        free_matrix(&y);
        free_matrix(&dtable);
    }
}

static void rms_norm_agrees_with_double(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 2 * WIDTHS; k++) {
        enum cr_dtype act = k % 2 ? CR_BF16 : CR_F32;
        size_t d = widths[k / 2];
        uint64_t seed = d;
        struct cr_matrix x = random_matrix(&seed, ROWS, d, CR_F32, 2), y = matrix(ROWS, d, act, 1);
        struct cr_matrix w = random_matrix(&seed, 1, d, CR_F32, 0),
                         dy = random_matrix(&seed, ROWS, d, act, 3);
        struct cr_matrix dx = random_matrix(&seed, ROWS, d, CR_F32, 4),
                         dw = random_matrix(&seed, 1, d, CR_F32, 0);
        float inverse[ROWS];
        CR_FREE double *want = NULL, *want_dx = NULL, *want_dw = NULL;
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want));
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want_dx));
        assert_ok(cr_allocate(d, sizeof *want, &want_dw));
        for (size_t j = 0; j < d; j++) want_dw[j] = at(&dw, 0, j);
        for (size_t i = 0; i < ROWS; i++) {
            double squares = 0, dot = 0;
            for (size_t j = 0; j < d; j++) {
                squares += at(&x, i, j) * at(&x, i, j);
                dot += at(&x, i, j) * at(&w, 0, j) * at(&dy, i, j);
            }
            double scale = 1 / sqrt(squares / (double)d + 0.01);
            for (size_t j = 0; j < d; j++) {
                want[i * d + j] = at(&x, i, j) * scale * at(&w, 0, j);
                want_dx[i * d + j] = at(&dx, i, j) + at(&w, 0, j) * at(&dy, i, j) * scale -
                                     at(&x, i, j) * dot / (double)d * scale * scale * scale;
                want_dw[j] += at(&dy, i, j) * at(&x, i, j) * scale;
            }
        }
        cr_rms_norm(compute, x, w.data, 0.01f, y, inverse);
        cr_rms_norm_backward(compute, x, w.data, inverse, dy, dx, dw.data);
        expect_matrix(&y, want, "rms_norm");
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < d; j++)
                if (!is_near(at(&dx, i, j), want_dx[i * d + j], 2e-5))
                    fail_msg("dx of %zu: (%zu, %zu)", d, i, j);
        for (size_t j = 0; j < d; j++) assert_true(is_near(at(&dw, 0, j), want_dw[j], 2e-5));
        free_matrix(&x), free_matrix(&y), free_matrix(&w), free_matrix(&dy), free_matrix(&dx),
            free_matrix(&dw);
    }
}

static void layer_norm_agrees_with_double(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 2 * WIDTHS; k++) {
        enum cr_dtype act = k % 2 ? CR_BF16 : CR_F32;
        size_t d = widths[k / 2];
        uint64_t seed = d;
        struct cr_matrix x = random_matrix(&seed, ROWS, d, CR_F32, 2), y = matrix(ROWS, d, act, 1);
        struct cr_matrix w = random_matrix(&seed, 1, d, CR_F32, 0), b = random_matrix(&seed, 1, d, CR_F32, 0),
                         dy = random_matrix(&seed, ROWS, d, act, 3);
        struct cr_matrix dx = random_matrix(&seed, ROWS, d, CR_F32, 4),
                         dw = random_matrix(&seed, 1, d, CR_F32, 0);
        float statistics[2 * ROWS];
        CR_FREE double *want = NULL, *want_dx = NULL, *want_dw = NULL;
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want));
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want_dx));
        assert_ok(cr_allocate(d, sizeof *want, &want_dw));
        for (size_t j = 0; j < d; j++) want_dw[j] = at(&dw, 0, j);
        for (size_t i = 0; i < ROWS; i++) {
            double mean = 0, squares = 0, sum = 0, along = 0;
            for (size_t j = 0; j < d; j++) mean += at(&x, i, j) / (double)d;
            for (size_t j = 0; j < d; j++) squares += (at(&x, i, j) - mean) * (at(&x, i, j) - mean);
            double inverse = 1 / sqrt(squares / (double)d + 0.01);
            for (size_t j = 0; j < d; j++) {
                double g = at(&w, 0, j) * at(&dy, i, j);
                sum += g / (double)d;
                along += g * (at(&x, i, j) - mean) * inverse / (double)d;
            }
            for (size_t j = 0; j < d; j++) {
                double normal = (at(&x, i, j) - mean) * inverse;
                want[i * d + j] = normal * at(&w, 0, j) + at(&b, 0, j);
                want_dx[i * d + j] =
                    at(&dx, i, j) + inverse * (at(&w, 0, j) * at(&dy, i, j) - sum - normal * along);
                want_dw[j] += at(&dy, i, j) * normal;
            }
        }
        cr_layer_norm(compute, x, w.data, b.data, 0.01f, y, statistics);
        cr_layer_norm_backward(compute, x, w.data, statistics, dy, dx, dw.data);
        expect_matrix(&y, want, "layer_norm");
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < d; j++)
                if (!is_near(at(&dx, i, j), want_dx[i * d + j], 2e-5))
                    fail_msg("dx of %zu: (%zu, %zu)", d, i, j);
        for (size_t j = 0; j < d; j++) assert_true(is_near(at(&dw, 0, j), want_dw[j], 2e-5));
        free_matrix(&x), free_matrix(&y), free_matrix(&w), free_matrix(&b), free_matrix(&dy),
            free_matrix(&dx), free_matrix(&dw);
    }
}

// A mean a thousand times the deviation must not drown it.
static void layer_norm_takes_the_mean_out_first(void **state)
{
    (void)state;
    enum { WIDTH = 40 };
    FOR_EACH_COMPUTE(compute)
    {
        struct cr_matrix x = matrix(1, WIDTH, CR_F32, 0), y = matrix(1, WIDTH, CR_F32, 0);
        float weight[WIDTH], bias[WIDTH] = {0}, statistics[2];
        for (size_t j = 0; j < WIDTH; j++) {
            weight[j] = 1;
            put(&x, 0, j, 1000 + (j % 2 ? 1 : -1));
        }
        cr_layer_norm(compute, x, weight, bias, 1e-5f, y, statistics);
        for (size_t j = 0; j < WIDTH; j++) assert_true(is_near(at(&y, 0, j), j % 2 ? 1 : -1, 1e-4));
        free_matrix(&x), free_matrix(&y);
    }
}

static void rope_turns_pairs_and_back(void **state)
{
    (void)state;
    enum { ROWS = 4, HEADS = 3, POSITIONS = 10 };
    const uint32_t position[ROWS] = {9, 0, 4, 4};
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 8; k++) {
        enum cr_dtype act = k % 2 ? CR_BF16 : CR_F32;
        size_t half = (const size_t[]){1, 5, 16, 33}[k / 2], d = 2 * half;
        float cosine[POSITIONS * 33], sine[POSITIONS * 33];
        for (size_t i = 0; i < POSITIONS * half; i++) {
            cosine[i] = cosf((float)i);
            sine[i] = sinf((float)i);
        }
        uint64_t seed = d;
        struct cr_matrix x = random_matrix(&seed, ROWS, HEADS * d, act, 2),
                         y = matrix(ROWS, HEADS * d, act, 2);
        CR_FREE double *want = NULL;
        assert_ok(cr_allocate(ROWS * HEADS * d, sizeof *want, &want));
        memcpy(y.data, x.data, ROWS * x.stride * cr_dtype_size(act));
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < HEADS * d; j++) {
                size_t pair = j % half, first = j / d * d + pair;
                double c = (double)cosine[position[i] * half + pair],
                       s = (double)sine[position[i] * half + pair];
                double a = at(&x, i, first), b = at(&x, i, first + half);
                want[i * HEADS * d + j] = j == first ? a * c - b * s : b * c + a * s;
            }
        cr_rope(compute, y, HEADS, d, cosine, sine, position, false);
        expect_matrix(&y, want, "rope");
        cr_rope(compute, y, HEADS, d, cosine, sine, position, true);
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < HEADS * d; j++)
                assert_true(is_near(at(&y, i, j), at(&x, i, j), 2 * tolerance_of(act)));
        free_matrix(&x), free_matrix(&y);
    }
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static void swiglu_agrees_with_double(void **state)
{
    (void)state;
    enum { ROWS = 3 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 2 * WIDTHS; k++) {
        enum cr_dtype act = k % 2 ? CR_BF16 : CR_F32;
        size_t d = widths[k / 2];
        uint64_t seed = d;
        struct cr_matrix gate_up = random_matrix(&seed, ROWS, 2 * d, act, 1), y = matrix(ROWS, d, act, 0);
        struct cr_matrix dy = random_matrix(&seed, ROWS, d, act, 2);
        CR_FREE double *want = NULL, *want_d = NULL;
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want));
        assert_ok(cr_allocate(2 * ROWS * d, sizeof *want_d, &want_d));
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < d; j++) {
                put(&gate_up, i, j, 40 * at(&gate_up, i, j));
                double g = at(&gate_up, i, j), u = at(&gate_up, i, d + j), s = at(&dy, i, j), h = 1e-5;
                want[i * d + j] = silu(g) * u;
                want_d[i * 2 * d + j] = s * u * (silu(g + h) - silu(g - h)) / (2 * h);
                want_d[i * 2 * d + d + j] = s * silu(g);
            }
        cr_swiglu(compute, gate_up, y);
        expect_matrix(&y, want, "swiglu");
        cr_swiglu_backward(compute, gate_up, dy, gate_up);
        expect_matrix(&gate_up, want_d, "swiglu_backward");
        free_matrix(&gate_up), free_matrix(&y), free_matrix(&dy);
    }
}

static double gelu(double x, bool by_erf)
{
    return x / 2 * (1 + (by_erf ? erf(x * M_SQRT1_2) : tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
}

static void gelu_agrees_with_double(void **state)
{
    (void)state;
    enum { ROWS = 3 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 4 * WIDTHS; k++) {
        enum cr_dtype act = k % 2 ? CR_BF16 : CR_F32;
        bool by_erf = k / 2 % 2;
        size_t d = widths[k / 4];
        uint64_t seed = d;
        struct cr_matrix x = random_matrix(&seed, ROWS, d, act, 1), y = matrix(ROWS, d, act, 0);
        struct cr_matrix dy = random_matrix(&seed, ROWS, d, act, 2);
        CR_FREE double *want = NULL, *want_d = NULL;
        assert_ok(cr_allocate(ROWS * d, sizeof *want, &want));
        assert_ok(cr_allocate(ROWS * d, sizeof *want_d, &want_d));
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < d; j++) {
                put(&x, i, j, (i == 0 ? 40 : 3) * at(&x, i, j));
                double a = at(&x, i, j), h = 1e-5;
                want[i * d + j] = gelu(a, by_erf);
                want_d[i * d + j] = at(&dy, i, j) * (gelu(a + h, by_erf) - gelu(a - h, by_erf)) / (2 * h);
            }
        cr_gelu(compute, x, y, by_erf);
        expect_matrix(&y, want, "gelu");
        cr_gelu_backward(compute, x, dy, x, by_erf);
        expect_matrix(&x, want_d, "gelu_backward");
        free_matrix(&x), free_matrix(&y), free_matrix(&dy);
    }
}

static void rows_and_column_sums_are_added(void **state)
{
    (void)state;
    enum { ROWS = 7 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 2 * WIDTHS; k++) {
        size_t width = widths[k / 2];
        uint64_t seed = width;
        struct cr_matrix x = random_matrix(&seed, ROWS, width, k % 2 ? CR_BF16 : CR_F32, 3);
        struct cr_matrix row = random_matrix(&seed, 1, width, CR_F32, 0),
                         sums = random_matrix(&seed, 1, width, CR_F32, 0);
        CR_FREE double *want = NULL, *want_sums = NULL;
        assert_ok(cr_allocate(ROWS * width, sizeof *want, &want));
        assert_ok(cr_allocate(width, sizeof *want_sums, &want_sums));
        for (size_t j = 0; j < width; j++) {
            want_sums[j] = at(&sums, 0, j);
            for (size_t i = 0; i < ROWS; i++) {
                want_sums[j] += at(&x, i, j);
                want[i * width + j] = at(&x, i, j) + at(&row, 0, j);
            }
        }
        cr_add_column_sums(compute, x, sums.data);
        expect_matrix(&sums, want_sums, "column sums");
        cr_add_row(compute, x, row.data);
        expect_matrix(&x, want, "row added");
        free_matrix(&x), free_matrix(&row), free_matrix(&sums);
    }
}

static void cross_entropy_agrees_with_double(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    FOR_EACH_COMPUTE(compute)
    for (size_t k = 0; k < 4 * WIDTHS; k++) {
        size_t count = widths[k / 4];
        uint64_t seed = count;
        struct cr_matrix logits = random_matrix(&seed, ROWS, count, CR_F32, 1), d = logits;
        bool in_place = k % 2;
        if (!in_place) d = matrix(ROWS, count, CR_F32, 0);
        if (k % 4 >= 2) {
            d.dtype = CR_BF16;
            if (in_place) d.stride *= 2;
        }
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < count; j++) put(&logits, i, j, 20 * at(&logits, i, j));
        put(&logits, 0, count - 1, 100); // far ahead: its own label next, another's after
        put(&logits, 1, count - 1, 100);
        const int32_t label[ROWS] = {(int32_t)count - 1, 0, -100, (int32_t)count / 2, (int32_t)count / 3};
        double want[ROWS], *gradient = room(2 * ROWS * count, CR_F32);
        for (size_t i = 0; i < ROWS; i++) {
            double sum = 0;
            for (size_t j = 0; j < count; j++) sum += exp(at(&logits, i, j));
            want[i] = label[i] < 0 ? 0 : log(sum) - at(&logits, i, (size_t)label[i]);
            for (size_t j = 0; j < count; j++)
                gradient[i * count + j] =
                    label[i] < 0 ? 0 : (exp(at(&logits, i, j)) / sum - ((int32_t)j == label[i])) * 0.5;
        }
        float loss[ROWS], loss_only[ROWS];
        bool rank1[ROWS];
        cr_cross_entropy(compute, logits, label, 0.5f, loss_only, NULL, (struct cr_matrix){0});
        cr_cross_entropy(compute, logits, label, 0.5f, loss, rank1, d);
        for (size_t i = 0; i < ROWS; i++) {
            assert_true(is_near((double)loss[i], want[i], 1e-5));
            assert_memory_equal(&loss[i], &loss_only[i], sizeof *loss);
        }
        assert_true(rank1[0] && rank1[1] == (count == 1) && !rank1[2]);
        expect_matrix(&d, gradient, "cross_entropy");
        free(gradient);
        if (!in_place) free_matrix(&d);
        free_matrix(&logits);
    }
}

static void equal_logits_rank_in_order(void **state)
{
    (void)state;
    float logits[2][3] = {{1, 2, 2}, {1, 2, 2}}, loss[2];
    const int32_t label[2] = {1, 2};
    bool rank1[2];
    struct cr_compute *compute = open_compute(CR_ISA_SCALAR);
    cr_cross_entropy(compute, cr_matrix_of(logits, CR_F32, 2, 3), label, 1.0f, loss, rank1,
                     (struct cr_matrix){0});
    assert_true(rank1[0] && !rank1[1]);
    cr_compute_free(compute);
}

// What one thread computes, two and three compute too, to the bit.
static void threads_do_not_change_bits(void **state)
{
    (void)state;
    enum { ROWS = 70, COLUMNS = 1030 };
    double sums[3];
    float dweights[3][COLUMNS] = {{0}};
    struct cr_matrix dxs[3];
    for (size_t t = 0; t < 3; t++) {
        struct cr_compute *compute;
        assert_ok(cr_compute_new(t + 1, &compute));
        uint64_t seed = 3;
        struct cr_matrix x = random_matrix(&seed, ROWS, COLUMNS, CR_F32, 0);
        struct cr_matrix dy = random_matrix(&seed, ROWS, COLUMNS, CR_BF16, 0),
                         y = matrix(ROWS, COLUMNS, CR_BF16, 0);
        float inverse[ROWS];
        dxs[t] = matrix(ROWS, COLUMNS, CR_F32, 0);
        cr_rms_norm(compute, x, x.data, 1e-5f, y, inverse);
        cr_rms_norm_backward(compute, x, x.data, inverse, dy, dxs[t], dweights[t]);
        sums[t] = cr_sum_of_squares(compute, x.data, ROWS * COLUMNS);
        free_matrix(&x), free_matrix(&dy), free_matrix(&y);
        cr_compute_free(compute);
    }
    for (size_t t = 1; t < 3; t++) {
        assert_true(same_bits(&dxs[t], &dxs[0]));
        assert_memory_equal(dweights[t], dweights[0], sizeof dweights[0]);
        assert_memory_equal(&sums[t], &sums[0], sizeof sums[0]);
    }
    for (size_t t = 0; t < 3; t++) free_matrix(&dxs[t]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_picks_and_adds_rows),
        cmocka_unit_test(rms_norm_agrees_with_double),
        cmocka_unit_test(layer_norm_agrees_with_double),
        cmocka_unit_test(layer_norm_takes_the_mean_out_first),
        cmocka_unit_test(rope_turns_pairs_and_back),
        cmocka_unit_test(swiglu_agrees_with_double),
        cmocka_unit_test(gelu_agrees_with_double),
        cmocka_unit_test(rows_and_column_sums_are_added),
        cmocka_unit_test(cross_entropy_agrees_with_double),
        cmocka_unit_test(equal_logits_rank_in_order),
        cmocka_unit_test(threads_do_not_change_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
