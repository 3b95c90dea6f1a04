#include "channel/binding.h"

#include "format/cbor.h"

#include <string.h>

static const char label[] = "carrel attested channel";

enum { VERSION = 1, ITEMS = 9 };

static enum cr_status append_digest(struct cr_buffer *out, const unsigned char digest[CR_SHA256_SIZE])
{
    return cr_cbor_append_bytes(out, (struct cr_slice){digest, CR_SHA256_SIZE});
}

enum cr_status cr_binding_write(const struct cr_binding *binding, struct cr_buffer *out)
{
    CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, ITEMS));
    CR_TRY(cr_cbor_append_text(out, cr_slice_of_string(label)));
    CR_TRY(cr_cbor_append(out, CR_CBOR_UNSIGNED, VERSION));
    CR_TRY(cr_cbor_append_text(out, cr_slice_of_string(binding->role)));
    CR_TRY(append_digest(out, binding->challenge));
    CR_TRY(append_digest(out, binding->nonce));
    CR_TRY(append_digest(out, binding->exporter));
    CR_TRY(append_digest(out, binding->attester_key));
    CR_TRY(append_digest(out, binding->verifier_key));
    return append_digest(out, binding->job);
}

static bool read_item(struct cr_cursor *cursor, enum cr_cbor_kind kind, struct cr_cbor_item *out)
{
    return cr_cbor_next(cursor, out) && out->kind == kind;
}

static bool read_text(struct cr_cursor *cursor, struct cr_slice *out)
{
    struct cr_cbor_item item;
    if (!read_item(cursor, CR_CBOR_TEXT, &item)) return false;
    *out = item.bytes;
    return true;
}

static bool read_digest(struct cr_cursor *cursor, unsigned char out[CR_SHA256_SIZE])
{
    struct cr_cbor_item item;
    if (!read_item(cursor, CR_CBOR_BYTES, &item) || item.bytes.size != CR_SHA256_SIZE) return false;
    memcpy(out, item.bytes.data, CR_SHA256_SIZE);
    return true;
}

// A role must have the characters of a name, since messages show it.
static bool take_role(struct cr_slice text, char out[CR_NAME_SIZE])
{
    if (text.size >= CR_NAME_SIZE || memchr(text.data, 0, text.size)) return false;
    memcpy(out, text.data, text.size);
    out[text.size] = 0;
    return cr_certificate_is_name(out);
}

enum cr_status cr_binding_parse(struct cr_slice cbor, struct cr_binding *out)
{
    struct cr_binding binding;
    struct cr_cursor cursor = cr_cursor_over(cbor);
    struct cr_cbor_item item;
    struct cr_slice text;
    if (!read_item(&cursor, CR_CBOR_ARRAY, &item) || item.number != ITEMS || !read_text(&cursor, &text) ||
        !cr_slice_equal(text, cr_slice_of_string(label)) || !read_item(&cursor, CR_CBOR_UNSIGNED, &item))
        return cr_fail(CR_PROTOCOL, "what its evidence is bound to is nothing of an attested channel's");
    if (item.number != VERSION)
        return cr_fail(CR_PROTOCOL, "its evidence is of version %llu of the attested channel, not %d",
                       (unsigned long long)item.number, VERSION);
    if (!read_text(&cursor, &text) || !take_role(text, binding.role) ||
        !read_digest(&cursor, binding.challenge) || !read_digest(&cursor, binding.nonce) ||
        !read_digest(&cursor, binding.exporter) || !read_digest(&cursor, binding.attester_key) ||
        !read_digest(&cursor, binding.verifier_key) || !read_digest(&cursor, binding.job) ||
        cr_cursor_left(&cursor) > 0)
        return cr_fail(CR_PROTOCOL, "what its evidence is bound to is malformed");
    *out = binding;
    return CR_OK;
}

static bool same(const unsigned char a[CR_SHA256_SIZE], const unsigned char b[CR_SHA256_SIZE])
{
    return memcmp(a, b, CR_SHA256_SIZE) == 0;
}

enum cr_status cr_binding_compare(const struct cr_binding *shown, const struct cr_binding *expected,
                                  const struct cr_binding *own)
{
    if (strcmp(shown->role, own->role) == 0 && same(shown->challenge, own->challenge) &&
        same(shown->nonce, own->nonce) && same(shown->attester_key, own->attester_key))
        return cr_fail(CR_DENIED, "it sent this end's own evidence back (reflected)");
    if (strcmp(shown->role, expected->role) != 0)
        return cr_fail(CR_DENIED, "its evidence is of a %s, and its certificate a %s's", shown->role,
                       expected->role);
    if (!same(shown->challenge, expected->challenge))
        return cr_fail(CR_DENIED, "its evidence answers another challenge (replayed)");
    if (!same(shown->attester_key, expected->attester_key))
        return cr_fail(CR_DENIED, "its evidence is of another certificate's owner (relayed)");
    if (!same(shown->verifier_key, expected->verifier_key))
        return cr_fail(CR_DENIED, "its evidence was made for somebody else (relayed)");
    if (!same(shown->nonce, expected->nonce) || !same(shown->exporter, expected->exporter))
        return cr_fail(CR_DENIED, "its evidence is of another connection (relayed)");
    if (!same(shown->job, expected->job))
        return cr_fail(CR_DENIED, "its evidence is for another job, or for another appraisal policy");
    return CR_OK;
}

enum cr_status cr_binding_report_data(struct cr_slice cbor, bool of_tpm,
                                      unsigned char out[CR_REPORT_DATA_SIZE])
{
    unsigned char data[CR_REPORT_DATA_SIZE] = {0};
    CR_TRY(of_tpm ? cr_sha256(cbor, data) : cr_sha512(cbor, data));
    memcpy(out, data, sizeof data);
    return CR_OK;
}
