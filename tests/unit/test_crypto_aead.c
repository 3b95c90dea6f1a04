// crypto/keystream.h and crypto/aead.h. The expected values were computed with Python's `cryptography`.
#include "support.h"

#include "crypto/aead.h"
#include "crypto/keystream_vaes.h"

#include <openssl/evp.h>

static const unsigned char root[CR_KEY_SIZE] = "0123456789abcdef0123456789abcde";

static void free_keystream(struct cr_keystream **keystream)
{
    cr_keystream_free(*keystream);
}

static void free_aead(struct cr_aead **aead)
{
    cr_aead_free(*aead);
}

static void assert_hex(const void *bytes, size_t size, const char *hex)
{
    char got[129];
    cr_hex_encode((struct cr_slice){bytes, size}, got);
    assert_string_equal(got, hex);
}

static void keys_are_derived(void **state)
{
    (void)state;
    unsigned char key[CR_KEY_SIZE], other[CR_KEY_SIZE];
    assert_ok(cr_key_derive(root, "pads", key));
    assert_hex(key, sizeof key, "07480cf9c50ea05da571bc48e8c44cf7d8a884668b9518b455acab34c5f59d16");
    assert_ok(cr_key_derive(root, "pads ", other));
    assert_memory_not_equal(key, other, sizeof key);
}

static void streams_have_known_bytes(void **state)
{
    (void)state;
    CR_CLEANUP(free_keystream) struct cr_keystream *keystream = NULL;
    assert_ok(cr_keystream_new(root, &keystream));
    unsigned char bytes[40], again[40];
    cr_keystream_bytes(keystream, 0, 0, bytes, sizeof bytes);
    assert_hex(bytes, sizeof bytes,
               "7233dbf4f64f235378c7eaf4f42362cda4715481d271641ae9c94a7d4046d5c7fb285ac846ec3dad");
    cr_keystream_bytes(keystream, 0x0102030405060708, 0, bytes, sizeof bytes);
    assert_hex(bytes, sizeof bytes,
               "1c066436c5d925f576a70d56af9013438f94cb065eb9dbc5e22f58426b3fdb3e6bc9dae88f0718a0");
    // From the start again, whatever came between.
    cr_keystream_bytes(keystream, 7, 0, again, 3);
    cr_keystream_bytes(keystream, 0x0102030405060708, 0, again, sizeof again);
    assert_memory_equal(bytes, again, sizeof bytes);
    cr_keystream_bytes(keystream, 0x0102030405060708, 1, again, sizeof again - 16);
    assert_memory_equal(bytes + 16, again, sizeof again - 16);
    cr_keystream_bytes(keystream, 7, 0, NULL, 0);
}

// The stream as OpenSSL makes it.
static void make_reference(const unsigned char key[CR_KEY_SIZE], uint64_t stream, uint64_t block,
                           unsigned char *out, int size)
{
    unsigned char counter[16] = {0};
    int made;
    for (size_t i = 0; i < 8; i++) {
        counter[i] = (unsigned char)(stream >> (56 - 8 * i));
        counter[8 + i] = (unsigned char)(block >> (56 - 8 * i));
    }
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    assert_true(EVP_EncryptInit_ex(cipher, EVP_aes_256_ctr(), NULL, key, counter));
    memset(out, 0, (size_t)size);
    assert_true(EVP_EncryptUpdate(cipher, out, &made, out, size) && made == size);
    EVP_CIPHER_CTX_free(cipher);
}

// Every length up to some turns of the loop, a long one, and many keys; nothing is written behind the end.
static void vector_instructions_give_the_same_bytes(void **state)
{
    (void)state;
    enum { SHORT = 1700, LONG = 300001 };
    static unsigned char wanted[LONG], made[LONG + 1];
    unsigned char key[CR_KEY_SIZE], keys[CR_VAES_KEYS_SIZE];
    char label[16];
    if (!cr_vaes_is_here()) {
        print_message("this processor has no VAES\n");
        skip();
    }
    for (int size = 1; size <= LONG; size = size < SHORT ? size + 1 : size + (LONG - SHORT)) {
        uint64_t stream = 0x9e3779b97f4a7c15 * (uint64_t)size, block = stream << 17;
        snprintf(label, sizeof label, "%d", size);
        assert_ok(cr_key_derive(root, label, key));
        make_reference(key, stream, block, wanted, size);
        cr_vaes_expand(key, keys);
        made[size] = 0x5a;
        cr_vaes_bytes(keys, stream, block, made, (size_t)size);
        assert_memory_equal(made, wanted, (size_t)size);
        assert_int_equal(made[size], 0x5a);
    }
    cr_vaes_bytes(keys, 0, 0, NULL, 0);
}

static void sealed_bytes_open_unchanged_alone(void **state)
{
    (void)state;
    CR_CLEANUP(free_aead) struct cr_aead *aead = NULL;
    assert_ok(cr_aead_new(root, &aead));
    unsigned char plain[] = "twenty bytes of text", sealed[sizeof plain + CR_AEAD_TAG_SIZE];
    unsigned char opened[sizeof plain];
    struct cr_slice bound = cr_slice_of_string("bound");
    assert_ok(cr_aead_seal(aead, 5, bound, plain, sizeof plain, sealed));
    assert_hex(sealed, sizeof sealed,
               "390b00365ed33409e7d73c69be7176a175db68018549b77f86fefbf45a92d3c59fd1976af8");
    assert_ok(cr_aead_open(aead, 5, bound, sealed, sizeof plain, opened));
    assert_memory_equal(opened, plain, sizeof plain);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (unsigned char)(1 << bit % 8);
        memset(opened, 1, sizeof opened);
        assert_fails(CR_DENIED, "changed", cr_aead_open(aead, 5, bound, sealed, sizeof plain, opened));
        for (size_t i = 0; i < sizeof opened; i++) assert_int_equal(opened[i], 0);
        sealed[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_fails(CR_DENIED, "changed", cr_aead_open(aead, 6, bound, sealed, sizeof plain, opened));
    struct cr_slice none = {0};
    assert_fails(CR_DENIED, "changed", cr_aead_open(aead, 5, none, sealed, sizeof plain, opened));
    // Nothing, bound to nothing, is sealed too.
    assert_ok(cr_aead_seal(aead, 9, none, NULL, 0, sealed));
    assert_ok(cr_aead_open(aead, 9, none, sealed, 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_derived),
        cmocka_unit_test(streams_have_known_bytes),
        cmocka_unit_test(vector_instructions_give_the_same_bytes),
        cmocka_unit_test(sealed_bytes_open_unchanged_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
