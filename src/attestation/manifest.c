#include "attestation/manifest.h"

#include "attestation/appraisal_policy.h"
#include "attestation/cose.h"
#include "base/clock.h"
#include "base/file.h"
#include "format/cbor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char content_type[] = "application/vnd.carrel.job+cbor";

enum { VERSION = 1, VERSION_PARTS = 3 };

// Keys of the map.
enum {
    KEY_VERSION = 1,
    KEY_OWNER,
    KEY_MODEL,
    KEY_TOKENIZER,
    KEY_AUTHORITY,
    KEY_ROSTER,
    KEY_SETTINGS,
    KEY_POLICY,
    KEY_PROGRAM,
    KEY_TIME,
    KEY_COLLATERAL,
    KEYS = KEY_COLLATERAL
};

void cr_manifest_release(struct cr_manifest *manifest)
{
    free(manifest->roster);
    free(manifest->settings);
    free(manifest->policy);
    *manifest = (struct cr_manifest){0};
}

// The text is shown to people: it must not contain control characters for terminals.
static bool is_plain(const char *text)
{
    if (!cr_utf8_valid(cr_slice_of_string(text), NULL)) return false;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        uint32_t c = cr_utf8_next(&at);
        if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0)) return false;
    }
    return true;
}

static enum cr_status check_policy(const char *policy)
{
    struct cr_appraisal_policy parsed;
    CR_TRY(cr_appraisal_policy_parse(cr_slice_of_string(policy), "the job's appraisal policy", &parsed));
    cr_appraisal_policy_release(&parsed);
    return CR_OK;
}

static enum cr_status check(const struct cr_manifest *manifest)
{
    if (!manifest->settings || !is_plain(manifest->settings))
        return cr_fail(CR_INVALID, "the job's settings are no plain text");
    if (manifest->policy && !is_plain(manifest->policy))
        return cr_fail(CR_INVALID, "the job's appraisal policy is no plain text");
    if (manifest->policy) CR_TRY(check_policy(manifest->policy));
    if (manifest->roster_count > CR_MANIFEST_SILOS)
        return cr_fail(CR_INVALID, "the job's roster has more than %d silos", CR_MANIFEST_SILOS);
    for (size_t i = 0; i < manifest->roster_count; i++) {
        const char *name = manifest->roster[i].name;
        if (!cr_certificate_is_name(name) || (i > 0 && strcmp(manifest->roster[i - 1].name, name) >= 0))
            return cr_fail(CR_INVALID, "the job's roster is not a sorted list of names, each once");
    }
    if (manifest->time_floor < 0 || manifest->collateral_floor < 0)
        return cr_fail(CR_INVALID, "the job has a time before 1970");
    return CR_OK;
}

static enum cr_status append_key(struct cr_buffer *out, uint64_t key)
{
    return cr_cbor_append(out, CR_CBOR_UNSIGNED, key);
}

static enum cr_status append_bytes(struct cr_buffer *out, uint64_t key, const unsigned char *bytes,
                                   size_t size)
{
    CR_TRY(append_key(out, key));
    return cr_cbor_append_bytes(out, (struct cr_slice){bytes, size});
}

static enum cr_status append_text(struct cr_buffer *out, uint64_t key, const char *text)
{
    CR_TRY(append_key(out, key));
    return cr_cbor_append_text(out, cr_slice_of_string(text));
}

static enum cr_status append_number(struct cr_buffer *out, uint64_t key, uint64_t number)
{
    CR_TRY(append_key(out, key));
    return cr_cbor_append(out, CR_CBOR_UNSIGNED, number);
}

static enum cr_status append_roster(struct cr_buffer *out, const struct cr_manifest *manifest)
{
    CR_TRY(append_key(out, KEY_ROSTER));
    CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, manifest->roster_count));
    for (size_t i = 0; i < manifest->roster_count; i++) {
        const struct cr_manifest_silo *silo = &manifest->roster[i];
        CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, 2));
        CR_TRY(cr_cbor_append_text(out, cr_slice_of_string(silo->name)));
        CR_TRY(cr_cbor_append_bytes(out, (struct cr_slice){silo->key, sizeof silo->key}));
    }
    return CR_OK;
}

