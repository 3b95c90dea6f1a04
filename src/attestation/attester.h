// Attesters: how a program gets evidence of the machine that it runs on.
#ifndef CARREL_ATTESTATION_ATTESTER_H
#define CARREL_ATTESTATION_ATTESTER_H

#include "attestation/evidence.h"

// Where the interfaces lie; of the TPM its device, or a unix socket behind which one answers.
struct cr_attester_places {
    const char *gramine, *tsm, *tpm;
};
extern const struct cr_attester_places cr_attester_places; // of a real machine

enum cr_attester {
    CR_ATTESTER_GRAMINE,
    CR_ATTESTER_TSM,
    CR_ATTESTER_TPM,
    CR_ATTESTER_DEVELOPMENT,
    CR_ATTESTERS,
};
const char *cr_attester_name(enum cr_attester attester); // "gramine", "tsm", "tpm", "development"

// The attester of that name; "auto": the first of gramine and tsm whose interface is there, and CR_NOT_FOUND
// where neither is. CR_INVALID for a name that is not known.
enum cr_status cr_attester_choose(const char *name, const struct cr_attester_places *places,
                                  enum cr_attester *out);

// Appends evidence that is bound to the report data, in a form that cr_evidence_find reads, and certificates
// beside it that cr_endorsements_add does. What came is looked at: it is whole, of the right type and about
// these report data, or the call fails. Sets *type.
enum cr_status cr_attester_attest(enum cr_attester attester, const struct cr_attester_places *places,
                                  const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                  enum cr_evidence_type *type, struct cr_buffer *out);

#endif
