// crypto/random.h. The expected values were computed with Python's `cryptography` (HKDF, AES-CTR) and plain
// Python arithmetic.
#include "support.h"

#include "base/bytes.h"
#include "crypto/random.h"

#include <math.h>

static void free_stream(struct cr_draws **stream)
{
    cr_draws_free(*stream);
}

#define STREAM CR_CLEANUP(free_stream) struct cr_draws *

static void assert_bytes(struct cr_draws *stream, size_t size, const char *hex)
{
    unsigned char bytes[64];
    char got[129];
    cr_draws_bytes(stream, bytes, size);
    cr_hex_encode((struct cr_slice){bytes, size}, got);
    assert_string_equal(got, hex);
}

static void random_bytes_differ(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};
    assert_ok(cr_random_bytes(a, sizeof a));
    assert_ok(cr_random_bytes(b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_ok(cr_random_bytes(NULL, 0));
}

static void streams_have_known_bytes(void **state)
{
    (void)state;
    STREAM stream = NULL;
    assert_ok(cr_draws_new(42, "test", &stream));
    assert_bytes(stream, 32, "4ed3226f473471f6f0c2d591e9cd5c195d14864ddee03c98a36bc827a97be7c7");
    cr_draws_seek(stream, 7);
    assert_bytes(stream, 16, "bb9b7d449760e33261d5635b5b3fda39");
    // Across the end of what is made at a time, in uneven pieces.
    cr_draws_seek(stream, 0);
    unsigned char skipped[4990];
    for (size_t at = 0; at < sizeof skipped;) {
        size_t part = at + 997 < sizeof skipped ? 997 : sizeof skipped - at;
        cr_draws_bytes(stream, skipped + at, part);
        at += part;
    }
    assert_bytes(stream, 10, "39f8c828b9f9d9d4622c");
    STREAM other = NULL;
    STREAM longest = NULL;
    assert_ok(cr_draws_new(42, "tesu", &other));
    assert_bytes(other, 16, "7c3c8c25b483012008e714d048b0782a");
    assert_ok(cr_draws_new(UINT64_MAX, "", &longest));
    assert_bytes(longest, 16, "c8ddb0673ef79a7901aa66b0c77fbdbd");
}

static void draws_have_known_values(void **state)
{
    (void)state;
    STREAM stream = NULL;
    assert_ok(cr_draws_new(42, "test", &stream));
    static const uint64_t small[] = {6, 2, 7, 1, 3, 9, 1, 3};
    for (size_t i = 0; i < 8; i++) assert_int_equal(cr_draws_below(stream, 10), small[i]);
    // Half of all draws are refused under this bound.
    assert_true(cr_draws_below(stream, (1ull << 63) + 1) == 3302592111669147253u);
    assert_true(cr_draws_below(stream, (1ull << 63) + 1) == 4180799111648679941u);
    assert_int_equal(cr_draws_below(stream, 1), 0);

    static const double uniform[] = {0x1.0ad32549f3ea8p-2, 0x1.95f5b2b400cb4p-1, 0x1.25d32f3e7caacp-1};
    cr_draws_seek(stream, 1);
    for (size_t i = 0; i < 3; i++) assert_true(cr_draws_uniform(stream) == uniform[i]);

    static const double normal[] = {0.20687029605175059, -0.74897191289214005, 0.34721094881060521,
                                    1.2591657030220809};
    cr_draws_seek(stream, 1);
    for (size_t i = 0; i < 3; i++) assert_true(fabs(cr_draws_normal(stream) - normal[i]) < 1e-15);
    // Seeking forgets the second value of a pair.
    cr_draws_seek(stream, 1);
    assert_true(fabs(cr_draws_normal(stream) - normal[0]) < 1e-15);

    static const uint32_t shuffled[] = {7, 8, 0, 1, 5, 3, 4, 2, 9, 6};
    uint32_t items[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    cr_draws_seek(stream, 2);
    cr_draws_shuffle(stream, items, 10);
    assert_memory_equal(items, shuffled, sizeof items);
    cr_draws_shuffle(stream, NULL, 0);
}

static void draws_have_their_distribution(void **state)
{
    (void)state;
    STREAM stream = NULL;
    assert_ok(cr_draws_new(1, "distribution", &stream));
    enum { N = 100000 };
    double sum = 0, squares = 0, fourth = 0;
    size_t counts[7] = {0};
    for (size_t i = 0; i < N; i++) {
        double z = cr_draws_normal(stream);
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
        counts[cr_draws_below(stream, 7)]++;
    }
    // Five standard deviations of each estimate.
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    for (size_t i = 0; i < 7; i++)
        assert_true(fabs((double)counts[i] - N / 7.0) < 5 * sqrt(N / 7.0 * (6.0 / 7.0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(streams_have_known_bytes),
        cmocka_unit_test(draws_have_known_values),
        cmocka_unit_test(draws_have_their_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
