// What evidence on a connection is bound to: its report data are the hash of this, in CBOR.
//
// It travels beside the evidence, so that a verifier can tell what is wrong with evidence that was made for
// something else. Nothing in it is believed: the hash must be the evidence's, and every field what the
// verifier knows by itself.
#ifndef CARREL_CHANNEL_BINDING_H
#define CARREL_CHANNEL_BINDING_H

#include "attestation/evidence.h"
#include "channel/tls.h"

enum { CR_NONCE_SIZE = 32 };

struct cr_binding {
    char role[CR_NAME_SIZE];                      // the attester's, out of its certificate
    unsigned char challenge[CR_NONCE_SIZE];       // the verifier's nonce
    unsigned char nonce[CR_NONCE_SIZE];           // the attester's own, which it sent as its challenge
    unsigned char exporter[CR_TLS_EXPORTER_SIZE]; // of this TLS connection (cr_tls_export)
    unsigned char attester_key[CR_SHA256_SIZE], verifier_key[CR_SHA256_SIZE]; // as in struct cr_peer
    unsigned char job[CR_SHA256_SIZE];
};

// Appends the CBOR: an array of a label, the version 1, and the fields in the order above; deterministic
// (RFC 8949, section 4.2).
enum cr_status cr_binding_write(const struct cr_binding *binding, struct cr_buffer *out);

// Reads exactly what cr_binding_write writes; anything else is CR_PROTOCOL.
enum cr_status cr_binding_parse(struct cr_slice cbor, struct cr_binding *out);

// Whether evidence is for what the verifier expects. Where not: CR_DENIED, and the sentence says what kind of
// evidence it is instead. `own` is what the verifier's own evidence on this connection is bound to.
enum cr_status cr_binding_compare(const struct cr_binding *shown, const struct cr_binding *expected,
                                  const struct cr_binding *own);

// The report data of evidence that is bound to it: the SHA-512 of the CBOR; of a TPM, whose quotes hold 32
// bytes, the SHA-256 and zeros.
enum cr_status cr_binding_report_data(struct cr_slice cbor, bool of_tpm,
                                      unsigned char out[CR_REPORT_DATA_SIZE]);

#endif
