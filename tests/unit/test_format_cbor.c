// format/cbor.h: examples of RFC 8949's appendix A, and what is refused.
#include "support.h"

#include "format/cbor.h"

static struct cr_cursor over(const char *hex, unsigned char *bytes)
{
    size_t size = strlen(hex) / 2;
    assert_ok(cr_hex_decode(hex, bytes, size));
    return cr_cursor_over((struct cr_slice){bytes, size});
}

// Read, and where it is no float written again.
static void test_items(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum cr_cbor_kind kind;
        uint64_t number;
        const char *bytes;
    } cases[] = {
        {"00", CR_CBOR_UNSIGNED, 0, ""},
        {"17", CR_CBOR_UNSIGNED, 23, ""},
        {"1818", CR_CBOR_UNSIGNED, 24, ""},
        {"1903e8", CR_CBOR_UNSIGNED, 1000, ""},
        {"1a000f4240", CR_CBOR_UNSIGNED, 1000000, ""},
        {"1bffffffffffffffff", CR_CBOR_UNSIGNED, UINT64_MAX, ""},
        {"20", CR_CBOR_NEGATIVE, 0, ""},
        {"3903e7", CR_CBOR_NEGATIVE, 999, ""},
        {"40", CR_CBOR_BYTES, 0, ""},
        {"4401020304", CR_CBOR_BYTES, 4, "\x01\x02\x03\x04"},
        {"6449455446", CR_CBOR_TEXT, 4, "IETF"},
        {"62c3bc", CR_CBOR_TEXT, 2, "\xc3\xbc"},
        {"80", CR_CBOR_ARRAY, 0, ""},
        {"c11a514b67b0", CR_CBOR_TAG, 1, ""},
        {"f4", CR_CBOR_SIMPLE, 20, ""},
        {"f6", CR_CBOR_SIMPLE, 22, ""},
        {"f8ff", CR_CBOR_SIMPLE, 255, ""},
        {"f90000", CR_CBOR_FLOAT, 0, "\0\0"},
        {"fa47c35000", CR_CBOR_FLOAT, 0x47c35000, "\x47\xc3\x50\0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[16];
        struct cr_cbor_item item;
        struct cr_cursor cursor = over(cases[i].hex, bytes);
        assert_true(cr_cbor_next(&cursor, &item));
        assert_int_equal(item.kind, cases[i].kind);
        assert_true(item.number == cases[i].number);
        if (item.bytes.size > 0) assert_memory_equal(item.bytes.data, cases[i].bytes, item.bytes.size);
        if (item.kind == CR_CBOR_FLOAT) continue;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer again = {0};
        assert_ok(item.kind == CR_CBOR_BYTES  ? cr_cbor_append_bytes(&again, item.bytes)
                  : item.kind == CR_CBOR_TEXT ? cr_cbor_append_text(&again, item.bytes)
                                              : cr_cbor_append(&again, item.kind, item.number));
        assert_int_equal(again.size, cursor.at);
        assert_memory_equal(again.data, bytes, again.size);
    }
}

static void test_whole_items_are_passed_over(void **state)
{
    (void)state;
    static const char *const good[] = {"83010203",
                                       "8301820203820405",
                                       "a201020304",
                                       "a26161016162820203",
                                       "d9ea608243010203a0",
                                       "f820",
                                       "818181818181818181818181818181"
                                       "00"};
    static const char *const bad[] = {"",
                                      "830102",
                                      "a20102",
                                      "c1",
                                      "18",
                                      "1817",
                                      "190017",
                                      "1a0000ffff",
                                      "1b00000000ffffffff", // short, or too long
                                      "5f41014102ff",
                                      "9f01ff",
                                      "bf6161019fff",
                                      "ff",
                                      "1c",
                                      "3d",
                                      "5e", // no length given
                                      "f818",
                                      "f800",
                                      "f81f",
                                      "61ff",
                                      "62c328",
                                      "9b00000000ffffffff",
                                      "bb7fffffffffffffff",
                                      "7bffffffffffffffff",
                                      "81818181818181818181818181818181"
                                      "00"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        unsigned char bytes[64];
        struct cr_cursor cursor = over(good[i], bytes);
        if (!cr_cbor_skip(&cursor) || cr_cursor_left(&cursor) != 0) fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char bytes[64];
        struct cr_cursor cursor = over(bad[i], bytes);
        if (cr_cbor_skip(&cursor) || !cursor.failed) fail_msg("%s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_whole_items_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
