// Bytes that were written as text, in whichever way.
#ifndef CARREL_ATTESTATION_ENCODING_H
#define CARREL_ATTESTATION_ENCODING_H

#include "base/bytes.h"

struct cr_json;

// Appends what the text stands for: hexadecimal (an even number of digits and nothing else) or base64 (either
// alphabet, padded or not); white space does not count. CR_INVALID where it is neither.
enum cr_status cr_encoding_decode(struct cr_slice text, struct cr_buffer *out);

// A list of JSON with numbers below 256 as the bytes that they are; *is_one is false, and `out` of no use,
// for others.
enum cr_status cr_encoding_list(const struct cr_json *list, struct cr_buffer *out, bool *is_one);

// Either, whichever the value is. CR_INVALID where it is neither.
enum cr_status cr_encoding_value(const struct cr_json *value, struct cr_buffer *out);

#endif
