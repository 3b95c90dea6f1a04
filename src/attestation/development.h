// Evidence of the development attester: signed by a software key, for any report data, so it proves nothing.
// It exists so that everything that handles evidence can be tried on machines without a TEE.
//
// The form is carrel's own, in CBOR: [a text that says so, report data, key, signature], the last three being
// strings of 64 bytes. The key is a point x ‖ y of P-256; the signature r ‖ s covers all bytes before its own
// item.
#ifndef CARREL_ATTESTATION_DEVELOPMENT_H
#define CARREL_ATTESTATION_DEVELOPMENT_H

#include "base/bytes.h"

#define CR_DEVELOPMENT_TEXT "carrel development evidence, which proves nothing: a software key signed it"

enum { CR_DEVELOPMENT_PART = 64 };

// All slices point into the evidence's bytes.
struct cr_development {
    struct cr_slice report_data, key, signature, signed_part;
};

// Whether the bytes start like such evidence, well-formed or not.
bool cr_development_is_one(struct cr_slice bytes);

// CR_INVALID for anything but exactly the form above. The signature is not verified.
enum cr_status cr_development_parse(struct cr_slice bytes, struct cr_development *out);

// Appends evidence signed by a new key, which is then discarded. CR_UNSUPPORTED in builds for TEEs, which
// have no such attester.
enum cr_status cr_development_make(const unsigned char report_data[CR_DEVELOPMENT_PART],
                                   struct cr_buffer *out);

#endif
