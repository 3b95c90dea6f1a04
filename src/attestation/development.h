// Evidence of the development attester: a software key says what it was asked to say, which proves nothing.
// It is there so that all that handles evidence can be tried on machines without a TEE.
//
// Its form is carrel's own, in CBOR: [a text that says so, report data, key, signature], the last three
// strings of 64 bytes. The key is a point x ‖ y of P-256; the signature r ‖ s is over all bytes before its
// own item.
#ifndef CARREL_ATTESTATION_DEVELOPMENT_H
#define CARREL_ATTESTATION_DEVELOPMENT_H

#include "base/bytes.h"

#define CR_DEVELOPMENT_TEXT "carrel development evidence, which proves nothing: a software key signed it"

enum { CR_DEVELOPMENT_PART = 64 };

// All slices lie in the evidence's bytes.
struct cr_development {
    struct cr_slice report_data, key, signature, signed_part;
};

// Whether the bytes begin as such evidence does, well-formed or not.
bool cr_development_is_one(struct cr_slice bytes);

// CR_INVALID for anything but the form above, to the last byte. The signature is not verified.
enum cr_status cr_development_parse(struct cr_slice bytes, struct cr_development *out);

// Appends evidence by a key that is drawn for it and forgotten. CR_UNSUPPORTED in the build for TEEs, which
// has no such attester.
enum cr_status cr_development_make(const unsigned char report_data[CR_DEVELOPMENT_PART],
                                   struct cr_buffer *out);

#endif
