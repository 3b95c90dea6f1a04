#include "attestation/appraisal.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void cr_appraisal_release(struct cr_appraisal *appraisal)
{
    for (size_t i = 0; i < appraisal->claim_count; i++) free(appraisal->claims[i].text);
    for (size_t i = 0; i < appraisal->finding_count; i++) free(appraisal->findings[i].reason);
    free(appraisal->claims);
    free(appraisal->findings);
    *appraisal = (struct cr_appraisal){0};
}

enum cr_verdict cr_appraisal_verdict(const struct cr_appraisal *appraisal)
{
    enum cr_verdict verdict = appraisal->signature_valid ? CR_AFFIRMED
                              : appraisal->waived        ? CR_LET_IN
                                                         : CR_CONTRADICTED;
    for (size_t i = 0; i < appraisal->finding_count; i++) {
        if (appraisal->findings[i].outcome == CR_REFUSED) return CR_CONTRADICTED;
        if (appraisal->findings[i].outcome == CR_UNCHECKED && verdict == CR_AFFIRMED) verdict = CR_UNAFFIRMED;
    }
    return verdict;
}

const char *cr_appraisal_reason(const struct cr_appraisal *appraisal)
{
    for (enum cr_outcome outcome = CR_REFUSED; outcome >= CR_UNCHECKED; outcome--)
        for (size_t i = 0; i < appraisal->finding_count; i++)
            if (appraisal->findings[i].outcome == outcome) return appraisal->findings[i].reason;
    return NULL;
}

const char *cr_outcome_name(enum cr_outcome outcome)
{
    static const char *const names[] = {[CR_PASSED] = "passed",
                                        [CR_ADMITTED] = "admitted",
                                        [CR_UNCHECKED] = "unchecked",
                                        [CR_REFUSED] = "refused"};
    return names[outcome];
}

const char *cr_verdict_name(enum cr_verdict verdict)
{
    static const char *const names[] = {[CR_AFFIRMED] = "affirmed",
                                        [CR_UNAFFIRMED] = "unaffirmed",
                                        [CR_CONTRADICTED] = "refused",
                                        [CR_LET_IN] = "admitted"};
    return names[verdict];
}

// Takes ownership of `text`.
static enum cr_status add_claim(struct cr_appraisal *appraisal, const char *key, enum cr_claim_kind kind,
                                char *text)
{
    enum cr_status status =
        cr_reallocate(appraisal->claim_count + 1, sizeof *appraisal->claims, &appraisal->claims);
    if (status != CR_OK) {
        free(text);
        return status;
    }
    appraisal->claims[appraisal->claim_count++] = (struct cr_claim){key, kind, text};
    return CR_OK;
}

static enum cr_status copy_claim(struct cr_appraisal *appraisal, const char *key, enum cr_claim_kind kind,
                                 const char *text)
{
    char *copy;
    CR_TRY(cr_copy_string(text, &copy));
    return add_claim(appraisal, key, kind, copy);
}

enum cr_status cr_claim_text(struct cr_appraisal *appraisal, const char *key, const char *text)
{
    return copy_claim(appraisal, key, CR_CLAIM_TEXT, text);
}

enum cr_status cr_claim_hex(struct cr_appraisal *appraisal, const char *key, struct cr_slice bytes)
{
    char *hex;
    CR_TRY(cr_allocate(2 * bytes.size + 1, 1, &hex));
    cr_hex_encode(bytes, hex);
    return add_claim(appraisal, key, CR_CLAIM_TEXT, hex);
}

enum cr_status cr_claim_number(struct cr_appraisal *appraisal, const char *key, uint64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    return copy_claim(appraisal, key, CR_CLAIM_LITERAL, digits);
}

enum cr_status cr_claim_bool(struct cr_appraisal *appraisal, const char *key, bool value)
{
    return copy_claim(appraisal, key, CR_CLAIM_LITERAL, value ? "true" : "false");
}

enum cr_status cr_claim_list(struct cr_appraisal *appraisal, const char *key, const char *words)
{
    return copy_claim(appraisal, key, CR_CLAIM_LIST, words);
}

enum cr_status cr_claim_time(struct cr_appraisal *appraisal, const char *key, int64_t unix_seconds)
{
    char text[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(unix_seconds, text);
    return copy_claim(appraisal, key, CR_CLAIM_TEXT, text);
}

static enum cr_status add_finding(struct cr_appraisal *appraisal, const char *check, enum cr_outcome outcome,
                                  const char *reason)
{
    char *copy = NULL;
    if (reason) CR_TRY(cr_copy_string(reason, &copy));
    enum cr_status status =
        cr_reallocate(appraisal->finding_count + 1, sizeof *appraisal->findings, &appraisal->findings);
    if (status != CR_OK) {
        free(copy);
        return status;
    }
    appraisal->findings[appraisal->finding_count++] = (struct cr_finding){check, outcome, copy};
    return CR_OK;
}

static enum cr_status add_objection(struct cr_appraisal *appraisal, const char *check,
                                    enum cr_outcome outcome, const char *key, bool allowed,
                                    const char *format, va_list arguments)
{
    char reason[768];
    vsnprintf(reason, sizeof reason, format, arguments);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (!key)
        CR_TRY(cr_append_format(&text, "%s", reason));
    else if (allowed)
        CR_TRY(cr_append_format(&text, "%s (let pass by the policy's %s)", reason, key));
    else
        CR_TRY(cr_append_format(&text, "%s (a policy's %s would let it pass)", reason, key));
    return add_finding(appraisal, check, allowed ? CR_ADMITTED : outcome, cr_buffer_text(&text));
}

enum cr_status cr_found_passed(struct cr_appraisal *appraisal, const char *check)
{
    return add_finding(appraisal, check, CR_PASSED, NULL);
}

enum cr_status cr_found_wrong(struct cr_appraisal *appraisal, const char *check, const char *key,
                              bool allowed, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum cr_status status = add_objection(appraisal, check, CR_REFUSED, key, allowed, format, arguments);
    va_end(arguments);
    return status;
}

enum cr_status cr_found_unknown(struct cr_appraisal *appraisal, const char *check, const char *key,
                                bool allowed, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum cr_status status = add_objection(appraisal, check, CR_UNCHECKED, key, allowed, format, arguments);
    va_end(arguments);
    return status;
}

enum cr_status cr_found(struct cr_appraisal *appraisal, const char *check, enum cr_status status, bool *good)
{
    if (status != CR_OK && status != CR_DENIED && status != CR_INVALID && status != CR_UNSUPPORTED)
        return status;
    if (good) *good = status == CR_OK;
    if (status == CR_OK) return cr_found_passed(appraisal, check);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer reason = {0}; // a copy: the message's buffer is reused
    CR_TRY(cr_append_format(&reason, "%s", cr_error_message()));
    return add_finding(appraisal, check, CR_REFUSED, cr_buffer_text(&reason));
}
