// tensor/ops_elements.c, and the exponential that kernels share: against formulas in double, in every
// instruction set.
#include "tensor_support.h"

#include "tensor/kernels.h"
#include "tensor/ops.h"

#include <float.h>

// Every BF16 and F16 to F32 and back, and every place where rounding is decided, in all instruction sets
// alike.
static void conversions_are_exact(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16, EDGES = 6 };
    CR_FREE uint16_t *halves = NULL, *back = NULL, *first = NULL;
    CR_FREE float *floats = NULL;
    assert_ok(cr_allocate(COUNT, sizeof *halves, &halves));
    assert_ok(cr_allocate((size_t)COUNT * EDGES, sizeof *back, &back));
    assert_ok(cr_allocate((size_t)COUNT * EDGES, sizeof *first, &first));
    assert_ok(cr_allocate((size_t)COUNT * EDGES, sizeof *floats, &floats));
    for (size_t i = 0; i < COUNT; i++) halves[i] = (uint16_t)i;
    for (int kind = 0; kind < 2; kind++) {
        enum cr_dtype dtype = kind ? CR_F16 : CR_BF16;
        FOR_EACH_COMPUTE(compute)
        {
            cr_convert(compute, halves, dtype, floats, CR_F32, COUNT);
            cr_convert(compute, floats, CR_F32, back, dtype, COUNT);
            for (size_t i = 0; i < COUNT; i++) {
                bool nan = isnan(floats[i]);
                uint16_t quiet = dtype == CR_F16 ? 0x200 : 0x40;
                if (back[i] != (nan ? halves[i] | quiet : halves[i]))
                    fail_msg("type %d: %04x comes back as %04x", dtype, halves[i], back[i]);
            }
            // Around each half: itself, halfway to the next, and one bit more and less than both.
            for (size_t i = 0; i < COUNT; i++)
                for (size_t edge = 0; edge < EDGES; edge++) {
                    uint32_t bits =
                        (uint32_t)i << 16 | (const uint32_t[]){0, 1, 0x7fff, 0x8000, 0x8001, 0xffff}[edge];
                    if (kind)
                        bits = (uint32_t)i << 16 |
                               (const uint32_t[]){0, 0x0fff, 0x1000, 0x1001, 0x3000, 0xf000}[edge];
                    memcpy(&floats[i * EDGES + edge], &bits, sizeof bits);
                }
            cr_convert(compute, floats, CR_F32, back, dtype, (size_t)COUNT * EDGES);
            if (cr_compute_isa(compute) == CR_ISA_SCALAR)
                memcpy(first, back, (size_t)COUNT * EDGES * sizeof *back);
            for (size_t i = 0; i < (size_t)COUNT * EDGES; i++) {
                if (back[i] != first[i]) {
                    uint32_t bits;
                    memcpy(&bits, &floats[i], sizeof bits);
                    fail_msg("type %d: %08x becomes %04x, by scalar code %04x", dtype, bits, back[i],
                             first[i]);
                }
            }
        }
        // The scalar code against the definition: no neighbour is nearer.
        for (size_t i = 0; i < (size_t)COUNT * EDGES; i++) {
            uint16_t near[3] = {(uint16_t)(first[i] - 1), first[i], (uint16_t)(first[i] + 1)};
            float value[3];
            cr_kernels__scalar.convert(near, dtype, value, CR_F32, 3);
            for (int n = 0; n < 3; n += 2)
                if (isfinite(value[n]) && isfinite(value[1]) && isfinite(floats[i]))
                    assert_true(fabs((double)value[1] - (double)floats[i]) <=
                                fabs((double)value[n] - (double)floats[i]));
        }
    }
}

static void copies_keep_to_their_matrix(void **state)
{
    (void)state;
    FOR_EACH_COMPUTE(compute)
    {
        uint64_t seed = 1;
        struct cr_matrix x = random_matrix(&seed, 40, 33, CR_BF16, 3),
                         y = random_matrix(&seed, 40, 33, CR_F32, 2);
        cr_copy_matrix(compute, x, y);
        for (size_t i = 0; i < 40; i++) {
            for (size_t j = 0; j < 33; j++) assert_true(at(&x, i, j) == at(&y, i, j));
            assert_true(isnan(at(&y, i, 33)) && isnan(at(&y, i, 34)));
        }
        free_matrix(&x);
        free_matrix(&y);
    }
}

// The kernel behind softmax and silu, over its whole range.
static void exponential_is_accurate(void **state)
{
    (void)state;
    FOR_EACH_COMPUTE(compute)
    {
        const struct cr_kernels *kernels = cr_compute_kernels(compute);
        for (int i = -120000; i <= 92000; i += 16) {
            float x[16], y[16];
            for (int j = 0; j < 16; j++) x[j] = (float)(i + j) * 1e-3f;
            (void)kernels->exponentials(x, 0.0f, y, 16);
            for (int j = 0; j < 16; j++) {
                double want = exp((double)x[j]);
                if (want > (double)FLT_MAX)
                    assert_true(isinf(y[j]));
                else if (fabs((double)y[j] - want) > 1.5e-7 * want + 1e-45 + (x[j] < -104 ? want : 0))
                    fail_msg("exp(%.9g) is %.9g, not %.9g", (double)x[j], (double)y[j], want);
            }
        }
        float special[3] = {NAN, INFINITY, -INFINITY}, y[3];
        (void)kernels->exponentials(special, 0.0f, y, 3);
        assert_true(isnan(y[0]) && isinf(y[1]) && y[2] == 0.0f);
    }
}

