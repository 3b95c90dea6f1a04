#include "format/cbor.h"

enum {
    MOST_DEPTH = 16,
    ONE_BYTE_FOLLOWS = 24,
    EIGHT_BYTES_FOLLOW = 27,
    LEAST_LONG_SIMPLE = 32, // smaller values have no two-byte form
};

static bool fail(struct cr_cursor *cursor)
{
    cursor->failed = true;
    return false;
}

// Reads the number of a head whose low five bits are `low`. It must be in the shortest form, unless it is the
// bits of a float.
static bool read_number(struct cr_cursor *cursor, unsigned low, bool is_float, uint64_t *out)
{
    if (low < ONE_BYTE_FOLLOWS) {
        *out = low;
        return true;
    }
    if (low > EIGHT_BYTES_FOLLOW) return fail(cursor); // reserved, or an indefinite length
    size_t size = (size_t)1 << (low - ONE_BYTE_FOLLOWS);
    uint64_t number = cr_read_big_endian(cursor, size);
    bool shorter = size == 1 ? number < ONE_BYTE_FOLLOWS : number >> (4 * size) == 0;
    if (cursor->failed || (shorter && !is_float)) return fail(cursor);
    *out = number;
    return true;
}

static bool read_simple(struct cr_cursor *cursor, unsigned low, struct cr_cbor_item *item)
{
    if (low <= ONE_BYTE_FOLLOWS) {
        item->kind = CR_CBOR_SIMPLE;
        return read_number(cursor, low, false, &item->number) &&
               (low < ONE_BYTE_FOLLOWS || item->number >= LEAST_LONG_SIMPLE || fail(cursor));
    }
    size_t at = cursor->at;
    item->kind = CR_CBOR_FLOAT;
    if (!read_number(cursor, low, true, &item->number)) return false;
    item->bytes = (struct cr_slice){cursor->data + at, cursor->at - at};
    return true;
}

bool cr_cbor_next(struct cr_cursor *cursor, struct cr_cbor_item *out)
{
    static const enum cr_cbor_kind kinds[] = {CR_CBOR_UNSIGNED, CR_CBOR_NEGATIVE, CR_CBOR_BYTES, CR_CBOR_TEXT,
                                              CR_CBOR_ARRAY,    CR_CBOR_MAP,      CR_CBOR_TAG};
    struct cr_cbor_item item = {0};
    uint8_t head = cr_read_u8(cursor);
    if (cursor->failed) return false;
    unsigned major = head >> 5, low = head & 0x1f;
    if (major == 7) {
        if (!read_simple(cursor, low, &item)) return false;
        *out = item;
        return true;
    }
    item.kind = kinds[major];
    if (!read_number(cursor, low, false, &item.number)) return false;
    size_t left = cr_cursor_left(cursor);
    if (item.kind == CR_CBOR_BYTES || item.kind == CR_CBOR_TEXT) {
        if (item.number > left) return fail(cursor);
        item.bytes = cr_read_slice(cursor, (size_t)item.number);
        if (item.kind == CR_CBOR_TEXT && !cr_utf8_valid(item.bytes, NULL)) return fail(cursor);
    }
    if ((item.kind == CR_CBOR_ARRAY && item.number > left) ||
        (item.kind == CR_CBOR_MAP && item.number > left / 2))
        return fail(cursor);
    *out = item;
    return true;
}

static bool skip(struct cr_cursor *cursor, size_t depth)
{
    struct cr_cbor_item item;
    if (depth > MOST_DEPTH) return fail(cursor);
    if (!cr_cbor_next(cursor, &item)) return false;
    uint64_t parts = item.kind == CR_CBOR_ARRAY ? item.number
                     : item.kind == CR_CBOR_MAP ? 2 * item.number
                     : item.kind == CR_CBOR_TAG ? 1
                                                : 0;
    for (uint64_t i = 0; i < parts; i++)
        if (!skip(cursor, depth + 1)) return false;
    return true;
}

bool cr_cbor_skip(struct cr_cursor *cursor)
{
    return skip(cursor, 1);
}

enum cr_status cr_cbor_append(struct cr_buffer *out, enum cr_cbor_kind kind, uint64_t number)
{
    unsigned major = (unsigned)kind; // kinds are in the order of the major types
    if (number < ONE_BYTE_FOLLOWS) return cr_append_u8(out, (uint8_t)(major << 5 | number));
    unsigned size = 0; // 2^size bytes follow
    while (size < 3 && number >> (8u << size) != 0) size++;
    CR_TRY(cr_append_u8(out, (uint8_t)(major << 5 | (ONE_BYTE_FOLLOWS + size))));
    for (unsigned left = 1u << size; left-- > 0;) CR_TRY(cr_append_u8(out, (uint8_t)(number >> 8 * left)));
    return CR_OK;
}

enum cr_status cr_cbor_append_bytes(struct cr_buffer *out, struct cr_slice bytes)
{
    CR_TRY(cr_cbor_append(out, CR_CBOR_BYTES, bytes.size));
    return cr_append(out, bytes.data, bytes.size);
}

enum cr_status cr_cbor_append_text(struct cr_buffer *out, struct cr_slice text)
{
    CR_TRY(cr_cbor_append(out, CR_CBOR_TEXT, text.size));
    return cr_append(out, text.data, text.size);
}
