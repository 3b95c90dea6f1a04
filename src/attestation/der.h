// Reads DER one element at a time, for vendors' extensions in certificates.
#ifndef CARREL_ATTESTATION_DER_H
#define CARREL_ATTESTATION_DER_H

#include "base/bytes.h"

enum {
    CR_DER_INTEGER = 0x02,
    CR_DER_OCTETS = 0x04,
    CR_DER_OID = 0x06,
    CR_DER_IA5 = 0x16,
    CR_DER_SEQUENCE = 0x30,
};

// Reads the content of the next element, which must have this tag and the shortest form of length; otherwise
// returns {NULL, 0} and sets `failed`. Tags of several bytes are not supported.
struct cr_slice cr_der_read(struct cr_cursor *cursor, uint8_t tag);

// Reads the next element as a non-negative INTEGER below 2^32; otherwise returns 0 and sets `failed`.
uint32_t cr_der_read_number(struct cr_cursor *cursor);

#endif
