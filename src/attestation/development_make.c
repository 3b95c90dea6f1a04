#include "attestation/development.h"
#include "crypto/identity.h"

enum { BYTES_OF_ONE_BYTE_LENGTH = 0x58 };

static enum cr_status append_part(struct cr_buffer *out, const unsigned char part[CR_DEVELOPMENT_PART])
{
    CR_TRY(cr_append_u8(out, BYTES_OF_ONE_BYTE_LENGTH));
    CR_TRY(cr_append_u8(out, CR_DEVELOPMENT_PART));
    return cr_append(out, part, CR_DEVELOPMENT_PART);
}

static enum cr_status make(const struct cr_identity *identity, const unsigned char *report_data,
                           struct cr_buffer *out)
{
    static const unsigned char heads[] = {0x84, 0x78, sizeof CR_DEVELOPMENT_TEXT - 1}; // a list of 4; a text
    unsigned char key[CR_DEVELOPMENT_PART], signature[CR_DEVELOPMENT_PART];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer made = {0};
    CR_TRY(cr_identity_point(identity, key));
    CR_TRY(cr_append(&made, heads, sizeof heads));
    CR_TRY(cr_append(&made, CR_DEVELOPMENT_TEXT, sizeof CR_DEVELOPMENT_TEXT - 1));
    CR_TRY(append_part(&made, report_data));
    CR_TRY(append_part(&made, key));
    CR_TRY(cr_identity_sign(identity, cr_buffer_slice(&made), signature));
    CR_TRY(append_part(&made, signature));
    return cr_append(out, made.data, made.size);
}

enum cr_status cr_development_make(const unsigned char report_data[CR_DEVELOPMENT_PART],
                                   struct cr_buffer *out)
{
    struct cr_identity *identity;
    CR_TRY(cr_identity_new(&identity));
    enum cr_status status = make(identity, report_data, out);
    cr_identity_free(identity);
    return status;
}
