#include "attestation/attester.h"
#include "attestation/development.h"
#include "attestation/gramine.h"
#include "attestation/tpm_attest.h"
#include "attestation/tsm.h"
#include "base/file.h"

#include <string.h>

const struct cr_attester_places cr_attester_places = {
    .gramine = "/dev/attestation", .tsm = "/sys/kernel/config/tsm/report", .tpm = "/dev/tpmrm0"};

static enum cr_status attest_development(const char *root, const unsigned char *report_data,
                                         enum cr_evidence_type *type, struct cr_buffer *out)
{
    (void)root;
    CR_TRY(cr_development_make(report_data, out));
    *type = CR_EVIDENCE_DEVELOPMENT;
    return CR_OK;
}

static const struct {
    const char *name;
    enum cr_status (*attest)(const char *root, const unsigned char *report_data, enum cr_evidence_type *type,
                             struct cr_buffer *out);
} attesters[] = {[CR_ATTESTER_GRAMINE] = {"gramine", cr_gramine_attest},
                 [CR_ATTESTER_TSM] = {"tsm", cr_tsm_attest},
                 [CR_ATTESTER_TPM] = {"tpm", cr_tpm_attest},
                 [CR_ATTESTER_DEVELOPMENT] = {"development", attest_development}};

const char *cr_attester_name(enum cr_attester attester)
{
    return attesters[attester].name;
}

// NULL if the attester has no interface.
static const char *root_of(enum cr_attester attester, const struct cr_attester_places *places)
{
    return attester == CR_ATTESTER_GRAMINE ? places->gramine
           : attester == CR_ATTESTER_TSM   ? places->tsm
           : attester == CR_ATTESTER_TPM   ? places->tpm
                                           : NULL;
}

enum cr_status cr_attester_choose(const char *name, const struct cr_attester_places *places,
                                  enum cr_attester *out)
{
    bool any = strcmp(name, "auto") == 0;
    for (enum cr_attester i = 0; i < CR_ATTESTERS; i++) {
        bool tee = i == CR_ATTESTER_GRAMINE || i == CR_ATTESTER_TSM;
        if (any ? !tee || !cr_file_exists(root_of(i, places)) : strcmp(attesters[i].name, name) != 0)
            continue;
        *out = i;
        return CR_OK;
    }
    if (any)
        return cr_fail(
            CR_NOT_FOUND,
            "no TEE to be seen here: there is neither %s (Gramine with SGX) nor %s (the kernel's, for TDX "
            "and SEV-SNP)",
            places->gramine, places->tsm);
    return cr_fail(CR_INVALID, "the attester \"%s\" is not known (auto, gramine, tsm, tpm, development)",
                   name);
}

// Checks that the evidence can be parsed and matches the request.
static enum cr_status check(struct cr_slice bytes, enum cr_evidence_type type,
                            const unsigned char *report_data)
{
    CR_CLEANUP(cr_evidence_release) struct cr_evidence evidence = {0};
    unsigned char bound[CR_REPORT_DATA_SIZE];
    CR_TRY(cr_evidence_find(bytes, &type, &evidence));
    CR_TRY(cr_evidence_report_data(&evidence, bound));
    if (memcmp(bound, report_data, sizeof bound) != 0)
        return cr_fail(CR_IO, "it is bound to other report data than were asked for");
    return CR_OK;
}

enum cr_status cr_attester_attest(enum cr_attester attester, const struct cr_attester_places *places,
                                  const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                  enum cr_evidence_type *type, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    enum cr_evidence_type kind;
    CR_TRY(attesters[attester].attest(root_of(attester, places), report_data, &kind, &bytes));
    enum cr_status status = check(cr_buffer_slice(&bytes), kind, report_data);
    if (status != CR_OK)
        return cr_fail_within(status, "what the attester %s was given is of no use",
                              attesters[attester].name);
    CR_TRY(cr_append(out, bytes.data, bytes.size));
    *type = kind;
    return CR_OK;
}
