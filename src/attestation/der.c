#include "attestation/der.h"

static size_t fail(struct cr_cursor *cursor)
{
    cursor->failed = true;
    return 0;
}

static size_t read_length(struct cr_cursor *cursor)
{
    uint8_t first = cr_read_u8(cursor);
    if (first < 0x80) return first;
    size_t count = first & 0x7f, length = 0;
    if (count == 0 || count > 4) return fail(cursor); // indefinite length, or more than 4 GiB
    for (size_t i = 0; i < count; i++) {
        uint8_t next = cr_read_u8(cursor);
        if (i == 0 && next == 0) return fail(cursor);
        length = length << 8 | next;
    }
    return length < 0x80 ? fail(cursor) : length;
}

struct cr_slice cr_der_read(struct cr_cursor *cursor, uint8_t tag)
{
    if (cr_read_u8(cursor) != tag) cursor->failed = true;
    return cr_read_slice(cursor, read_length(cursor));
}

uint32_t cr_der_read_number(struct cr_cursor *cursor)
{
    struct cr_slice digits = cr_der_read(cursor, CR_DER_INTEGER);
    bool negative = digits.size > 0 && digits.data[0] & 0x80;
    bool padded = digits.size > 1 && digits.data[0] == 0 && !(digits.data[1] & 0x80);
    bool wide = digits.size > 5 || (digits.size == 5 && digits.data[0] != 0);
    if (digits.size == 0 || negative || padded || wide) return (uint32_t)fail(cursor);
    uint32_t number = 0;
    for (size_t i = 0; i < digits.size; i++) number = number << 8 | digits.data[i];
    return number;
}
