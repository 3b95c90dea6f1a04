// attestation/manifest.h: one form, one owner, and what differs is told by its name.
#include "temporary.h"

#include "attestation/cose.h"
#include "attestation/manifest.h"
#include "base/file.h"

static char settings[] = "model_name_or_path: \"m\"\nfederation:\n  rounds: 3\n  release: all\nsilos: []\n";
static char other_release[] =
    "model_name_or_path: \"m\"\nfederation:\n  rounds: 3\n  release: silos\nsilos: []\n";
static char policy[] = "allow_debug: true\n";
static char other_policy[] = "allow_debug: false\n";
static struct cr_manifest_silo roster[] = {{.name = "anne", .key = {1}}, {.name = "ben", .key = {2}}};
static struct cr_identity *owner, *other;

static int make_owners(void **state)
{
    assert_int_equal(make_directory(state), 0);
    assert_ok(cr_identity_new(&owner));
    assert_ok(cr_identity_new(&other));
    return 0;
}

static int free_owners(void **state)
{
    cr_identity_free(owner);
    cr_identity_free(other);
    return remove_directory(state);
}

static struct cr_manifest sample(void)
{
    return (struct cr_manifest){.model = {3},
                                .tokenizer = {4},
                                .authority = {5},
                                .roster = roster,
                                .roster_count = 2,
                                .settings = settings,
                                .policy = policy,
                                .version = {0, 1, 0},
                                .time_floor = 1767225600,
                                .collateral_floor = 1767225000};
}

static void test_comes_back(void **state)
{
    (void)state;
    struct cr_manifest manifest = sample();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_manifest_release) struct cr_manifest back = {0};
    assert_ok(cr_manifest_sign(&manifest, owner, &bytes));
    assert_ok(cr_manifest_open(cr_buffer_slice(&bytes), &back));
    assert_memory_equal(back.digest, manifest.digest, CR_SHA256_SIZE);
    unsigned char point[CR_IDENTITY_POINT_SIZE];
    assert_ok(cr_identity_point(owner, point));
    assert_memory_equal(back.owner, point, sizeof point);
    assert_int_equal(back.model[0], 3);
    assert_int_equal(back.tokenizer[0], 4);
    assert_int_equal(back.authority[0], 5);
    assert_int_equal(back.roster_count, 2);
    assert_string_equal(back.roster[1].name, "ben");
    assert_int_equal(cr_manifest_find(&back, "ben")->key[0], 2);
    assert_null(cr_manifest_find(&back, "cleo"));
    assert_string_equal(back.settings, settings);
    assert_string_equal(back.policy, policy);
    assert_int_equal(back.version[1], 1);
    assert_int_equal(back.time_floor, 1767225600);
    assert_int_equal(back.collateral_floor, 1767225000);
    // A signature is never twice the same; what is signed is.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer again = {0};
    unsigned char digest[CR_SHA256_SIZE];
    memcpy(digest, manifest.digest, sizeof digest);
    assert_ok(cr_manifest_sign(&manifest, owner, &again));
    assert_memory_equal(digest, manifest.digest, sizeof digest);
    assert_ok(cr_manifest_sign(&manifest, other, &again));
    assert_memory_not_equal(digest, manifest.digest, sizeof digest);
}

// The bytes as RFC 8949 and RFC 9052 have them, written down once by hand.
static void test_form(void **state)
{
    (void)state;
    static char text[] = "a: 1\n";
    const struct cr_manifest small = {.settings = text, .version = {0, 1, 0}};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_manifest_write(&small, &bytes));
    char hex[600];
    assert_in_range(bytes.size, 1, 299);
    cr_hex_encode(cr_buffer_slice(&bytes), hex);
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
    assert_string_equal(hex, "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS
                             "06800765613a20310a09830001000a000b00");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    assert_ok(cr_cose_sign((struct cr_slice){(const unsigned char *)"x", 1}, "t/x", owner, &message));
    cr_hex_encode(cr_buffer_slice(&message), hex);
    assert_memory_equal(hex, "d28448a201260363742f78a041785840", 32);
    assert_int_equal(message.size, 16 + 64);
}

static void test_any_other_byte_is_refused(void **state)
{
    (void)state;
    struct cr_manifest manifest = sample(), back = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_manifest_sign(&manifest, owner, &bytes));
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char kept = bytes.data[i];
        bytes.data[i] ^= (unsigned char)(1u << i % 8);
        enum cr_status status = cr_manifest_open(cr_buffer_slice(&bytes), &back);
        if (status != CR_INVALID && status != CR_DENIED) fail_msg("byte %zu: %d", i, status);
        bytes.data[i] = kept;
    }
    for (size_t size = bytes.size; size-- > 0;)
        assert_int_equal(cr_manifest_open((struct cr_slice){bytes.data, size}, &back), CR_INVALID);
    assert_ok(cr_append_u8(&bytes, 0));
    assert_int_equal(cr_manifest_open(cr_buffer_slice(&bytes), &back), CR_INVALID);
}

#define NAME_16 "61616161616161616161616161616161"

