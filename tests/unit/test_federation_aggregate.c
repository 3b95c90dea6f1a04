#include "support.h"

#include "base/secret.h"
#include "federation/aggregate.h"
#include "federation/vector.h"

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

// Puts everything, silos in the given order within each piece; each piece is folded in when the next is
// there.
static void run(const struct cr_aggregate_silo *silos, const size_t *from, size_t count, size_t piece,
                const size_t *order)
{
    struct cr_aggregate *aggregate;
    size_t refused, turns = 0;
    assert_ok(cr_aggregate_new(silos, count, COUNT, piece, out, &aggregate));
    while (!cr_aggregate_done(aggregate)) {
        size_t first, size;
        cr_aggregate_wanted(aggregate, &first, &size);
        for (size_t i = 0; i < count && size > 0; i++) {
            assert_true(cr_aggregate_wants(aggregate, order[i]));
            assert_false(cr_aggregate_full(aggregate));
            assert_ok(cr_aggregate_put(aggregate, order[i], values[from[order[i]]] + first));
            assert_false(cr_aggregate_wants(aggregate, order[i]));
        }
        if (turns > 0) assert_ok(cr_aggregate_fold(aggregate, NULL, &refused));
        if (size > 0) cr_aggregate_turn(aggregate);
        turns++;
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

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    enum { MANY = 9000 }; // more than one block, the last of them short
    static float many[2][MANY], means[2][MANY];
    struct cr_aggregate_silo silos[2] = {{.weight = 3}, {.weight = 8}};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < MANY; i++) many[s][i] = values[s][i % COUNT] + (float)i;
        assert_ok(
            cr_sha256((struct cr_slice){(const unsigned char *)many[s], sizeof many[s]}, silos[s].digest));
    }
    for (size_t threaded = 0; threaded < 2; threaded++) {
        struct cr_pool *threads = NULL;
        struct cr_aggregate *aggregate;
        size_t refused;
        if (threaded) assert_ok(cr_pool_new(3, &threads));
        assert_ok(cr_aggregate_new(silos, 2, MANY, MANY, means[threaded], &aggregate));
        for (size_t s = 0; s < 2; s++) assert_ok(cr_aggregate_put(aggregate, s, many[s]));
        assert_true(cr_aggregate_full(aggregate));
        cr_aggregate_turn(aggregate);
        assert_ok(cr_aggregate_fold(aggregate, threads, &refused));
        assert_true(cr_aggregate_done(aggregate));
        cr_aggregate_free(aggregate);
        cr_pool_free(threads);
    }
    assert_memory_equal(means[0], means[1], sizeof means[0]);
    for (size_t i = 0; i < MANY; i++) {
        double sum = 3.0 * (double)many[0][i];
        sum += 8.0 * (double)many[1][i];
        float mean = (float)(sum / 11.0);
        assert_memory_equal(&means[0][i], &mean, sizeof mean);
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
    for (size_t w = 0; w < 3; w++)
        for (uint64_t weight = 0; weight < 2; weight++) { // one that does not count may not do it either
            float piece[64] = {0}, spoilt[64] = {0};
            spoilt[63] = wrong[w];
            struct cr_aggregate_silo silos[] = {silo(0, 1), silo(1, weight)};
            struct cr_aggregate *aggregate;
            size_t refused = 0;
            assert_ok(cr_aggregate_new(silos, 2, COUNT, 64, out, &aggregate));
            assert_ok(cr_aggregate_put(aggregate, 0, piece));
            assert_ok(cr_aggregate_put(aggregate, 1, spoilt));
            cr_aggregate_turn(aggregate);
            assert_fails(CR_DENIED, "value 63 of 1000 is not finite",
                         cr_aggregate_fold(aggregate, NULL, &refused));
            assert_int_equal(refused, 1);
            cr_aggregate_free(aggregate);
        }
}

static void test_the_largest_values_have_a_mean(void **state)
{
    (void)state;
    enum { SILOS = 1024 };
    static struct cr_aggregate_silo silos[SILOS];
    float most = 0x1.fffffep127F, mean;
    struct cr_aggregate *aggregate;
    size_t refused;
    for (size_t s = 0; s < SILOS; s++) {
        silos[s].weight = UINT64_MAX;
        assert_ok(cr_sha256((struct cr_slice){(const unsigned char *)&most, sizeof most}, silos[s].digest));
    }
    assert_ok(cr_aggregate_new(silos, SILOS, 1, 1, &mean, &aggregate));
    for (size_t s = 0; s < SILOS; s++) assert_ok(cr_aggregate_put(aggregate, s, &most));
    cr_aggregate_turn(aggregate);
    assert_ok(cr_aggregate_fold(aggregate, NULL, &refused));
    assert_memory_equal(&mean, &most, sizeof mean);
    cr_aggregate_free(aggregate);
}

static void test_other_values_than_announced_are_refused(void **state)
{
    (void)state;
    struct cr_aggregate_silo silos[] = {silo(0, 1), silo(1, 1)};
    struct cr_aggregate *aggregate;
    size_t refused = 0;
    assert_ok(cr_aggregate_new(silos, 2, COUNT, COUNT, out, &aggregate));
    assert_ok(cr_aggregate_put(aggregate, 0, values[0]));
    assert_ok(cr_aggregate_put(aggregate, 1, values[0]));
    cr_aggregate_turn(aggregate);
    assert_fails(CR_DENIED, "not those that were announced", cr_aggregate_fold(aggregate, NULL, &refused));
    assert_int_equal(refused, 1);
    assert_false(cr_aggregate_done(aggregate));
    cr_aggregate_free(aggregate);
}

static int set_up(void **state)
{
    (void)state;
    fill();
    return 0;
}

static size_t held(void)
{
    size_t bytes[CR_SECRET_KINDS], sum = 0;
    cr_secret_usage(bytes);
    for (size_t i = 0; i < CR_SECRET_KINDS; i++) sum += bytes[i];
    return sum;
}

static void a_silos_round_has_the_pages_of_the_one_before(void **state)
{
    (void)state;
    struct cr_vector *vector;
    size_t before = held();
    for (int again = 0; again < 2; again++) {
        assert_ok(cr_vector_new(1 << 20, &vector));
        vector->again = again;
        vector->values[99999] = 1;
        cr_vector_release(vector);
        assert_true((held() > before) == again); // a server's are given back
    }
    size_t kept = held();
    assert_ok(cr_vector_new(1 << 20, &vector));
    assert_int_equal(held(), kept);
    assert_true(vector->values[99999] == 0);
    cr_vector_release(vector);
    assert_int_equal(held(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silos_round_has_the_pages_of_the_one_before),
        cmocka_unit_test(test_one_silo_is_exact),
        cmocka_unit_test(test_agreement_is_exact),
        cmocka_unit_test(test_mean_against_long_double),
        cmocka_unit_test(test_neither_arrival_nor_chunks_matter),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_weightless_silo_does_not_count),
        cmocka_unit_test(test_what_is_not_finite_is_refused),
        cmocka_unit_test(test_the_largest_values_have_a_mean),
        cmocka_unit_test(test_other_values_than_announced_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