static enum cr_status append_payload(struct cr_buffer *out, const struct cr_manifest *manifest)
{
    size_t missing = (size_t)!manifest->has_owner + (size_t)!manifest->policy;
    CR_TRY(cr_cbor_append(out, CR_CBOR_MAP, KEYS - missing));
    CR_TRY(append_number(out, KEY_VERSION, VERSION));
    if (manifest->has_owner) CR_TRY(append_bytes(out, KEY_OWNER, manifest->owner, sizeof manifest->owner));
    CR_TRY(append_bytes(out, KEY_MODEL, manifest->model, CR_SHA256_SIZE));
    CR_TRY(append_bytes(out, KEY_TOKENIZER, manifest->tokenizer, CR_SHA256_SIZE));
    CR_TRY(append_bytes(out, KEY_AUTHORITY, manifest->authority, CR_SHA256_SIZE));
    CR_TRY(append_roster(out, manifest));
    CR_TRY(append_text(out, KEY_SETTINGS, manifest->settings));
    if (manifest->policy) CR_TRY(append_text(out, KEY_POLICY, manifest->policy));
    CR_TRY(append_key(out, KEY_PROGRAM));
    CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, VERSION_PARTS));
    for (size_t i = 0; i < VERSION_PARTS; i++)
        CR_TRY(cr_cbor_append(out, CR_CBOR_UNSIGNED, manifest->version[i]));
    CR_TRY(append_number(out, KEY_TIME, (uint64_t)manifest->time_floor));
    return append_number(out, KEY_COLLATERAL, (uint64_t)manifest->collateral_floor);
}

enum cr_status cr_manifest_write(const struct cr_manifest *manifest, struct cr_buffer *out)
{
    CR_TRY(check(manifest));
    return append_payload(out, manifest);
}

// Reads the next item of the payload; anything unexpected makes the cursor fail, which is checked once.
static bool next(struct cr_cursor *cursor, enum cr_cbor_kind kind, struct cr_cbor_item *out)
{
    if (!cr_cbor_next(cursor, out)) return false;
    if (out->kind != kind) cursor->failed = true;
    return !cursor->failed;
}

static uint64_t read_number(struct cr_cursor *cursor)
{
    struct cr_cbor_item item;
    return next(cursor, CR_CBOR_UNSIGNED, &item) ? item.number : 0;
}

static void read_bytes(struct cr_cursor *cursor, unsigned char *out, size_t size)
{
    struct cr_cbor_item item;
    if (!next(cursor, CR_CBOR_BYTES, &item)) return;
    if (item.bytes.size == size)
        memcpy(out, item.bytes.data, size);
    else
        cursor->failed = true;
}

static enum cr_status read_text(struct cr_cursor *cursor, char **out)
{
    struct cr_cbor_item item;
    if (!next(cursor, CR_CBOR_TEXT, &item)) return CR_OK;
    CR_TRY(cr_allocate(item.bytes.size + 1, 1, out));
    memcpy(*out, item.bytes.data, item.bytes.size);
    return CR_OK;
}

static void read_silo(struct cr_cursor *cursor, struct cr_manifest_silo *silo)
{
    struct cr_cbor_item item;
    if (!next(cursor, CR_CBOR_ARRAY, &item) || !next(cursor, CR_CBOR_TEXT, &item)) return;
    if (item.bytes.size < sizeof silo->name)
        memcpy(silo->name, item.bytes.data, item.bytes.size);
    else
        cursor->failed = true;
    read_bytes(cursor, silo->key, sizeof silo->key);
}

