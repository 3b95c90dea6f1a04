// Attestation of a server or silo, from its job's policy and its host's settings.
//
// The job decides whether both ends are attested, and by which policy: it has an appraisal policy, or none.
// The host decides how its machine is attested, and where its endorsements are.
//
// Events (docs/PROTOCOL.md lists their fields): "attestation.warning", "attestation.admitted",
// "attestation.refused", "attestation.again".
#ifndef CARREL_FEDERATION_ATTESTED_H
#define CARREL_FEDERATION_ATTESTED_H

#include "attestation/manifest.h"
#include "base/event.h"
#include "channel/admission.h"

// The host's settings.
struct cr_attested_host {
    const char *attester;     // "auto" or an attester's name (attestation/attester.h)
    const char *tpm;          // the TPM's device or socket; NULL: the usual one
    const char *endorsements; // directory; NULL: none
    bool shows, demands;      // as in struct cr_admission
    const char *state;        // directory that keeps the audit log, audit.jsonl
};

// Checks the host's settings as far as possible before a peer comes: that a named attester has a use at all
// (`policy`: whether the job has a policy), that it can make evidence here (one is made as a trial), and that
// the endorsements can be read. Sets *out if there is a policy and the host shows evidence.
enum cr_status cr_attested_check(const struct cr_attested_host *host, bool policy, enum cr_attester *out);

// With a policy in the job: checks the host's settings as above, so that a host that cannot show evidence
// learns it now. Without a policy: sets *out to NULL and warns that nobody is attested; fails with CR_INVALID
// if the host named an attester all the same. host's strings and `sink` must outlive *out.
struct cr_attested;
enum cr_status cr_attested_open(const struct cr_manifest *manifest, const struct cr_attested_host *host,
                                const struct cr_event_sink *sink, struct cr_attested **out);
void cr_attested_close(struct cr_attested *attested); // NULL is allowed

// For cr_tls_set_admission. NULL if `attested` is NULL.
const struct cr_admission *cr_attested_admission(const struct cr_attested *attested);

#endif
