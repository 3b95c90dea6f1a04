// Attesters: sources of evidence about the machine on which a program runs.
#ifndef CARREL_ATTESTATION_ATTESTER_H
#define CARREL_ATTESTATION_ATTESTER_H

#include "attestation/evidence.h"

// Where the attesters' interfaces are: directories, and for the TPM its device, or a unix socket behind which
// one answers.
struct cr_attester_places {
    const char *gramine, *tsm, *tpm;
};
extern const struct cr_attester_places cr_attester_places; // the usual places

enum cr_attester {
    CR_ATTESTER_GRAMINE,
    CR_ATTESTER_TSM,
    CR_ATTESTER_TPM,
    CR_ATTESTER_DEVELOPMENT,
    CR_ATTESTERS,
};
const char *cr_attester_name(enum cr_attester attester); // "gramine", "tsm", "tpm", "development"

// The attester with this name; "auto": the first of gramine and tsm whose interface exists, or CR_NOT_FOUND
// if neither does. CR_INVALID for an unknown name.
enum cr_status cr_attester_choose(const char *name, const struct cr_attester_places *places,
                                  enum cr_attester *out);

// Appends evidence that is bound to the report data, in a form that cr_evidence_find reads, possibly with
// certificates that cr_endorsements_add reads. The call fails unless the result can be parsed, has the right
// type and contains these report data. Sets *type.
enum cr_status cr_attester_attest(enum cr_attester attester, const struct cr_attester_places *places,
                                  const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                  enum cr_evidence_type *type, struct cr_buffer *out);

#endif
