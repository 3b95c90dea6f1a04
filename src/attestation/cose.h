// COSE_Sign1 (RFC 9052) with P-256 keys (ES256): one payload, one signature, in a single possible encoding.
#ifndef CARREL_ATTESTATION_COSE_H
#define CARREL_ATTESTATION_COSE_H

#include "crypto/identity.h"

// Appends the tagged message: protected header {1: -7, 3: content type}, empty unprotected header, payload,
// signature.
enum cr_status cr_cose_sign(struct cr_slice payload, const char *content_type,
                            const struct cr_identity *signer, struct cr_buffer *out);

// Parses exactly what cr_cose_sign writes for this content type, by any signer; *payload and *signature point
// into `bytes`. CR_INVALID for anything else. The signature is not verified.
enum cr_status cr_cose_parse(struct cr_slice bytes, const char *content_type, struct cr_slice *payload,
                             struct cr_slice *signature);

// CR_DENIED unless the signature is one over this payload and content type by the key x ‖ y.
enum cr_status cr_cose_verify(struct cr_slice payload, const char *content_type,
                              const unsigned char key[CR_IDENTITY_POINT_SIZE], struct cr_slice signature);

#endif
