// CBOR (RFC 8949): strict reading, item by item through a cursor and without allocation; and writing.
//
// Refused, since two readers could take it differently: indefinite lengths, numbers that are not in their
// shortest form, text that is not UTF-8, and encodings that RFC 8949 reserves.
#ifndef CARREL_FORMAT_CBOR_H
#define CARREL_FORMAT_CBOR_H

#include "base/bytes.h"

enum cr_cbor_kind {
    CR_CBOR_UNSIGNED, // number
    CR_CBOR_NEGATIVE, // −1 − number
    CR_CBOR_BYTES,    // bytes
    CR_CBOR_TEXT,     // bytes
    CR_CBOR_ARRAY,    // number items follow
    CR_CBOR_MAP,      // number pairs of items follow
    CR_CBOR_TAG,      // tag number; the tagged item follows
    CR_CBOR_SIMPLE,   // number: 20 false, 21 true, 22 null, 23 undefined
    CR_CBOR_FLOAT,    // bytes: 2, 4 or 8, big-endian
};

struct cr_cbor_item {
    enum cr_cbor_kind kind;
    uint64_t number;
    struct cr_slice bytes; // borrowed from the cursor's bytes
};

// Reads the next item's head, and its bytes if it has any; items that it contains follow separately. False,
// and the cursor fails, if there is none or it is malformed. The count of an array or map never exceeds what
// the remaining bytes could hold.
bool cr_cbor_next(struct cr_cursor *cursor, struct cr_cbor_item *out);

// Skips one item with everything that it contains; false, and the cursor fails, if it is malformed or nested
// deeper than 16.
bool cr_cbor_skip(struct cr_cursor *cursor);

// Appends the head of an item in its shortest form. That is a whole number or simple value; the tagged item
// follows a tag, and `number` items or pairs follow an array or map. Not for bytes, text and floats.
enum cr_status cr_cbor_append(struct cr_buffer *out, enum cr_cbor_kind kind, uint64_t number);
enum cr_status cr_cbor_append_bytes(struct cr_buffer *out, struct cr_slice bytes);
enum cr_status cr_cbor_append_text(struct cr_buffer *out, struct cr_slice text); // must be valid UTF-8

#endif
