#include "channel/token.h"

#include <string.h>

static const char prefix[] = "carrel2.";
enum { VERSION = 2, CHECKSUM_SIZE = 4 };

static const char *const roles[] = {NULL, "silo"};
enum { ROLES = sizeof roles / sizeof *roles };

void cr_token_release(struct cr_token *token)
{
    cr_wipe(token, sizeof *token);
}

enum cr_status cr_token_write(const struct cr_token *token, struct cr_buffer *text)
{
    uint8_t role = 0;
    for (uint8_t i = 1; i < ROLES; i++)
        if (strcmp(token->role, roles[i]) == 0) role = i;
    if (role == 0) return cr_fail(CR_INVALID, "there is no role \"%.63s\"", token->role);
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer bytes = {0};
    CR_TRY(cr_append_u8(&bytes, VERSION));
    CR_TRY(cr_append_u8(&bytes, role));
    CR_TRY(cr_append_u64(&bytes, (uint64_t)token->expires));
    CR_TRY(cr_append(&bytes, token->fingerprint, sizeof token->fingerprint));
    CR_TRY(cr_append(&bytes, token->job, sizeof token->job));
    CR_TRY(cr_append(&bytes, token->secret, sizeof token->secret));
    CR_TRY(cr_append_u8(&bytes, (uint8_t)strlen(token->name)));
    CR_TRY(cr_append(&bytes, token->name, strlen(token->name)));
    CR_TRY(cr_append_u16(&bytes, (uint16_t)strlen(token->address)));
    CR_TRY(cr_append(&bytes, token->address, strlen(token->address)));
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_sha256(cr_buffer_slice(&bytes), digest));
    CR_TRY(cr_append(&bytes, digest, CHECKSUM_SIZE));
    CR_TRY(cr_append(text, prefix, sizeof prefix - 1));
    return cr_base64url_append(text, cr_buffer_slice(&bytes));
}

static enum cr_status damaged(void)
{
    return cr_fail(CR_INVALID, "the join token is damaged (copy it whole, without spaces or line breaks)");
}

static enum cr_status read_text(struct cr_cursor *cursor, size_t size, char *out, size_t out_size)
{
    struct cr_slice bytes = cr_read_slice(cursor, size);
    if (cursor->failed || size >= out_size || memchr(bytes.data, 0, size)) return damaged();
    memcpy(out, bytes.data, size);
    out[size] = 0;
    return CR_OK;
}

static enum cr_status read_fields(struct cr_slice bytes, struct cr_token *token)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    unsigned version = cr_read_u8(&cursor);
    unsigned role = cr_read_u8(&cursor);
    token->expires = (int64_t)cr_read_u64(&cursor);
    struct cr_slice fingerprint = cr_read_slice(&cursor, CR_SHA256_SIZE);
    struct cr_slice job = cr_read_slice(&cursor, CR_SHA256_SIZE);
    struct cr_slice secret = cr_read_slice(&cursor, CR_SECRET_SIZE);
    if (cursor.failed || version != VERSION || role == 0 || role >= ROLES || token->expires < 0)
        return damaged();
    memcpy(token->fingerprint, fingerprint.data, fingerprint.size);
    memcpy(token->job, job.data, job.size);
    memcpy(token->secret, secret.data, secret.size);
    strcpy(token->role, roles[role]);
    CR_TRY(read_text(&cursor, cr_read_u8(&cursor), token->name, sizeof token->name));
    CR_TRY(read_text(&cursor, cr_read_u16(&cursor), token->address, sizeof token->address));
    if (cr_cursor_left(&cursor) != 0 || !cr_certificate_is_name(token->name)) return damaged();
    struct cr_address address;
    return cr_address_parse(token->address, &address);
}

enum cr_status cr_token_parse(const char *text, struct cr_token *out)
{
    size_t length = strnlen(text, CR_TOKEN_LIMIT);
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return cr_fail(CR_INVALID,
                       "that is no join token: one begins with \"%s\" (- reads it from standard input)",
                       prefix);
    if (length == CR_TOKEN_LIMIT) return damaged();
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer again = {0};
    struct cr_slice encoded = cr_slice_of_string(text + sizeof prefix - 1);
    enum cr_status status = cr_base64url_decode(encoded, &bytes);
    if (status == CR_NO_MEMORY) return status;
    if (status != CR_OK || bytes.size <= CHECKSUM_SIZE) return damaged();
    // A token has only one valid text: spare bits in the last character must be zero.
    CR_TRY(cr_base64url_append(&again, cr_buffer_slice(&bytes)));
    if (!cr_slice_equal(encoded, cr_buffer_slice(&again))) return damaged();
    struct cr_slice fields = {bytes.data, bytes.size - CHECKSUM_SIZE};
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_sha256(fields, digest));
    if (memcmp(digest, bytes.data + fields.size, CHECKSUM_SIZE) != 0) return damaged();
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_TRY(read_fields(fields, &token));
    *out = token;
    return CR_OK;
}
