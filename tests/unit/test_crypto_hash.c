// crypto/hash.h. The digests are FIPS 180-2's examples; the base64 vectors RFC 4648's, in its URL alphabet.
#include "support.h"

#include "crypto/hash.h"

static void assert_hex(const unsigned char digest[CR_SHA256_SIZE], const char *hex)
{
    char got[2 * CR_SHA256_SIZE + 1];
    cr_hex_encode((struct cr_slice){digest, CR_SHA256_SIZE}, got);
    assert_string_equal(got, hex);
}

static void digests_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    unsigned char digest[CR_SHA256_SIZE];
    for (size_t i = 0; i < 3; i++) {
        struct cr_slice text = cr_slice_of_string(cases[i].text);
        assert_ok(cr_sha256(text, digest));
        assert_hex(digest, cases[i].hex);
        struct cr_hasher *hasher = NULL;
        assert_ok(cr_hasher_new(&hasher));
        for (size_t k = 0; k < text.size; k++)
            assert_ok(cr_hasher_add(hasher, (struct cr_slice){text.data + k, 1}));
        assert_ok(cr_hasher_add(hasher, (struct cr_slice){NULL, 0}));
        memset(digest, 0, sizeof digest);
        assert_ok(cr_hasher_finish(hasher, digest));
        assert_hex(digest, cases[i].hex);
        assert_fails(CR_INTERNAL, "after the end", cr_hasher_add(hasher, text));
        assert_fails(CR_INTERNAL, "finished twice", cr_hasher_finish(hasher, digest));
        cr_hasher_free(hasher);
    }
    assert_ok(cr_sha256((struct cr_slice){NULL, 0}, digest));
    assert_hex(digest, cases[0].hex);
    cr_hasher_free(NULL);
}

static void base64url_round_trips(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } cases[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                 {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        assert_ok(cr_base64url_append(&text, cr_slice_of_string(cases[i].bytes)));
        assert_string_equal(cr_buffer_text(&text), cases[i].text);
        assert_ok(cr_append(&bytes, "kept", 4));
        assert_ok(cr_base64url_decode(cr_slice_of_string(cases[i].text), &bytes));
        assert_memory_equal(bytes.data, "kept", 4);
        assert_string_equal(cr_buffer_text(&bytes) + 4, cases[i].bytes);
    }
    unsigned char all[256];
    for (size_t i = 0; i < 256; i++) all[i] = (unsigned char)i;
    for (size_t size = 0; size <= 256; size++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        assert_ok(cr_base64url_append(&text, (struct cr_slice){all + 256 - size, size}));
        assert_ok(cr_base64url_decode(cr_buffer_slice(&text), &bytes));
        assert_true(cr_slice_equal(cr_buffer_slice(&bytes), (struct cr_slice){all + 256 - size, size}));
    }
}

static void wrong_base64url_is_refused(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    assert_fails(CR_INVALID, "impossible length", cr_base64url_decode(cr_slice_of_string("Zm9vY"), &out));
    assert_fails(CR_INVALID, "character 2", cr_base64url_decode(cr_slice_of_string("Zg=="), &out));
    assert_fails(CR_INVALID, "character 3", cr_base64url_decode(cr_slice_of_string("Zm9+"), &out));
    assert_fails(CR_INVALID, "character 4", cr_base64url_decode(cr_slice_of_string("Zm9v\nYmFyYg"), &out));
    assert_fails(CR_INVALID, "bits past its end", cr_base64url_decode(cr_slice_of_string("Zh"), &out));
    assert_fails(CR_INVALID, "bits past its end", cr_base64url_decode(cr_slice_of_string("Zm9vYmF"), &out));
    assert_int_equal(out.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_known),
        cmocka_unit_test(base64url_round_trips),
        cmocka_unit_test(wrong_base64url_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
