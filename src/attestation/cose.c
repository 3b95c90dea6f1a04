#include "attestation/cose.h"

#include "crypto/signature.h"
#include "format/cbor.h"

enum { SIGN1 = 18, ALGORITHM = 1, CONTENT_TYPE = 3, ES256 = -1 - (-7) }; // CBOR stores −7 as 6

static enum cr_status append_protected(struct cr_buffer *out, const char *content_type)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer map = {0};
    CR_TRY(cr_cbor_append(&map, CR_CBOR_MAP, 2));
    CR_TRY(cr_cbor_append(&map, CR_CBOR_UNSIGNED, ALGORITHM));
    CR_TRY(cr_cbor_append(&map, CR_CBOR_NEGATIVE, ES256));
    CR_TRY(cr_cbor_append(&map, CR_CBOR_UNSIGNED, CONTENT_TYPE));
    CR_TRY(cr_cbor_append_text(&map, cr_slice_of_string(content_type)));
    return cr_cbor_append_bytes(out, cr_buffer_slice(&map));
}

// Appends what is signed: the Sig_structure of RFC 9052, section 4.4.
static enum cr_status append_signed(struct cr_buffer *out, const char *content_type, struct cr_slice payload)
{
    CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, 4));
    CR_TRY(cr_cbor_append_text(out, cr_slice_of_string("Signature1")));
    CR_TRY(append_protected(out, content_type));
    CR_TRY(cr_cbor_append_bytes(out, (struct cr_slice){NULL, 0})); // no external data
    return cr_cbor_append_bytes(out, payload);
}

// Appends everything before the payload.
static enum cr_status append_start(struct cr_buffer *out, const char *content_type)
{
    CR_TRY(cr_cbor_append(out, CR_CBOR_TAG, SIGN1));
    CR_TRY(cr_cbor_append(out, CR_CBOR_ARRAY, 4));
    CR_TRY(append_protected(out, content_type));
    return cr_cbor_append(out, CR_CBOR_MAP, 0);
}

enum cr_status cr_cose_sign(struct cr_slice payload, const char *content_type,
                            const struct cr_identity *signer, struct cr_buffer *out)
{
    unsigned char signature[CR_IDENTITY_SIGNATURE_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    CR_TRY(append_signed(&message, content_type, payload));
    CR_TRY(cr_identity_sign(signer, cr_buffer_slice(&message), signature));
    cr_buffer_clear(&message);
    CR_TRY(append_start(&message, content_type));
    CR_TRY(cr_cbor_append_bytes(&message, payload));
    CR_TRY(cr_cbor_append_bytes(&message, (struct cr_slice){signature, sizeof signature}));
    return cr_append(out, message.data, message.size);
}

enum cr_status cr_cose_parse(struct cr_slice bytes, const char *content_type, struct cr_slice *payload,
                             struct cr_slice *signature)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer start = {0};
    CR_TRY(append_start(&start, content_type));
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_cbor_item first, second;
    if (!cr_slice_equal(cr_read_slice(&cursor, start.size), cr_buffer_slice(&start)) ||
        !cr_cbor_next(&cursor, &first) || first.kind != CR_CBOR_BYTES || !cr_cbor_next(&cursor, &second) ||
        second.kind != CR_CBOR_BYTES || second.bytes.size != CR_IDENTITY_SIGNATURE_SIZE ||
        cr_cursor_left(&cursor) > 0)
        return cr_fail(CR_INVALID, "no COSE_Sign1 message of %s", content_type);
    *payload = first.bytes;
    *signature = second.bytes;
    return CR_OK;
}

enum cr_status cr_cose_verify(struct cr_slice payload, const char *content_type,
                              const unsigned char key[CR_IDENTITY_POINT_SIZE], struct cr_slice signature)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    CR_TRY(append_signed(&message, content_type, payload));
    return cr_ecdsa_verify((struct cr_slice){key, CR_IDENTITY_POINT_SIZE}, cr_buffer_slice(&message),
                           signature);
}
