#include "attestation/development.h"
#include "format/cbor.h"

#include <string.h>

enum {
    LIST_OF_FOUR = 0x84,
    TEXT_OF_ONE_BYTE_LENGTH = 0x78,
    TEXT_AT = 3, // after the heads of list and text
    TEXT_SIZE = sizeof CR_DEVELOPMENT_TEXT - 1,
    SIGNATURE_ITEM = 2 + CR_DEVELOPMENT_PART,
};

bool cr_development_is_one(struct cr_slice bytes)
{
    return bytes.size >= TEXT_AT + TEXT_SIZE && bytes.data[0] == LIST_OF_FOUR &&
           bytes.data[1] == TEXT_OF_ONE_BYTE_LENGTH && bytes.data[2] == TEXT_SIZE &&
           memcmp(bytes.data + TEXT_AT, CR_DEVELOPMENT_TEXT, TEXT_SIZE) == 0;
}

static bool read_part(struct cr_cursor *cursor, struct cr_slice *out)
{
    struct cr_cbor_item item;
    if (!cr_cbor_next(cursor, &item) || item.kind != CR_CBOR_BYTES || item.bytes.size != CR_DEVELOPMENT_PART)
        return false;
    *out = item.bytes;
    return true;
}

enum cr_status cr_development_parse(struct cr_slice bytes, struct cr_development *out)
{
    struct cr_development parsed;
    struct cr_cursor cursor = cr_cursor_over(bytes);
    if (!cr_development_is_one(bytes))
        return cr_fail(CR_INVALID, "development evidence: it does not begin as such evidence does");
    cr_read_slice(&cursor, TEXT_AT + TEXT_SIZE);
    if (!read_part(&cursor, &parsed.report_data) || !read_part(&cursor, &parsed.key) ||
        !read_part(&cursor, &parsed.signature) || cr_cursor_left(&cursor) > 0)
        return cr_fail(CR_INVALID,
                       "development evidence: behind its text there are not three strings of %d "
                       "bytes and nothing else",
                       CR_DEVELOPMENT_PART);
    parsed.signed_part = (struct cr_slice){bytes.data, bytes.size - SIGNATURE_ITEM};
    *out = parsed;
    return CR_OK;
}
