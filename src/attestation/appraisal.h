// What came of looking at a piece of evidence: its claims, one finding for each check, and a verdict.
#ifndef CARREL_ATTESTATION_APPRAISAL_H
#define CARREL_ATTESTATION_APPRAISAL_H

#include "base/bytes.h"

enum cr_claim_kind {
    CR_CLAIM_TEXT,
    CR_CLAIM_LITERAL, // a number, true or false
    CR_CLAIM_LIST,    // words with ", " between them
};

struct cr_claim {
    const char *key; // a literal
    enum cr_claim_kind kind;
    char *text;
};

enum cr_outcome {
    CR_PASSED,
    CR_ADMITTED,  // it would be refused, or not be known, but a line of the policy lets it pass
    CR_UNCHECKED, // nothing is wrong, but something is not known
    CR_REFUSED,
};

struct cr_finding {
    const char *check; // a literal: "quote_signature"
    enum cr_outcome outcome;
    char *reason; // NULL where it passed
};

// Zero-initialise it; release it.
struct cr_appraisal {
    bool signature_valid;   // from the evidence up to a root that is trusted
    bool waived;            // a line of the policy asks for no such root: nothing is proved
    const char *tcb_status; // a literal; NULL until it is known
    bool debug;
    struct cr_claim *claims;
    size_t claim_count;
    struct cr_finding *findings;
    size_t finding_count;
};

void cr_appraisal_release(struct cr_appraisal *appraisal);

enum cr_verdict {
    CR_AFFIRMED,   // every check passed, and the program is one that the policy names
    CR_UNAFFIRMED, // nothing is wrong, but something is not known: which program it is, for one
    CR_CONTRADICTED,
    CR_LET_IN, // nothing is proved, which the policy knows and allows
};
enum cr_verdict cr_appraisal_verdict(const struct cr_appraisal *appraisal);

// The reason of the first refusal, else of the first thing not known; NULL where there is neither.
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

// Something is wrong, or with `unchecked` not known; `allowed` is whether the policy's line `key` (NULL: no
// line could) lets it pass.
enum cr_status cr_found_wrong(struct cr_appraisal *appraisal, const char *check, const char *key,
                              bool allowed, const char *format, ...) CR_PRINTF(5, 6);
enum cr_status cr_found_unknown(struct cr_appraisal *appraisal, const char *check, const char *key,
                                bool allowed, const char *format, ...) CR_PRINTF(5, 6);

// The outcome of a call that checks: CR_OK passes, CR_DENIED, CR_INVALID and CR_UNSUPPORTED refuse with the
// call's sentence; any other failure is returned. *good (may be NULL) says which of the two.
enum cr_status cr_found(struct cr_appraisal *appraisal, const char *check, enum cr_status status, bool *good);

#endif