static void sums_and_scales_agree_with_double(void **state)
{
    (void)state;
    FOR_EACH_COMPUTE(compute)
    for (int k = 0; k < 4; k++) {
        enum cr_dtype y_type = k & 1 ? CR_BF16 : CR_F32, x_type = k & 2 ? CR_BF16 : CR_F32;
        uint64_t seed = 5;
        struct cr_matrix y = random_matrix(&seed, 6, 45, y_type, 3),
                         x = random_matrix(&seed, 6, 45, x_type, 1);
        double want[6 * 45];
        for (size_t i = 0; i < 6 * 45; i++) want[i] = at(&y, i / 45, i % 45) + 0.75 * at(&x, i / 45, i % 45);
        cr_add_scaled(compute, y, 0.75f, x);
        expect_matrix(&y, want, "add_scaled");
        for (size_t i = 0; i < 6 * 45; i++) want[i] = -3 * at(&y, i / 45, i % 45);
        cr_scale(compute, y, -3.0f);
        expect_matrix(&y, want, "scale");
        free_matrix(&x), free_matrix(&y);
    }
}

static void dropout_keeps_by_its_bits(void **state)
{
    (void)state;
    uint16_t bits[2 * 37];
    for (size_t i = 0; i < 2 * 37; i++) bits[i] = (uint16_t)(i % 3 == 0 ? 16383 : i % 3 == 1 ? 16384 : 65535);
    FOR_EACH_COMPUTE(compute)
    for (int k = 0; k < 2; k++) {
        uint64_t seed = 5;
        struct cr_matrix x = random_matrix(&seed, 2, 37, k ? CR_BF16 : CR_F32, 1);
        double want[2 * 37];
        for (size_t i = 0; i < 2 * 37; i++) want[i] = i % 3 == 0 ? 0 : at(&x, i / 37, i % 37) / 0.75;
        cr_dropout(compute, x, bits, 0.25f, x);
        expect_matrix(&x, want, "dropout");
        free_matrix(&x);
    }
}

static void reductions_see_every_element(void **state)
{
    (void)state;
    enum { COUNT = 5000001 };
    CR_FREE float *x = room(COUNT, CR_F32);
    uint64_t seed = 9;
    for (size_t i = 0; i < COUNT; i++) x[i] = (float)next_random(&seed);
    FOR_EACH_COMPUTE(compute)
    for (size_t count = 0; count <= COUNT; count = count < 100 ? count + 1 : count * 7 + COUNT % 7) {
        double want = 0;
        for (size_t i = 0; i < count; i++) want += (double)x[i] * (double)x[i];
        assert_true(fabs(cr_sum_of_squares(compute, x, count) - want) <= 1e-12 * want);
        assert_true(cr_all_finite(compute, x, count));
        size_t where[] = {0, count / 2, count - 1};
        for (size_t i = 0; i < 3 && count > 0; i++) {
            float kept = x[where[i]];
            x[where[i]] = i % 2 ? NAN : -INFINITY;
            assert_false(cr_all_finite(compute, x, count));
            x[where[i]] = kept;
        }
    }
}

static void updates_agree_with_double(void **state)
{
    (void)state;
    enum { COUNT = 37 };
    const struct cr_adamw rule = {1e-2, 0.9, 0.999, 1e-8, 0.1};
    FOR_EACH_COMPUTE(compute)
    {
        uint64_t seed = 4;
        float p[COUNT], g[COUNT], m[COUNT] = {0}, v[COUNT] = {0}, q[COUNT], buffer[COUNT] = {0}, plain[COUNT];
        double rp[COUNT], rm[COUNT] = {0}, rv[COUNT] = {0}, rq[COUNT], rb[COUNT] = {0}, rplain[COUNT];
        for (size_t i = 0; i < COUNT; i++)
            rp[i] = rq[i] = rplain[i] = p[i] = q[i] = plain[i] = (float)next_random(&seed);
        for (uint64_t step = 1; step <= 20; step++) {
            for (size_t i = 0; i < COUNT; i++) {
                g[i] = (float)next_random(&seed);
                double d = (double)g[i];
                rp[i] *= 1 - 1e-2 * 0.1;
                rm[i] = 0.9 * rm[i] + 0.1 * d;
                rv[i] = 0.999 * rv[i] + 0.001 * d * d;
                rp[i] -= 1e-2 / (1 - pow(0.9, (double)step)) * rm[i] /
                         (sqrt(rv[i] / (1 - pow(0.999, (double)step))) + 1e-8);
                rb[i] = 0.8 * rb[i] + d + 0.05 * rq[i];
                rq[i] -= 0.03 * rb[i];
                rplain[i] -= 0.03 * d;
            }
            cr_adamw_update(compute, &rule, step, p, g, m, v, COUNT);
            cr_sgd_update(compute, 0.03, 0.8, 0.05, q, g, buffer, COUNT);
            cr_sgd_update(compute, 0.03, 0, 0, plain, g, NULL, COUNT);
        }
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(is_near((double)p[i], rp[i], 5e-6));
            assert_true(is_near((double)q[i], rq[i], 5e-6));
            assert_true(is_near((double)plain[i], rplain[i], 5e-6));
        }
    }
}

static void lacking_instructions_are_refused(void **state)
{
    (void)state;
    for (enum cr_isa isa = best_isa() + 1; isa <= CR_ISA_AMX; isa++) {
        struct cr_compute *compute = NULL;
        assert_fails(CR_UNSUPPORTED, "lacks", cr_compute_new_with(1, isa, &compute));
        assert_null(compute);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions_are_exact),     cmocka_unit_test(copies_keep_to_their_matrix),
        cmocka_unit_test(exponential_is_accurate),   cmocka_unit_test(sums_and_scales_agree_with_double),
        cmocka_unit_test(dropout_keeps_by_its_bits), cmocka_unit_test(reductions_see_every_element),
        cmocka_unit_test(updates_agree_with_double), cmocka_unit_test(lacking_instructions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
