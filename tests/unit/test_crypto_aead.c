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

// The stream, written down here without the highest bit of each word.
static void streams_have_known_words(void **state)
{
    (void)state;
    enum { WORDS = 10, BITS = 31 };
    CR_CLEANUP(free_keystream) struct cr_keystream *keystream = NULL;
    assert_ok(cr_keystream_new(root, &keystream));
    uint32_t words[WORDS], again[WORDS], limit = 1u << BITS;
    assert_true(cr_keystream_words(keystream, 0, 0, BITS, limit, words, WORDS));
    assert_hex((unsigned char *)words, sizeof words,
               "7233db74f64f235378c7ea74f423624da4715401d271641ae9c94a7d4046d547fb285a4846ec3d2d");
    assert_true(cr_keystream_words(keystream, 0x0102030405060708, 0, BITS, limit, words, WORDS));
    assert_hex((unsigned char *)words, sizeof words,
               "1c066436c5d9257576a70d56af9013438f94cb065eb9db45e22f58426b3fdb3e6bc9da688f071820");
    // From the start again, whatever came between.
    cr_keystream_words(keystream, 7, 0, BITS, limit, again, 1);
    cr_keystream_words(keystream, 0x0102030405060708, 0, BITS, limit, again, WORDS);
    assert_memory_equal(words, again, sizeof words);
    cr_keystream_words(keystream, 0x0102030405060708, 1, BITS, limit, again, WORDS - 4);
    assert_memory_equal(words + 4, again, sizeof again - 16);
    assert_true(cr_keystream_words(keystream, 7, 0, BITS, limit, NULL, 0));
}

// The stream as OpenSSL makes it.
static void make_reference(const unsigned char key[CR_KEY_SIZE], uint64_t stream, uint64_t block,
                           unsigned char *bytes, int size)
{
    unsigned char counter[16] = {0};
    int made;
    for (size_t i = 0; i < 8; i++) {
        counter[i] = (unsigned char)(stream >> (56 - 8 * i));
        counter[8 + i] = (unsigned char)(block >> (56 - 8 * i));
    }
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    assert_true(EVP_EncryptInit_ex(cipher, EVP_aes_256_ctr(), NULL, key, counter));
    memset(bytes, 0, (size_t)size);
    assert_true(EVP_EncryptUpdate(cipher, bytes, &made, bytes, size) && made == size);
    EVP_CIPHER_CTX_free(cipher);
}

enum { SHORT = 450, LONG = 75001 };

// Words of some lengths, the limit now at their largest and now beyond it, by the vector instructions too
// where they are here; nothing is written behind the end.
static void expect_words(const unsigned char key[CR_KEY_SIZE], uint64_t stream, uint64_t block, int count)
{
    static uint32_t wanted[LONG], made[LONG + 1];
    static unsigned char bytes[4 * LONG];
    unsigned char keys[CR_VAES_KEYS_SIZE];
    CR_CLEANUP(free_keystream) struct cr_keystream *keystream = NULL;
    assert_ok(cr_keystream_new(key, &keystream));
    cr_vaes_expand(key, keys);
    make_reference(key, stream, block, bytes, 4 * count);
    for (unsigned bits = 31; bits >= 23; bits -= 8) {
        uint32_t largest = 0;
        for (int i = 0; i < count; i++) {
            const unsigned char *at = bytes + i * (bits == 31 ? 4 : 3);
            wanted[i] = (at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24) &
                        ((1u << bits) - 1);
            largest = wanted[i] > largest ? wanted[i] : largest;
        }
        for (int kind = 0; kind < (cr_vaes_is_here() ? 4 : 2); kind++) {
            uint32_t limit = largest + (kind & 1);
            memset(made, 0, sizeof *made * (size_t)count);
            made[count] = 0x5a5a5a5a;
            bool below = kind < 2
                             ? cr_keystream_words(keystream, stream, block, bits, limit, made, (size_t)count)
                             : cr_vaes_words(keys, stream, block, bits, limit, made, (size_t)count);
            assert_int_equal(below, kind & 1);
            assert_memory_equal(made, wanted, sizeof *made * (size_t)count);
            assert_int_equal(made[count], 0x5a5a5a5a);
        }
    }
}

// Every length up to some turns of a loop, a long one, and many keys.
static void words_are_those_of_the_stream(void **state)
{
    (void)state;
    unsigned char key[CR_KEY_SIZE];
    char label[16];
    for (int count = 1; count <= LONG; count = count < SHORT ? count + 1 : count + (LONG - SHORT)) {
        uint64_t stream = 0x9e3779b97f4a7c15 * (uint64_t)count;
        snprintf(label, sizeof label, "%d", count);
        assert_ok(cr_key_derive(root, label, key));
        expect_words(key, stream, stream << 17, count);
    }
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
        cmocka_unit_test(streams_have_known_words),
        cmocka_unit_test(words_are_those_of_the_stream),
        cmocka_unit_test(sealed_bytes_open_unchanged_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
