// CBOR (RFC 8949), read strictly and without memory of its own: item by item through a cursor; and written.
//
// Refused, as what two readers could take for different things: lengths that are not given (indefinite),
// numbers not written in the shortest way, text that is not UTF-8, tags and values that RFC 8949 does not
// assign a form to.
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
    CR_CBOR_TAG,      // one item follows, which it marks with number
    CR_CBOR_SIMPLE,   // number: 20 false, 21 true, 22 null, 23 undefined
    CR_CBOR_FLOAT,    // bytes: 2, 4 or 8, big-endian
};

struct cr_cbor_item {
    enum cr_cbor_kind kind;
    uint64_t number;
    struct cr_slice bytes; // in the cursor's bytes
};

// Reads the next item, without those that follow as its parts. False, with the cursor failed, where there is
// none. Counts of arrays and maps are no more than the bytes that are left could hold.
bool cr_cbor_next(struct cr_cursor *cursor, struct cr_cbor_item *out);

// Passes over one item with all its parts; false, with the cursor failed, where it is malformed or deeper
// than 16.
bool cr_cbor_skip(struct cr_cursor *cursor);

// Appends the head of an item in the shortest form: of a number, a tag or a simple value the whole item but
// what a tag marks, of an array or a map its count. Not for bytes, text and floats.
enum cr_status cr_cbor_append(struct cr_buffer *out, enum cr_cbor_kind kind, uint64_t number);
enum cr_status cr_cbor_append_bytes(struct cr_buffer *out, struct cr_slice bytes);
enum cr_status cr_cbor_append_text(struct cr_buffer *out, struct cr_slice text); // which is valid UTF-8

#endif
