// Decodes bytes that were written as text in one of several encodings.
#ifndef CARREL_ATTESTATION_ENCODING_H
#define CARREL_ATTESTATION_ENCODING_H

#include "base/bytes.h"

struct cr_json;

// Appends the decoded bytes of hexadecimal (an even number of digits and nothing else) or base64 (either
// alphabet, padded or not); white space is ignored. CR_INVALID if it is neither.
enum cr_status cr_encoding_decode(struct cr_slice text, struct cr_buffer *out);

// Appends a JSON list of numbers below 256 as bytes; for other values *is_one is set to false, and the
// content of `out` is undefined.
enum cr_status cr_encoding_list(const struct cr_json *list, struct cr_buffer *out, bool *is_one);

// Appends either form. CR_INVALID if the value is neither.
enum cr_status cr_encoding_value(const struct cr_json *value, struct cr_buffer *out);

#endif
