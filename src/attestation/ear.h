// Writes appraisals as attestation results for other programs: EAR claims in JSON, unsigned.
//
// Source: IETF, draft-ietf-rats-ear (EAT Attestation Results) and draft-ietf-rats-ar4si (the trustworthiness
// vector).
#ifndef CARREL_ATTESTATION_EAR_H
#define CARREL_ATTESTATION_EAR_H

#include "attestation/appraisal.h"

#include <stdint.h>

// Appends one JSON object. `type` names the submodule ("tdx"); `policy` may be NULL; `time` is when the
// appraisal was made.
enum cr_status cr_ear_write(const struct cr_appraisal *appraisal, const char *type, const char *policy,
                            int64_t time, struct cr_buffer *out);

#endif