static enum cr_status read_roster(struct cr_cursor *cursor, struct cr_manifest *manifest)
{
    struct cr_cbor_item item;
    if (!next(cursor, CR_CBOR_ARRAY, &item) || item.number == 0) return CR_OK;
    if (item.number > CR_MANIFEST_SILOS) {
        cursor->failed = true;
        return CR_OK;
    }
    CR_TRY(cr_allocate((size_t)item.number, sizeof *manifest->roster, &manifest->roster));
    manifest->roster_count = (size_t)item.number;
    for (size_t i = 0; i < manifest->roster_count && !cursor->failed; i++)
        read_silo(cursor, &manifest->roster[i]);
    return CR_OK;
}

static enum cr_status read_member(struct cr_cursor *cursor, struct cr_manifest *manifest)
{
    struct cr_cbor_item item;
    switch (read_number(cursor)) {
    case KEY_VERSION:
        if (read_number(cursor) != VERSION) cursor->failed = true;
        return CR_OK;
    case KEY_OWNER:
        manifest->has_owner = true;
        read_bytes(cursor, manifest->owner, sizeof manifest->owner);
        return CR_OK;
    case KEY_MODEL:
        read_bytes(cursor, manifest->model, CR_SHA256_SIZE);
        return CR_OK;
    case KEY_TOKENIZER:
        read_bytes(cursor, manifest->tokenizer, CR_SHA256_SIZE);
        return CR_OK;
    case KEY_AUTHORITY:
        read_bytes(cursor, manifest->authority, CR_SHA256_SIZE);
        return CR_OK;
    case KEY_ROSTER:
        return manifest->roster ? CR_OK : read_roster(cursor, manifest);
    case KEY_SETTINGS:
        return manifest->settings ? CR_OK : read_text(cursor, &manifest->settings);
    case KEY_POLICY:
        return manifest->policy ? CR_OK : read_text(cursor, &manifest->policy);
    case KEY_PROGRAM:
        next(cursor, CR_CBOR_ARRAY, &item);
        for (size_t i = 0; i < VERSION_PARTS; i++) manifest->version[i] = read_number(cursor);
        return CR_OK;
    case KEY_TIME:
        manifest->time_floor = (int64_t)read_number(cursor);
        return CR_OK;
    case KEY_COLLATERAL:
        manifest->collateral_floor = (int64_t)read_number(cursor);
        return CR_OK;
    default:
        cursor->failed = true;
        return CR_OK;
    }
}

// A payload may parse without being canonical (members missing, repeated or in another order; wrong counts).
// So what was read is written again and compared with the bytes.
static enum cr_status read_payload(struct cr_slice payload, struct cr_manifest *manifest)
{
    static const char why[] = "that is no job manifest, or one of another version of carrel";
    struct cr_cursor cursor = cr_cursor_over(payload);
    struct cr_cbor_item item;
    if (next(&cursor, CR_CBOR_MAP, &item))
        for (uint64_t i = 0; i < item.number && !cursor.failed; i++) CR_TRY(read_member(&cursor, manifest));
    if (cursor.failed || cr_cursor_left(&cursor) > 0) return cr_fail(CR_INVALID, "%s", why);
    CR_TRY(check(manifest));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer again = {0};
    CR_TRY(append_payload(&again, manifest));
    if (!cr_slice_equal(cr_buffer_slice(&again), payload)) return cr_fail(CR_INVALID, "%s", why);
    return cr_sha256(payload, manifest->digest);
}

enum cr_status cr_manifest_parse(struct cr_slice payload, struct cr_manifest *out)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(read_payload(payload, &manifest));
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}

enum cr_status cr_manifest_sign(struct cr_manifest *manifest, const struct cr_identity *owner,
                                struct cr_buffer *out)
{
    struct cr_manifest with_owner = *manifest; // a shallow copy, which is only read
    CR_CLEANUP(cr_buffer_release) struct cr_buffer payload = {0}, message = {0};
    CR_TRY(cr_identity_point(owner, with_owner.owner));
    with_owner.has_owner = true;
    CR_TRY(cr_manifest_write(&with_owner, &payload));
    CR_TRY(cr_sha256(cr_buffer_slice(&payload), with_owner.digest));
    CR_TRY(cr_cose_sign(cr_buffer_slice(&payload), content_type, owner, &message));
    if (message.size > CR_MANIFEST_LIMIT)
        return cr_fail(CR_INVALID, "the job manifest has %zu bytes, more than %d", message.size,
                       CR_MANIFEST_LIMIT);
    CR_TRY(cr_append(out, message.data, message.size));
    *manifest = with_owner;
    return CR_OK;
}

