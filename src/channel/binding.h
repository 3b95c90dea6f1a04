// What evidence on a connection is bound to: its report data are a hash of this structure in CBOR.
//
// The structure is sent beside the evidence, so that a verifier can say what is wrong with evidence that was
// made for something else. It is not trusted: its hash must be the one in the evidence, and every field must
// have the value that the verifier knows by itself.
#ifndef CARREL_CHANNEL_BINDING_H
#define CARREL_CHANNEL_BINDING_H

#include "attestation/evidence.h"
#include "channel/tls.h"

enum { CR_NONCE_SIZE = 32 };

struct cr_binding {
    char role[CR_NAME_SIZE];                      // the attester's role, from its certificate
    unsigned char challenge[CR_NONCE_SIZE];       // the verifier's nonce
    unsigned char nonce[CR_NONCE_SIZE];           // the attester's own nonce, which it sent as its challenge
    unsigned char exporter[CR_TLS_EXPORTER_SIZE]; // of this TLS connection (cr_tls_export)
    unsigned char attester_key[CR_SHA256_SIZE], verifier_key[CR_SHA256_SIZE]; // as in struct cr_peer
    unsigned char job[CR_SHA256_SIZE];
};

// Appends the CBOR encoding: an array of a label, the version 1, and the fields in the order above. It is
// deterministic (RFC 8949, section 4.2).
enum cr_status cr_binding_write(const struct cr_binding *binding, struct cr_buffer *out);

// Reads what cr_binding_write writes; anything else is CR_PROTOCOL.
enum cr_status cr_binding_parse(struct cr_slice cbor, struct cr_binding *out);

// Whether evidence was made for what the verifier expects. If not, fails with CR_DENIED and a message that
// says what it was made for instead. `own` is what the verifier's own evidence on this connection is bound
// to.
enum cr_status cr_binding_compare(const struct cr_binding *shown, const struct cr_binding *expected,
                                  const struct cr_binding *own);

// Computes the report data of evidence bound to `cbor`: its SHA-512; for a TPM, whose quotes hold 32 bytes,
// its SHA-256 followed by zeros.
enum cr_status cr_binding_report_data(struct cr_slice cbor, bool of_tpm,
                                      unsigned char out[CR_REPORT_DATA_SIZE]);

#endif