// Maps that read well and say the same, and are not what the writer writes.
static void test_one_form_alone(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        // the members in another order; one twice; one of another map; a longer list of version parts
        "a90a0001035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a20310a09830001000b00",
        "aa0101035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a20310a09830001000a000a000b00",
        "aa0101035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a20310a09830001000a000b000c00",
        "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a20310a0984000100000a000b00",
        "a90102035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a20310a09830001000a000b00",
        // a settings text with a zero in it, one with an escape, none
        "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a00310a09830001000a000b00",
        "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS "06800765613a1b310a09830001000a000b00",
        "a80101035820" ZEROS "045820" ZEROS "055820" ZEROS "068009830001000a000b00",
        // a roster longer than any; one with a name longer than any
        "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS "069affffffff0765613a20310a09830001000a000b00",
        "a90101035820" ZEROS "045820" ZEROS "055820" ZEROS "0681827840" NAME_16 NAME_16 NAME_16 NAME_16
        "5820" ZEROS "0765613a20310a09830001000a000b00",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        unsigned char bytes[300];
        struct cr_manifest back = {0};
        size_t size = strlen(wrong[i]) / 2;
        assert_ok(cr_hex_decode(wrong[i], bytes, size));
        if (cr_manifest_parse((struct cr_slice){bytes, size}, &back) != CR_INVALID) fail_msg("%zu", i);
    }
}

static void test_signed_by_its_owner(void **state)
{
    (void)state;
    struct cr_manifest manifest = sample(), back = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer mine = {0}, payload = {0}, theirs = {0};
    assert_ok(cr_manifest_sign(&manifest, owner, &mine));
    assert_ok(cr_manifest_write(&manifest, &payload));
    assert_ok(cr_cose_sign(cr_buffer_slice(&payload), "application/vnd.carrel.job+cbor", other, &theirs));
    assert_fails(CR_DENIED, "not signed by the owner", cr_manifest_open(cr_buffer_slice(&theirs), &back));
    cr_buffer_clear(&theirs);
    assert_ok(cr_cose_sign(cr_buffer_slice(&payload), "application/vnd.carrel.other+cbor", owner, &theirs));
    assert_fails(CR_INVALID, "COSE_Sign1", cr_manifest_open(cr_buffer_slice(&theirs), &back));
    manifest.has_owner = false;
    cr_buffer_clear(&payload);
    cr_buffer_clear(&theirs);
    assert_ok(cr_manifest_write(&manifest, &payload));
    assert_ok(cr_cose_sign(cr_buffer_slice(&payload), "application/vnd.carrel.job+cbor", owner, &theirs));
    assert_fails(CR_INVALID, "no owner", cr_manifest_open(cr_buffer_slice(&theirs), &back));
    assert_fails(CR_INVALID, "COSE_Sign1", cr_manifest_open(cr_buffer_slice(&payload), &back));
}

static void test_files(void **state)
{
    (void)state;
    const char *path = in_directory("job.cbor");
    struct cr_manifest manifest = sample();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_manifest_release) struct cr_manifest back = {0};
    assert_ok(cr_manifest_write(&manifest, &bytes));
    write_bytes(path, cr_buffer_slice(&bytes));
    assert_ok(cr_manifest_read(path, &back, NULL));
    assert_false(back.has_owner);
    cr_manifest_release(&back);
    cr_buffer_clear(&bytes);
    assert_ok(cr_manifest_sign(&manifest, owner, &bytes));
    write_bytes(path, cr_buffer_slice(&bytes));
    assert_ok(cr_manifest_read(path, &back, NULL));
    assert_true(back.has_owner);
    cr_manifest_release(&back);
    cr_buffer_clear(&bytes);
    assert_ok(cr_manifest_write(&manifest, &bytes)); // the owner is named, and nobody signed
    write_bytes(path, cr_buffer_slice(&bytes));
    assert_fails(CR_INVALID, path, cr_manifest_read(path, &back, NULL));
}

static void test_what_is_not_written(void **state)
{
    (void)state;
    static struct cr_manifest_silo twice[] = {{.name = "ben"}, {.name = "ben"}}, wrong[] = {{.name = "Ben"}};
    static struct cr_manifest_silo many[CR_MANIFEST_SILOS + 1];
    static char no_policy[] = "no_such_key: 1\n", escape[] = "\x1b[2J", large[CR_MANIFEST_LIMIT + 1];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    struct cr_manifest manifest = sample();
    manifest.roster = twice;
    assert_fails(CR_INVALID, "roster", cr_manifest_write(&manifest, &out));
    manifest.roster = wrong;
    manifest.roster_count = 1;
    assert_fails(CR_INVALID, "roster", cr_manifest_write(&manifest, &out));
    manifest = sample();
    manifest.policy = no_policy;
    assert_fails(CR_INVALID, "no_such_key", cr_manifest_write(&manifest, &out));
    manifest.policy = escape;
    assert_fails(CR_INVALID, "plain", cr_manifest_write(&manifest, &out));
    manifest = sample();
    manifest.settings = NULL;
    assert_fails(CR_INVALID, "settings", cr_manifest_write(&manifest, &out));
    manifest = sample();
    manifest.time_floor = -1;
    assert_fails(CR_INVALID, "1970", cr_manifest_write(&manifest, &out));
    manifest = sample();
    manifest.roster = many;
    manifest.roster_count = CR_MANIFEST_SILOS + 1;
    assert_fails(CR_INVALID, "roster has more than", cr_manifest_write(&manifest, &out));
    memset(large, ' ', sizeof large - 1);
    manifest = sample();
    manifest.settings = large;
    assert_fails(CR_INVALID, "more than", cr_manifest_sign(&manifest, owner, &out));
    assert_int_equal(out.size, 0);
}

