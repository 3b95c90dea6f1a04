// COSE_Sign1 (RFC 9052) by P-256 keys (ES256): one payload, one signature, and nothing that could be written
// in two ways.
#ifndef CARREL_ATTESTATION_COSE_H
#define CARREL_ATTESTATION_COSE_H

#include "crypto/identity.h"

// Appends the tagged message: protected header {1: -7, 3: content type}, no unprotected one, the payload.
enum cr_status cr_cose_sign(struct cr_slice payload, const char *content_type,
                            const struct cr_identity *signer, struct cr_buffer *out);

// Takes exactly what cr_cose_sign writes for that content type, whoever signed: *payload and *signature lie
// in the bytes. CR_INVALID for anything else. The signature is not verified.
enum cr_status cr_cose_parse(struct cr_slice bytes, const char *content_type, struct cr_slice *payload,
                             struct cr_slice *signature);

// CR_DENIED where the signature is not one over that payload and content type by the key x ‖ y.
enum cr_status cr_cose_verify(struct cr_slice payload, const char *content_type,
                              const unsigned char key[CR_IDENTITY_POINT_SIZE], struct cr_slice signature);

#endif
