#include "attestation/ear.h"
#include "format/json.h"

#include <inttypes.h>
#include <string.h>

// Values of the vector. 2 to 31 affirm, 32 to 95 warn, 96 and above contradict.
enum {
    NO_CLAIM = 0,
    GENUINE = 2, // instance: known, not compromised; hardware: genuine, no known problems
    APPROVED_EXECUTABLES = 2,
    PROTECTED_RUNTIME = 2,
    UNRECOGNIZED_EXECUTABLES = 33,
    CONTRAINDICATED = 96,
    UNRECOGNIZED_INSTANCE = 97,
};

// The worst outcome of the checks whose names start with one of these; CR_PASSED if there are none.
static enum cr_outcome worst_of(const struct cr_appraisal *appraisal, const char *const *checks, size_t count)
{
    enum cr_outcome worst = CR_PASSED;
    for (size_t i = 0; i < appraisal->finding_count; i++)
        for (size_t k = 0; k < count; k++)
            if (strncmp(appraisal->findings[i].check, checks[k], strlen(checks[k])) == 0 &&
                appraisal->findings[i].outcome > worst)
                worst = appraisal->findings[i].outcome;
    return worst;
}

#define WORST_OF(appraisal, ...)                                                                             \
    worst_of(appraisal, (const char *const[]){__VA_ARGS__},                                                  \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static int instance(const struct cr_appraisal *a)
{
    if (!a->signature_valid) return a->waived ? NO_CLAIM : UNRECOGNIZED_INSTANCE;
    enum cr_outcome worst =
        WORST_OF(a, "revocation", "pck_validity", "key_validity", "chip_and_tcb", "report_data");
    return worst == CR_REFUSED ? CONTRAINDICATED : worst == CR_UNCHECKED ? NO_CLAIM : GENUINE;
}

static int hardware(const struct cr_appraisal *a)
{
    enum cr_outcome worst = WORST_OF(a, "tcb_", "qe_identity", "tdx_module", "measured_boot");
    return !a->signature_valid || worst == CR_UNCHECKED ? NO_CLAIM
           : worst == CR_REFUSED                        ? CONTRAINDICATED
                                                        : GENUINE;
}

static int executables(const struct cr_appraisal *a)
{
    enum cr_outcome worst = WORST_OF(a, "program", "sgx.", "tdx.", "snp.", "pcr");
    return !a->signature_valid     ? NO_CLAIM
           : worst >= CR_UNCHECKED ? UNRECOGNIZED_EXECUTABLES
                                   : APPROVED_EXECUTABLES;
}

static int runtime(const struct cr_appraisal *a)
{
    enum cr_outcome worst = WORST_OF(a, "debug", "migration");
    return !a->signature_valid ? NO_CLAIM : worst == CR_REFUSED ? CONTRAINDICATED : PROTECTED_RUNTIME;
}

enum cr_status cr_ear_write(const struct cr_appraisal *appraisal, const char *type, const char *policy,
                            int64_t time, struct cr_buffer *out)
{
    static const char *const statuses[] = {[CR_AFFIRMED] = "affirming",
                                           [CR_UNAFFIRMED] = "warning",
                                           [CR_CONTRADICTED] = "contraindicated",
                                           [CR_LET_IN] = "none"};
    CR_TRY(cr_append_format(
        out,
        "{\"eat_profile\": \"tag:github.com,2023:veraison/ear\", \"iat\": %" PRId64
        ", \"ear.verifier-id\": {\"developer\": \"carrel\", \"build\": \"carrel %s\"}, "
        "\"submods\": {\"%s\": {\"ear.status\": \"%s\", \"ear.trustworthiness-vector\": "
        "{\"instance-identity\": %d, \"hardware\": %d, \"executables\": %d, \"runtime-opaque\": %d}",
        time, CARREL_VERSION, type, statuses[cr_appraisal_verdict(appraisal)], instance(appraisal),
        hardware(appraisal), executables(appraisal), runtime(appraisal)));
    if (policy) {
        CR_TRY(cr_append_format(out, ", \"ear.appraisal-policy-id\": "));
        CR_TRY(cr_json_append_string(out, cr_slice_of_string(policy)));
    }
    return cr_append_format(out, "}}}");
}
