// Bytes that were written as text, in whichever way.
#ifndef CARREL_ATTESTATION_ENCODING_H
#define CARREL_ATTESTATION_ENCODING_H

#include "base/bytes.h"

// Appends what the text stands for: hexadecimal (an even number of digits and nothing else) or base64 (either
// alphabet, padded or not); white space does not count. CR_INVALID where it is neither.
enum cr_status cr_encoding_decode(struct cr_slice text, struct cr_buffer *out);

#endif
