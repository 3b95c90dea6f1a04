#include "support.h"

#include "report/tensorboard.h"

// What tensorboard 2.21 writes for the same four events (tests/golden/make_tensorboard.py).
static const char known[] =
    "1800000000000000a37f4b220900002064144ada411a0d627261696e2e4576656e743a32ee624251"
    "100000000000000095fbfe180900002064144ada4110ac023a020801a2621221"
    "2100000000000000017becf60900005064144ada4110b6022a130a110a0a747261696e2f6c6f73731519049e3f75b52776"
    "1d00000000000000602fdf230900008064144ada412a120a100a096576616c2f6c6f73731500000080683b2904";

static void test_known_bytes(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_tensorboard_append_version(&bytes, 1764250000.5));
    assert_ok(cr_tensorboard_append_start(&bytes, 1764250000.5, 300));
    assert_ok(cr_tensorboard_append_scalar(&bytes, 1764250001.25, 310, "train/loss", 1.2345));
    assert_ok(cr_tensorboard_append_scalar(&bytes, 1764250002.0, 0, "eval/loss", -0.0));
    char hex[2 * sizeof known];
    assert_int_equal(2 * bytes.size, sizeof known - 1);
    cr_hex_encode(cr_buffer_slice(&bytes), hex);
    assert_string_equal(hex, known);
}

static void test_crc32c(void **state)
{
    (void)state;
    // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and rising; and the check value of catalogues.
    unsigned char bytes[32] = {0};
    const struct cr_slice all = {bytes, sizeof bytes};
    assert_int_equal(cr_crc32c(all), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(cr_crc32c(all), 0x62a8ab43);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
    assert_int_equal(cr_crc32c(all), 0x46dd794e);
    assert_int_equal(cr_crc32c(cr_slice_of_string("123456789")), 0xe3069283);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_crc32c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
