// The result of appraising a piece of evidence: its claims, a finding for each check, and a verdict.
#ifndef CARREL_ATTESTATION_APPRAISAL_H
#define CARREL_ATTESTATION_APPRAISAL_H

#include "base/bytes.h"

enum cr_claim_kind {
    CR_CLAIM_TEXT,
    CR_CLAIM_LITERAL, // a number, true or false
    CR_CLAIM_LIST,    // words separated by ", "
};

struct cr_claim {
    const char *key; // a literal
    enum cr_claim_kind kind;
    char *text;
};

enum cr_outcome {
    CR_PASSED,
    CR_ADMITTED,  // would be refused or unchecked, but a line of the policy allows it
    CR_UNCHECKED, // nothing is wrong, but something is not known
    CR_REFUSED,
};

struct cr_finding {
    const char *check; // a string literal, not owned: "quote_signature"
    enum cr_outcome outcome;
    char *reason; // NULL if it passed
};

// Zero-initialise it; release it with cr_appraisal_release.
struct cr_appraisal {
    bool signature_valid;   // all signatures are valid, from the evidence up to a trusted root
    bool waived;            // the policy allows evidence without a trusted root, which proves nothing
    const char *tcb_status; // a string literal; NULL until it is known
    bool debug;
    struct cr_claim *claims;
    size_t claim_count;
    struct cr_finding *findings;
    size_t finding_count;
};

void cr_appraisal_release(struct cr_appraisal *appraisal);

enum cr_verdict {
    CR_AFFIRMED,   // every check passed, and the policy names the program
    CR_UNAFFIRMED, // nothing is wrong, but something is unknown, such as the program
    CR_CONTRADICTED,
    CR_LET_IN, // nothing is proved, but the policy explicitly allows that
};
enum cr_verdict cr_appraisal_verdict(const struct cr_appraisal *appraisal);

// The reason of the first refusal, else of the first unchecked finding; NULL if there is neither.
const char *cr_appraisal_reason(const struct cr_appraisal *appraisal);

const char *cr_outcome_name(enum cr_outcome outcome); // "passed", "admitted", "unchecked", "refused"
const char *cr_verdict_name(enum cr_verdict verdict); // "affirmed", "unaffirmed", "refused", "admitted"

enum cr_status cr_claim_text(struct cr_appraisal *appraisal, const char *key, const char *text);
enum cr_status cr_claim_hex(struct cr_appraisal *appraisal, const char *key, struct cr_slice bytes);
enum cr_status cr_claim_number(struct cr_appraisal *appraisal, const char *key, uint64_t number);
enum cr_status cr_claim_bool(struct cr_appraisal *appraisal, const char *key, bool value);
enum cr_status cr_claim_list(struct cr_appraisal *appraisal, const char *key, const char *words);
enum cr_status cr_claim_time(struct cr_appraisal *appraisal, const char *key, int64_t unix_seconds);

enum cr_status cr_found_passed(struct cr_appraisal *appraisal, const char *check);

// Add a finding that something is wrong (CR_REFUSED) or unknown (CR_UNCHECKED). If `allowed`, the policy's
// line `key` (NULL: there is no such line) lets it pass, and the outcome is CR_ADMITTED.
enum cr_status cr_found_wrong(struct cr_appraisal *appraisal, const char *check, const char *key,
                              bool allowed, const char *format, ...) CR_PRINTF(5, 6);
enum cr_status cr_found_unknown(struct cr_appraisal *appraisal, const char *check, const char *key,
                                bool allowed, const char *format, ...) CR_PRINTF(5, 6);

// Adds a finding from the status of a checking call: CR_OK passes; CR_DENIED, CR_INVALID and CR_UNSUPPORTED
// refuse, with the call's error message as the reason; any other failure is returned. *good (may be NULL) is
// set to whether it passed.
enum cr_status cr_found(struct cr_appraisal *appraisal, const char *check, enum cr_status status, bool *good);

#endif
