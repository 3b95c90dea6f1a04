// federation/released.h: the owner of the job reads what was written for him, and every byte of it matters.
#include "temporary.h"

#include "base/file.h"
#include "base/secret.h"
#include "crypto/recipient.h"
#include "federation/released.h"

enum { COUNT = 20000 }; // more than a chunk holds

static char settings[] = "silos: []\n";
static struct cr_identity *owner, *other;
static struct cr_manifest job, other_job;
static const struct cr_released_header header = {{7, 8}, 0x0102030405060708};

static void sign(struct cr_manifest *manifest, const struct cr_identity *by)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    assert_ok(cr_manifest_sign(manifest, by, &form));
}

static int set_up(void **state)
{
    assert_int_equal(make_directory(state), 0);
    assert_ok(cr_identity_new(&owner));
    assert_ok(cr_identity_new(&other));
    job = other_job = (struct cr_manifest){.settings = settings, .version = {0, 1, 0}};
    other_job.time_floor = 1;
    sign(&job, owner);
    sign(&other_job, owner);
    return 0;
}

static int tear_down(void **state)
{
    cr_identity_free(owner);
    cr_identity_free(other);
    return remove_directory(state);
}

static void write_result(const char *path, size_t count)
{
    struct cr_vector *values;
    assert_ok(cr_vector_new(count, &values));
    for (size_t i = 0; i < count; i++) values->values[i] = (float)i * 0.5F;
    assert_ok(cr_released_write(path, &job, &header, values));
    cr_vector_release(values);
}

static enum cr_status open_result(const char *path, const struct cr_manifest *of,
                                  const struct cr_identity *by)
{
    static float values[COUNT];
    CR_CLEANUP(cr_released_release) struct cr_released released = {0};
    CR_TRY(cr_released_open(path, of, by, &released));
    if (released.count > COUNT) return cr_fail(CR_INVALID, "too many");
    CR_TRY(cr_released_values(&released, values));
    assert_memory_equal(released.header.structure, header.structure, CR_SHA256_SIZE);
    assert_int_equal(released.header.seed, header.seed);
    for (size_t i = 0; i < released.count; i++) assert_true(values[i] == (float)i * 0.5F);
    return CR_OK;
}

static void test_comes_back(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, COUNT};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        CR_CLEANUP(cr_released_release) struct cr_released released = {0};
        write_result(in_directory("r"), counts[i]);
        assert_ok(cr_released_open(in_directory("r"), &job, owner, &released));
        assert_int_equal(released.count, counts[i]);
        assert_ok(open_result(in_directory("r"), &job, owner));
    }
}

static void test_nobody_else(void **state)
{
    (void)state;
    struct cr_manifest forged = job, unsigned_job = job;
    const char *path = in_directory("r");
    write_result(path, 3);
    assert_fails(CR_DENIED, "not that of the job's owner", open_result(path, &job, other));
    unsigned_job.has_owner = false;
    assert_fails(CR_DENIED, "not that of the job's owner", open_result(path, &unsigned_job, owner));
    sign(&forged, other); // who calls himself the owner is that of another job
    assert_fails(CR_INVALID, "under another key", open_result(path, &forged, other));
    assert_fails(CR_INVALID, "under another key", open_result(path, &other_job, owner));
}

static void test_every_byte_matters(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    write_result(in_directory("r"), 5);
    assert_ok(cr_file_read(in_directory("r"), SIZE_MAX, &bytes));
    for (size_t at = 0; at < bytes.size; at++) {
        bytes.data[at] ^= (unsigned char)(1 << at % 8);
        write_bytes(in_directory("altered"), cr_buffer_slice(&bytes));
        enum cr_status status = open_result(in_directory("altered"), &job, owner);
        assert_int_equal(status, at / 4 == 2 ? CR_UNSUPPORTED : CR_INVALID); // the seal's version
        assert_non_null(strstr(cr_error_message(), "altered: "));
        bytes.data[at] ^= (unsigned char)(1 << at % 8);
    }
    for (size_t size = 0; size < bytes.size; size += 3) {
        write_bytes(in_directory("altered"), (struct cr_slice){bytes.data, size});
        assert_fails(CR_INVALID, "altered: ", open_result(in_directory("altered"), &job, owner));
    }
}

// Whoever knows the owner's key can write a file that opens.
static void test_content_that_is_none(void **state)
{
    (void)state;
    static const unsigned char content[60] = {7, 8};
    const char *path = in_directory("r");
    for (size_t size = 0; size < sizeof content; size++) {
        CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
        CR_CLEANUP(cr_released_release) struct cr_released released = {0};
        struct cr_sealing sealing = {.purpose = "result"};
        assert_ok(cr_recipient_seal(job.owner, (struct cr_slice){job.digest, sizeof job.digest},
                                    sealing.bound, &key));
        sealing.key = key;
        assert_ok(cr_seal_write(path, &sealing, (struct cr_slice){content, size}));
        if (size >= 40 && size % 4 == 0) {
            assert_ok(cr_released_open(path, &job, owner, &released));
            assert_int_equal(released.count, (size - 40) / 4);
        } else
            assert_fails(CR_INVALID, "bytes are no result", cr_released_open(path, &job, owner, &released));
    }
    CR_CLEANUP(cr_released_release) struct cr_released released = {0};
    write_text(path, "no such thing");
    assert_fails(CR_INVALID, "not a sealed file", cr_released_open(path, &job, owner, &released));
}

// The fuzzer's seeds: CARREL_WRITE_CORPUS names the folder that they are to be written to.
static void test_seeds_of_the_fuzzer(void **state)
{
    (void)state;
    const char *folder = getenv("CARREL_WRITE_CORPUS");
    unsigned char content[40 + 2 * sizeof(float)] = {7, 8};
    struct cr_seal_header about;
    char path[256];
    snprintf(path, sizeof path, "%s/content", folder ? folder : "fuzz/corpus/released");
    if (folder) write_bytes(path, (struct cr_slice){content, sizeof content});
    assert_true(cr_file_exists(path));
    snprintf(path, sizeof path, "%s/file", folder ? folder : "fuzz/corpus/released");
    if (folder) write_result(path, 2);
    // The format is what it was when it was written.
    assert_ok(cr_seal_describe(path, &about));
    assert_string_equal(about.source, "owner");
    assert_string_equal(about.purpose, "result");
    assert_int_equal(about.size, sizeof content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),          cmocka_unit_test(test_nobody_else),
        cmocka_unit_test(test_every_byte_matters),  cmocka_unit_test(test_content_that_is_none),
        cmocka_unit_test(test_seeds_of_the_fuzzer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
