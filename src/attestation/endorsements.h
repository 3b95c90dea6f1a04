// Endorsements: vendors' statements about their hardware, kept as files: certificates, revocation lists, and
// Intel's signed JSON (TCB infos and QE identities). The files' keeper need not be trusted, since everything
// is signed.
#ifndef CARREL_ATTESTATION_ENDORSEMENTS_H
#define CARREL_ATTESTATION_ENDORSEMENTS_H

#include "crypto/x509.h"

struct cr_json;

enum cr_statement_kind { CR_TCB_INFO_SGX, CR_TCB_INFO_TDX, CR_QE_IDENTITY, CR_TD_QE_IDENTITY };

// One signed JSON object; `body` is the object, `text` the bytes that are signed.
struct cr_statement {
    enum cr_statement_kind kind;
    struct cr_buffer text;
    struct cr_json *body;
    unsigned char signature[64];
    int64_t issued, next; // when it was issued, and when the next one is due
    size_t evaluation;    // tcbEvaluationDataNumber: a higher one includes later findings
};

struct cr_endorsements {
    struct cr_x509_pool *pool;
    struct cr_statement *statements;
    size_t count;
    struct cr_buffer
        *brought; // evidence that may vouch for a TPM's key: what Azure's paravisor keeps, and quotes
    size_t brought_count;
};

enum cr_status cr_endorsements_new(struct cr_endorsements **out);
void cr_endorsements_free(struct cr_endorsements *endorsements);     // NULL is allowed
void cr_endorsements_release(struct cr_endorsements **endorsements); // for CR_CLEANUP

// Adds everything that it recognises in the bytes: PEM, DER, either as hexadecimal or base64, Intel's answers
// ({"tcbInfo": ..., "signature": ...}), JSON objects that contain any of these (collateral in DCAP's form,
// evidence with its certificates), and evidence that may vouch for a TPM's key. Anything else is skipped.
enum cr_status cr_endorsements_add(struct cr_endorsements *endorsements, struct cr_slice bytes);

// The same for a file, or for all files in a directory and its subdirectories. Skipped: files above 1 MiB,
// and names in a directory that begin with a dot.
enum cr_status cr_endorsements_read(struct cr_endorsements *endorsements, const char *path);

#endif
