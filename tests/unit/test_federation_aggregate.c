#include "support.h"

#include "federation/aggregate.h"

#include <math.h>

enum { COUNT = 1000 };

static float values[3][COUNT], out[COUNT];

// Numbers of many magnitudes and both signs, the same on every machine.
static void fill(void)
{
    uint32_t x = 12345;
    for (size_t s = 0; s < 3; s++)
        for (size_t i = 0; i < COUNT; i++) {
            x = x * 1664525 + 1013904223;
            values[s][i] = ldexpf((float)(int32_t)x, (int)(x >> 8 & 31) - 40);
        }
    values[0][0] = -0.0F;
    values[0][1] = 0x1p-149F; // the smallest
    values[0][2] = 0x1.fffffep127F;
}

static struct cr_aggregate_silo silo(size_t s, uint64_t weight)
{
    struct cr_aggregate_silo described = {.weight = weight};
    assert_ok(
        cr_sha256((struct cr_slice){(const unsigned char *)values[s], sizeof values[s]}, described.digest));
    return described;
}

// Puts everything, silos in the given order within each chunk.
static void run(const struct cr_aggregate_silo *silos, const size_t *from, size_t count, size_t chunk,
                const size_t *order)
{
    struct cr_aggregate *aggregate;
    assert_ok(cr_aggregate_new(silos, count, COUNT, chunk, out, &aggregate));
    for (;;) {
        size_t first, size;
        cr_aggregate_wanted(aggregate, &first, &size);
        if (first == COUNT) break;
        for (size_t i = 0; i < count; i++) {
            bool folded;
            assert_true(cr_aggregate_wants(aggregate, order[i]));
            assert_ok(cr_aggregate_put(aggregate, order[i], values[from[order[i]]] + first, &folded));
            assert_int_equal(folded, i + 1 == count);
        }
    }
    cr_aggregate_free(aggregate);
}

static void test_one_silo_is_exact(void **state)
{
    (void)state;
    static const uint64_t weights[] = {1, 3, 12345677, UINT64_C(1) << 60, UINT64_MAX};
    for (size_t w = 0; w < 5; w++) {
        struct cr_aggregate_silo one = silo(0, weights[w]);
        run(&one, (size_t[]){0}, 1, 64, (size_t[]){0});
        assert_memory_equal(out, values[0], sizeof out);
    }
}

static void test_agreement_is_exact(void **state)
{
    (void)state;
    struct cr_aggregate_silo silos[] = {silo(0, 17), silo(0, 999), silo(0, 31)};
    run(silos, (size_t[]){0, 0, 0}, 3, 64, (size_t[]){0, 1, 2});
    assert_memory_equal(out, values[0], sizeof out);
}

static void test_mean_against_long_double(void **state)
{
    (void)state;
    struct cr_aggregate_silo silos[] = {silo(0, 17), silo(1, 999), silo(2, 31)};
    run(silos, (size_t[]){0, 1, 2}, 3, 64, (size_t[]){0, 1, 2});
    for (size_t i = 0; i < COUNT; i++) {
        long double mean = (17.0L * values[0][i] + 999.0L * values[1][i] + 31.0L * values[2][i]) / 1047.0L;
        assert_true(fabsl(out[i] - mean) <= fabsl(mean) * 0x1p-23L + 0x1p-149L);
    }
}

static void test_neither_arrival_nor_chunks_matter(void **state)
{
    (void)state;
    struct cr_aggregate_silo silos[] = {silo(0, 17), silo(1, 999), silo(2, 31)};
    size_t from[] = {0, 1, 2};
    float first[COUNT];
    run(silos, from, 3, 64, (size_t[]){0, 1, 2});
    memcpy(first, out, sizeof first);
    static const size_t orders[][3] = {{2, 1, 0}, {1, 0, 2}, {0, 2, 1}};
    static const size_t chunks[] = {1, 7, COUNT, 10 * COUNT};
    for (size_t o = 0; o < 3; o++)
        for (size_t c = 0; c < 4; c++) {
            memset(out, 0xff, sizeof out);
            run(silos, from, 3, chunks[c], orders[o]);
            assert_memory_equal(out, first, sizeof out);
        }
}

static void test_weightless_silo_does_not_count(void **state)
{
    (void)state;
    struct cr_aggregate_silo silos[] = {silo(0, 5), silo(1, 0)};
    run(silos, (size_t[]){0, 1}, 2, 64, (size_t[]){0, 1});
    assert_memory_equal(out + 1, values[0] + 1, sizeof out - sizeof *out);
    struct cr_aggregate *aggregate;
    silos[0].weight = 0;
    assert_fails(CR_INVALID, "nothing to average", cr_aggregate_new(silos, 2, COUNT, 64, out, &aggregate));
}

static void test_what_is_not_finite_is_refused(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (size_t w = 0; w < 3; w++) {
        float chunk[64] = {0};
        chunk[63] = wrong[w];
        struct cr_aggregate_silo one = silo(0, 1);
        struct cr_aggregate *aggregate;
        bool folded;
        assert_ok(cr_aggregate_new(&one, 1, COUNT, 64, out, &aggregate));
        assert_fails(CR_DENIED, "value 63 of 1000 is not finite",
                     cr_aggregate_put(aggregate, 0, chunk, &folded));
        cr_aggregate_free(aggregate);
    }
}

static void test_other_values_than_announced_are_refused(void **state)
{
    (void)state;
    struct cr_aggregate_silo one = silo(1, 1);
    struct cr_aggregate *aggregate;
    bool folded;
    assert_ok(cr_aggregate_new(&one, 1, COUNT, COUNT, out, &aggregate));
    assert_fails(CR_DENIED, "not those that were announced",
                 cr_aggregate_put(aggregate, 0, values[0], &folded));
    cr_aggregate_free(aggregate);
}

static int set_up(void **state)
{
    (void)state;
    fill();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_silo_is_exact),
        cmocka_unit_test(test_agreement_is_exact),
        cmocka_unit_test(test_mean_against_long_double),
        cmocka_unit_test(test_neither_arrival_nor_chunks_matter),
        cmocka_unit_test(test_weightless_silo_does_not_count),
        cmocka_unit_test(test_what_is_not_finite_is_refused),
        cmocka_unit_test(test_other_values_than_announced_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
