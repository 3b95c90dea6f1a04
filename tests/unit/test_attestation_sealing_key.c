// Where a sealing key comes from, with folders and files in the place of a machine's interfaces.
#include "temporary.h"

#include "attestation/sealing_key.h"
#include "attestation/sealing_snp.h"
#include "base/file.h"
#include "base/secret.h"

#include <sys/stat.h>

static char gramine[300], snp[300], tdx[300];

static int nothing_is_there(void **state)
{
    (void)state;
    const char *const made[] = {gramine, snp, tdx, in_directory("sealing.key")};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) unlink(made[i]);
    return 0;
}

static const struct cr_sealing_places places = {gramine, snp, tdx, "/nonexistent/tpmrm0"};

static void write_file(const char *path, const char *bytes, size_t size)
{
    assert_ok(cr_file_write(path, (struct cr_slice){(const unsigned char *)bytes, size}, true));
}

static void expect_key(const char *name, const char *source, const void *bytes)
{
    struct cr_sealing_key *key;
    assert_ok(cr_sealing_key_get(name, &places, directory, &key));
    assert_string_equal(key->source, source);
    assert_memory_equal(key->key, bytes, CR_KEY_SIZE);
    assert_int_equal(cr_sealing_key_is_development(key), strcmp(source, "development") == 0);
    cr_secret_free(&key);
}

static void test_development(void **unused)
{
    (void)unused;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer file = {0};
    struct cr_sealing_key *key;
    struct stat about;
    const char *path = in_directory("sealing.key");
    assert_ok(cr_sealing_key_get("auto", &places, directory, &key));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_ok(cr_file_read(path, CR_KEY_SIZE, &file));
    assert_memory_equal(file.data, key->key, CR_KEY_SIZE);
    expect_key("auto", "development", key->key); // the same again
    expect_key("development", "development", key->key);
    cr_secret_free(&key);
    unlink(path);
    assert_ok(cr_sealing_key_get("auto", &places, directory, &key)); // another one
    assert_true(memcmp(file.data, key->key, CR_KEY_SIZE) != 0);
    cr_secret_free(&key);
    write_file(path, "short", 5);
    assert_fails(CR_INVALID, "sealing.key: 5 bytes", cr_sealing_key_get("auto", &places, directory, &key));
}

static void test_gramine(void **unused)
{
    (void)unused;
    struct cr_sealing_key *key;
    assert_fails(CR_NOT_FOUND, "does not run in Gramine",
                 cr_sealing_key_get("gramine", &places, directory, &key));
    write_file(gramine, "sixteen bytes...", 16);
    const char wanted[CR_KEY_SIZE] = "sixteen bytes...";
    expect_key("gramine", "gramine", wanted);
    expect_key("auto", "gramine", wanted);
    write_file(snp, "", 0); // Gramine is nearer
    expect_key("auto", "gramine", wanted);
    assert_fails(CR_INVALID, "development is refused where the machine has a key of its own (gramine)",
                 cr_sealing_key_get("development", &places, directory, &key));
    assert_fails(CR_INVALID, "snp is refused", cr_sealing_key_get("snp", &places, directory, &key));
    write_file(gramine, "fifteen bytes..", 15);
    assert_fails(CR_INVALID, "15 bytes, where a key of SGX has 16",
                 cr_sealing_key_get("auto", &places, directory, &key));
    assert_false(cr_file_exists(in_directory("sealing.key")));
}

static void test_snp(void **unused)
{
    (void)unused;
    struct cr_sealing_key *key;
    assert_fails(CR_NOT_FOUND, "no guest under SEV-SNP", cr_sealing_key_get("snp", &places, directory, &key));
    write_file(snp, "", 0); // no device
    assert_fails(CR_IO, "no key is derived", cr_sealing_key_get("auto", &places, directory, &key));

    unsigned char answer[64] = {0}, got[CR_KEY_SIZE];
    const struct cr_slice bytes = {answer, sizeof answer};
    assert_fails(CR_IO, "all zeros", cr_sealing_snp_parse(bytes, "d", got));
    for (size_t i = 0; i < CR_KEY_SIZE; i++) answer[32 + i] = (unsigned char)(i + 1);
    assert_ok(cr_sealing_snp_parse(bytes, "d", got));
    assert_memory_equal(got, answer + 32, CR_KEY_SIZE);
    answer[0] = 0x16; // a parameter is wrong
    assert_fails(CR_IO, "d: the firmware derives no key: status 22", cr_sealing_snp_parse(bytes, "d", got));
    assert_fails(CR_INTERNAL, "63 bytes", cr_sealing_snp_parse((struct cr_slice){answer, 63}, "d", got));
}

static void test_tdx_has_none(void **unused)
{
    (void)unused;
    struct cr_sealing_key *key;
    write_file(tdx, "", 0);
    assert_fails(CR_UNSUPPORTED, "TDX has no sealing key of its own",
                 cr_sealing_key_get("auto", &places, directory, &key));
    assert_false(cr_file_exists(in_directory("sealing.key")));
    assert_ok(cr_sealing_key_get("development", &places, directory, &key));
    cr_secret_free(&key);
}

static void test_no_tpm(void **unused)
{
    (void)unused;
    struct cr_sealing_key *key;
    enum cr_status status = cr_sealing_key_get("tpm", &places, directory, &key);
    if (status == CR_UNSUPPORTED) skip(); // built without tpm2-tss
    assert_fails(CR_NOT_FOUND, "/nonexistent/tpmrm0: not there: this machine has no TPM 2.0", status);
    assert_false(cr_file_exists(in_directory("sealing.tpm")));
}

static void test_other_names(void **unused)
{
    (void)unused;
    struct cr_sealing_key *key;
    assert_fails(CR_INVALID, "\"sgx\" is not known", cr_sealing_key_get("sgx", &places, directory, &key));
}

#define ALONE(test) cmocka_unit_test_setup(test, nothing_is_there)

static int make_places(void **state)
{
    if (make_directory(state) != 0) return -1;
    strcpy(gramine, in_directory("_sgx_mrenclave"));
    strcpy(snp, in_directory("sev-guest"));
    strcpy(tdx, in_directory("tdx_guest"));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {ALONE(test_development), ALONE(test_gramine),
                                       ALONE(test_snp),         ALONE(test_tdx_has_none),
                                       ALONE(test_no_tpm),      ALONE(test_other_names)};
    return cmocka_run_group_tests(tests, make_places, remove_directory);
}
