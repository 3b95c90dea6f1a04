// The audit log: who was admitted on what grounds, and who was refused. It is a file of JSON lines. Each line
// ends with its own SHA-256 and contains that of the previous line, so a line that is changed, removed or
// moved is detected at the next one.
//
// Whoever can write the file can of course replace the whole chain. It reveals changes only to somebody who
// knows one of the log's later digests.
#ifndef CARREL_ATTESTATION_AUDIT_H
#define CARREL_ATTESTATION_AUDIT_H

#include "crypto/hash.h"

// One appraisal. Texts of an entry that is read are valid until the callback that receives it returns.
struct cr_audit_entry {
    uint64_t number; // line number, from 1; set by the log
    int64_t time;    // seconds since 1970
    const char *peer, *role, *address;
    unsigned char key[CR_SHA256_SIZE];      // SHA-256 of the peer's public key
    uint64_t round;                         // the round that was to begin, from 1; 0: at connecting
    const char *type;                       // of the evidence: "sgx"; "none" if there was none to be read
    unsigned char evidence[CR_SHA256_SIZE]; // SHA-256 of its bytes
    unsigned char job[CR_SHA256_SIZE];
    const char *verdict; // "affirmed", "admitted" or "refused" (attestation/appraisal.h)
    const char *grounds; // why
};

// The extent of the intact part of a log.
struct cr_audit_end {
    uint64_t count;                       // lines
    uint64_t cuts;                        // how many of them record that a torn line was cut off
    unsigned char digest[CR_SHA256_SIZE]; // of the last line; zeros if there is none
    size_t good;                          // bytes of complete lines
    size_t torn;                          // bytes after them: of a line whose writing was interrupted
};

// Reads a log and passes each appraisal to `take` (may be NULL); a failure of `take` ends the reading and is
// returned. CR_DENIED, naming the line: it was changed, removed or moved, or is not a line of such a log.
// CR_INVALID: the line's digest is right, but this program cannot read it.
enum cr_status cr_audit_read(struct cr_slice text, const char *name,
                             enum cr_status (*take)(void *context, const struct cr_audit_entry *entry),
                             void *context, struct cr_audit_end *end);

// A log open for writing. cr_audit_open reads what exists as above and continues it; a torn line is cut off,
// which a new line records.
struct cr_audit;
enum cr_status cr_audit_open(const char *path, int64_t now, struct cr_audit **out);
void cr_audit_close(struct cr_audit *audit); // NULL is allowed

// Appends a line, which is on the disk when this returns. A failure leaves the log unchanged.
enum cr_status cr_audit_append(struct cr_audit *audit, const struct cr_audit_entry *entry);

#endif