static void test_program_and_time(void **state)
{
    (void)state;
    struct cr_manifest manifest = sample();
    uint64_t own[3];
    cr_manifest_program(own);
    const int64_t floor = manifest.time_floor;
    memcpy(manifest.version, own, sizeof own);
    assert_ok(cr_manifest_check(&manifest, floor));
    assert_fails(CR_DENIED, "2025-12-31T23:59:59Z", cr_manifest_check(&manifest, floor - 1));
    for (size_t i = 0; i < 3; i++) {
        memcpy(manifest.version, own, sizeof own);
        manifest.version[i]++;
        for (size_t j = i + 1; j < 3; j++) manifest.version[j] = 0;
        assert_fails(CR_DENIED, "or later", cr_manifest_check(&manifest, floor));
    }
    manifest.version[0] = 0;
    manifest.version[1] = own[1] - 1;
    manifest.version[2] = UINT64_MAX;
    assert_ok(cr_manifest_check(&manifest, floor));
}

static void assert_differs(const struct cr_manifest *changed, const char *expected)
{
    struct cr_manifest first = sample(), second = *changed;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0}, bytes = {0};
    assert_ok(cr_manifest_sign(&first, owner, &bytes));
    if (!second.has_owner) assert_ok(cr_manifest_sign(&second, owner, &bytes));
    assert_ok(cr_append_format(&out, "in "));
    assert_ok(cr_manifest_difference(&first, &second, &out));
    assert_string_equal(cr_buffer_text(&out) + 3, expected);
    // What has a name has another digest too.
    assert_int_equal(memcmp(first.digest, second.digest, CR_SHA256_SIZE) == 0, expected[0] == 0);
}

static void test_differences(void **state)
{
    (void)state;
    struct cr_manifest changed = sample();
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_differs(&changed, "");
    changed.model[31] = 1;
    assert_differs(&changed, "the model");
    changed = sample();
    changed.tokenizer[31] = 1;
    assert_differs(&changed, "the tokenizer");
    changed = sample();
    changed.authority[31] = 1;
    assert_differs(&changed, "the federation's CA");
    changed = sample();
    changed.roster_count = 1;
    assert_differs(&changed, "the roster of silos");
    static struct cr_manifest_silo other_key[] = {{.name = "anne", .key = {1}}, {.name = "ben", .key = {3}}};
    changed = sample();
    changed.roster = other_key;
    assert_differs(&changed, "the roster of silos");
    changed = sample();
    changed.settings = other_release;
    assert_differs(&changed, "federation.release");
    changed = sample();
    changed.policy = other_policy;
    assert_differs(&changed, "the appraisal policy");
    changed.policy = NULL;
    assert_differs(&changed, "the appraisal policy");
    changed = sample();
    changed.version[2]++;
    assert_differs(&changed, "the least version of carrel");
    changed = sample();
    changed.time_floor++;
    assert_differs(&changed, "the earliest time");
    changed = sample();
    changed.collateral_floor++;
    assert_differs(&changed, "the earliest issue of collateral");
    changed = sample();
    changed.policy = other_policy;
    changed.settings = other_release;
    assert_ok(cr_manifest_sign(&changed, other, &bytes));
    assert_differs(&changed, "the owner's key, the appraisal policy, federation.release");
}

static void test_differences_of_settings(void **state)
{
    (void)state;
    static char more[] =
        "model_name_or_path: \"m\"\ndata:\n  train: \"x\"\nfederation:\n  rounds: 3\n  release: "
        "all\nsilos: []\n";
    static char less[] = "model_name_or_path: \"m\"\nfederation:\n  release: all\nsilos: []\n";
    static char spaced[] =
        "model_name_or_path: \"m\"\nfederation:\n  rounds: 3\n  release: all\nsilos: []\n\n";
    static char both[] = "model_name_or_path: \"m\"\ndata:\n  train: \"x\"\nfederation:\n  rounds: 4\n  "
                         "release: all\nsilos: []\n";
    struct cr_manifest changed = sample();
    changed.settings = more;
    assert_differs(&changed, "data.train");
    changed.settings = both;
    assert_differs(&changed, "federation.rounds, data.train");
    changed.settings = less;
    assert_differs(&changed, "federation.rounds");
    changed.settings = spaced;
    assert_differs(&changed, "the settings");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_any_other_byte_is_refused),
        cmocka_unit_test(test_one_form_alone),
        cmocka_unit_test(test_signed_by_its_owner),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_what_is_not_written),
        cmocka_unit_test(test_program_and_time),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_of_settings),
    };
    return cmocka_run_group_tests(tests, make_owners, free_owners);
}
