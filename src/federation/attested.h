// Attestation of a process that serves or joins: what its job's policy and its host's settings make of it.
//
// The job decides whether both ends are attested, and what is admitted: it has an appraisal policy, or it has
// none. The host says how its machine is attested, and where the endorsements are.
//
// Events (docs/PROTOCOL.md lists their fields): "attestation.warning", "attestation.admitted",
// "attestation.refused", "attestation.again".
#ifndef CARREL_FEDERATION_ATTESTED_H
#define CARREL_FEDERATION_ATTESTED_H

#include "attestation/manifest.h"
#include "base/event.h"
#include "channel/admission.h"

// The host's word.
struct cr_attested_host {
    const char *attester;     // "auto" or the name of one (attestation/attester.h)
    const char *tpm;          // its device or socket; NULL: the usual one
    const char *endorsements; // directory; NULL: none
    bool shows, demands;      // as in struct cr_admission
    const char *state;        // directory that keeps the audit log, audit.jsonl
};

// What can be told of the host's word before a peer comes: whether an attester that it names is of use at all
// (`policy`: whether the job has one), whether it gives evidence here, of which a piece is tried, and whether
// the endorsements can be read. Sets *out where there is a policy and the host shows evidence.
enum cr_status cr_attested_check(const struct cr_attested_host *host, bool policy, enum cr_attester *out);

// A job with a policy: the host's word is checked as above, so that a host that can show no evidence hears it
// now. A job without one: *out is NULL, and a warning says that nobody is attested;
// a host that named an attester all the same is CR_INVALID. What is given outlives *out.
struct cr_attested;
enum cr_status cr_attested_open(const struct cr_manifest *manifest, const struct cr_attested_host *host,
                                const struct cr_event_sink *sink, struct cr_attested **out);
void cr_attested_close(struct cr_attested *attested); // NULL is allowed

// For cr_tls_set_admission; NULL for NULL.
const struct cr_admission *cr_attested_admission(const struct cr_attested *attested);

#endif
