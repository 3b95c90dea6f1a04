// crypto/recipient.h: a key that its recipient gets again, and nobody else.
#include "temporary.h"

#include "base/file.h"
#include "base/secret.h"
#include "crypto/kdf.h"
#include "crypto/recipient.h"

#define KEY CR_CLEANUP(cr_secret_free) struct cr_sealing_key *

static const struct cr_slice context = {(const unsigned char *)"a job", 5};

static struct cr_identity *new_holder(unsigned char point[CR_IDENTITY_POINT_SIZE])
{
    struct cr_identity *holder = NULL;
    assert_ok(cr_identity_new(&holder));
    assert_ok(cr_identity_point(holder, point));
    return holder;
}

static void test_the_recipient_gets_it_again(void **state)
{
    (void)state;
    unsigned char point[CR_IDENTITY_POINT_SIZE], other[CR_IDENTITY_POINT_SIZE];
    CR_CLEANUP(cr_identity_release) struct cr_identity *holder = new_holder(point);
    CR_CLEANUP(cr_identity_release) struct cr_identity *stranger = new_holder(other);
    unsigned char first[CR_SHA256_SIZE] = {0};
    for (size_t i = 0; i < 8; i++) { // of both parities of y
        unsigned char share[CR_RECIPIENT_SHARE_SIZE];
        KEY made = NULL;
        KEY found = NULL;
        KEY theirs = NULL;
        KEY elsewhere = NULL;
        assert_ok(cr_recipient_seal(point, context, share, &made));
        assert_ok(cr_recipient_open(holder, context, share, &found));
        assert_memory_equal(made, found, sizeof *made);
        assert_string_equal(made->source, "owner");
        assert_memory_not_equal(made->key, first, sizeof first); // each file has another
        memcpy(first, made->key, sizeof first);
        assert_ok(cr_recipient_open(stranger, context, share, &theirs));
        assert_memory_not_equal(made->key, theirs->key, sizeof made->key);
        assert_ok(cr_recipient_open(holder, (struct cr_slice){context.data, 4}, share, &elsewhere));
        assert_memory_not_equal(made->key, elsewhere->key, sizeof made->key);
    }
}

// The first of NIST's ECDH vectors on P-256 (CAVS 14.1, ECC CDH primitive): its secret, and ours made of it.
static void test_the_published_secret(void **state)
{
    (void)state;
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfX3F9x6yndr4DWIU\n"
                              "Yy7q4D2QWK8fttIu2AuttivBpTShRANCAATq0hhZARnoh2spFG/4nKYXcMTtu/l9\n"
                              "OM44XtKB2KayMCivYSgf014vpwAlI6zIWkKcsG7mZIMlOJ9Z7fzhQFFB\n"
                              "-----END PRIVATE KEY-----\n";
    static const char info[] = "carrel sealed for a recipient"; // and its zero
    unsigned char secret[32], share[CR_RECIPIENT_SHARE_SIZE], expected[CR_KEY_SIZE];
    unsigned char point[CR_IDENTITY_POINT_SIZE];
    CR_CLEANUP(cr_identity_release) struct cr_identity *holder = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer all = {0};
    KEY found = NULL;
    assert_ok(cr_hex_decode("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b", secret,
                            sizeof secret));
    assert_ok(cr_hex_decode("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287", share,
                            sizeof share));
    assert_ok(cr_file_write(in_directory("key.pem"), cr_slice_of_string(pem), true));
    assert_ok(cr_identity_load(directory, NULL, &holder));
    assert_ok(cr_identity_point(holder, point));
    assert_ok(cr_append(&all, info, sizeof info));
    assert_ok(cr_append(&all, share, sizeof share));
    assert_ok(cr_append(&all, point, sizeof point / 2));
    assert_ok(cr_append(&all, context.data, context.size));
    assert_ok(cr_hkdf_salted((struct cr_slice){secret, sizeof secret}, (struct cr_slice){0},
                             cr_buffer_slice(&all), expected, sizeof expected));
    assert_ok(cr_recipient_open(holder, context, share, &found));
    assert_memory_equal(found->key, expected, sizeof expected);
}

static void test_no_point(void **state)
{
    (void)state;
    unsigned char point[CR_IDENTITY_POINT_SIZE], share[CR_RECIPIENT_SHARE_SIZE] = {1};
    CR_CLEANUP(cr_identity_release) struct cr_identity *holder = new_holder(point);
    KEY key = NULL;
    memset(point, 0xff, sizeof point); // more than the field's prime
    assert_fails(CR_DENIED, "not on its curve", cr_recipient_seal(point, context, share, &key));
    assert_int_equal(share[0], 1);
    size_t refused = 0;
    for (unsigned i = 0; i < 64; i++) { // of all numbers half are the x of a point
        KEY found = NULL;
        share[31] = (unsigned char)i;
        refused += cr_recipient_open(holder, context, share, &found) == CR_DENIED;
    }
    assert_in_range(refused, 10, 54);
    assert_null(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_recipient_gets_it_again),
        cmocka_unit_test(test_the_published_secret),
        cmocka_unit_test(test_no_point),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