enum cr_status cr_manifest_open(struct cr_slice bytes, struct cr_manifest *out)
{
    struct cr_slice payload, signature;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(cr_cose_parse(bytes, content_type, &payload, &signature));
    CR_TRY(read_payload(payload, &manifest));
    if (!manifest.has_owner) return cr_fail(CR_INVALID, "the job manifest names no owner");
    enum cr_status status = cr_cose_verify(payload, content_type, manifest.owner, signature);
    if (status == CR_DENIED)
        return cr_fail(CR_DENIED, "the job manifest is not signed by the owner that it names");
    CR_TRY(status);
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}

static enum cr_status read_either(struct cr_slice bytes, struct cr_manifest *out)
{
    struct cr_slice payload, signature;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    enum cr_status status = cr_cose_parse(bytes, content_type, &payload, &signature);
    if (status != CR_INVALID) return status == CR_OK ? cr_manifest_open(bytes, out) : status;
    CR_TRY(cr_manifest_parse(bytes, &manifest));
    if (manifest.has_owner)
        return cr_fail(CR_INVALID, "the job manifest names an owner, who has not signed it");
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}

enum cr_status cr_manifest_read(const char *path, struct cr_manifest *out, struct cr_buffer *form)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(cr_file_read(path, CR_MANIFEST_LIMIT, &bytes));
    enum cr_status status = read_either(cr_buffer_slice(&bytes), &manifest);
    if (status != CR_OK) return cr_fail_within(status, "%s", path);
    if (form) CR_TRY(cr_append(form, bytes.data, bytes.size));
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}

const struct cr_manifest_silo *cr_manifest_find(const struct cr_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->roster_count; i++)
        if (strcmp(manifest->roster[i].name, name) == 0) return &manifest->roster[i];
    return NULL;
}

enum cr_status cr_manifest_admits(const struct cr_manifest *manifest, const char *name,
                                  const unsigned char key[CR_SHA256_SIZE])
{
    if (manifest->roster_count == 0) return CR_OK;
    const struct cr_manifest_silo *silo = cr_manifest_find(manifest, name);
    if (!silo) return cr_fail(CR_DENIED, "%s is not in the job's roster of silos", name);
    if (memcmp(silo->key, key, CR_SHA256_SIZE) == 0) return CR_OK;
    return cr_fail(CR_DENIED, "%s has another key in the job's roster of silos", name);
}

void cr_manifest_program(uint64_t version[VERSION_PARTS])
{
    const char *at = CARREL_VERSION;
    for (size_t i = 0; i < VERSION_PARTS; i++) {
        char *end;
        version[i] = strtoull(at, &end, 10);
        at = end + (*end == '.');
    }
}

enum cr_status cr_manifest_check(const struct cr_manifest *manifest, int64_t now)
{
    uint64_t own[VERSION_PARTS];
    const uint64_t *least = manifest->version;
    size_t i = 0;
    cr_manifest_program(own);
    while (i < VERSION_PARTS - 1 && own[i] == least[i]) i++;
    if (own[i] < least[i])
        return cr_fail(CR_DENIED,
                       "the job asks for carrel %" PRIu64 ".%" PRIu64 ".%" PRIu64
                       " or later; this is " CARREL_VERSION,
                       least[0], least[1], least[2]);
    if (now < manifest->time_floor) {
        char clock[CR_CLOCK_TEXT_SIZE], floor[CR_CLOCK_TEXT_SIZE];
        cr_clock_format(now, clock);
        cr_clock_format(manifest->time_floor, floor);
        return cr_fail(CR_DENIED, "this machine's clock says %s, which is before the job's earliest time, %s",
                       clock, floor);
    }
    return CR_OK;
}
