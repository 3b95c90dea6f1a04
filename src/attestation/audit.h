// The audit log: who was admitted, on what grounds, and who was refused. A file of JSON lines, each of which
// ends with its own SHA-256 and has that of the line before, so that a line cannot be changed, left out or
// moved without the next one telling.
//
// Whoever can write the file can write another one, of course: the chain shows what was done to a log only to
// who knows one of its later digests.
#ifndef CARREL_ATTESTATION_AUDIT_H
#define CARREL_ATTESTATION_AUDIT_H

#include "crypto/hash.h"

// One appraisal. Texts of entries that are read live until the call that takes them returns.
struct cr_audit_entry {
    uint64_t number; // of the line, from 1; set by the log
    int64_t time;    // seconds since 1970
    const char *peer, *role, *address;
    unsigned char key[CR_SHA256_SIZE];      // SHA-256 of the peer's public key
    uint64_t round;                         // that was to begin, from 1; 0: a connection
    const char *type;                       // of the evidence: "sgx"; "none" where there was none to be read
    unsigned char evidence[CR_SHA256_SIZE]; // SHA-256 of its bytes
    unsigned char job[CR_SHA256_SIZE];
    const char *verdict; // "affirmed", "admitted" or "refused" (attestation/appraisal.h)
    const char *grounds; // why
};

// How far a log is whole.
struct cr_audit_end {
    uint64_t count;                       // lines
    uint64_t cuts;                        // lines among them which say that what stood there was cut off
    unsigned char digest[CR_SHA256_SIZE]; // of the last line; zeros where there is none
    size_t good;                          // bytes of whole lines
    size_t torn; // bytes after them, of a line that was being written when its program ended
};

// Reads a log and gives each appraisal to `take` (NULL: to nobody), whose failure ends it. A line that was
// changed, removed or moved, or that is none of such a log's, is CR_DENIED, and the sentence names it; one
// whose digest is right and that this program cannot read is CR_INVALID.
enum cr_status cr_audit_read(struct cr_slice text, const char *name,
                             enum cr_status (*take)(void *context, const struct cr_audit_entry *entry),
                             void *context, struct cr_audit_end *end);

// A log that is written to. What is there is read first, as above, and gone on with; a torn line is cut off,
// and a line says so.
struct cr_audit;
enum cr_status cr_audit_open(const char *path, int64_t now, struct cr_audit **out);
void cr_audit_close(struct cr_audit *audit); // NULL is allowed

// Appends a line, on the disk when this returns. A failure leaves the log as it was.
enum cr_status cr_audit_append(struct cr_audit *audit, const struct cr_audit_entry *entry);

#endif
