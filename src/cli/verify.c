// carrel verify: appraises evidence: is it genuine, and what does it say?
#include "cli/command.h"

#include "attestation/appraise.h"
#include "attestation/ear.h"
#include "attestation/evidence.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/words.h"
#include "format/json.h"

#include <string.h>

enum { EVIDENCE_LIMIT = 4 << 20 };

static const char unknown[] = "Unknown";

// Appends words separated by ", " as a JSON list.
static enum cr_status append_list(struct cr_buffer *out, const char *words)
{
    CR_TRY(cr_append(out, "[", 1));
    for (bool first = true; *words; first = false) {
        size_t length = strcspn(words, ",");
        if (!first) CR_TRY(cr_append(out, ", ", 2));
        CR_TRY(cr_json_append_string(out, (struct cr_slice){(const unsigned char *)words, length}));
        words += length;
        words += strspn(words, ", ");
    }
    return cr_append(out, "]", 1);
}

static enum cr_status append_member(struct cr_buffer *out, const char *key, const char *text)
{
    CR_TRY(cr_append_format(out, "%s\"%s\": ", out->size > 1 ? ", " : "", key));
    return cr_json_append_string(out, cr_slice_of_string(text));
}

static enum cr_status append_findings(struct cr_buffer *out, const struct cr_appraisal *appraisal)
{
    CR_TRY(cr_append_format(out, ", \"checks\": ["));
    for (size_t i = 0; i < appraisal->finding_count; i++) {
        const struct cr_finding *finding = &appraisal->findings[i];
        CR_TRY(cr_append_format(out, "%s{\"check\": \"%s\", \"outcome\": \"%s\"", i > 0 ? ", " : "",
                                finding->check, cr_outcome_name(finding->outcome)));
        if (finding->reason) CR_TRY(append_member(out, "reason", finding->reason));
        CR_TRY(cr_append(out, "}", 1));
    }
    return cr_append(out, "]", 1);
}

// Writes one object: the claims, and the results of the checks.
static enum cr_status write_json(const struct cr_appraisal *appraisal, int64_t time, struct cr_buffer *out)
{
    char when[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(time, when);
    CR_TRY(cr_append(out, "{", 1));
    CR_TRY(append_member(out, "verdict", cr_verdict_name(cr_appraisal_verdict(appraisal))));
    CR_TRY(append_member(out, "signature", appraisal->signature_valid ? "valid" : "invalid"));
    CR_TRY(append_member(out, "tcb_status", appraisal->tcb_status ? appraisal->tcb_status : unknown));
    CR_TRY(cr_append_format(out, ", \"debug\": %s", appraisal->debug ? "true" : "false"));
    CR_TRY(append_member(out, "time", when));
    CR_TRY(cr_append_format(out, ", \"claims\": {"));
    for (size_t i = 0; i < appraisal->claim_count; i++) {
        const struct cr_claim *claim = &appraisal->claims[i];
        CR_TRY(cr_append_format(out, "%s\"%s\": ", i > 0 ? ", " : "", claim->key));
        if (claim->kind == CR_CLAIM_TEXT)
            CR_TRY(cr_json_append_string(out, cr_slice_of_string(claim->text)));
        else if (claim->kind == CR_CLAIM_LIST)
            CR_TRY(append_list(out, claim->text));
        else
            CR_TRY(cr_append_format(out, "%s", claim->text));
    }
    CR_TRY(cr_append(out, "}", 1));
    CR_TRY(append_findings(out, appraisal));
    return cr_append(out, "}\n", 2);
}

// Writes lines for people: claims, checks, verdict.
static enum cr_status write_lines(const struct cr_appraisal *appraisal, int64_t time, struct cr_buffer *out)
{
    static const char *const verdicts[] = {
        [CR_AFFIRMED] = "genuine, in good order, and a program that the policy names",
        [CR_UNAFFIRMED] = "nothing is wrong, but not all is known",
        [CR_CONTRADICTED] = "not to be trusted",
        [CR_LET_IN] = "NOTHING IS PROVED, which the policy allows",
    };
    enum cr_verdict verdict = cr_appraisal_verdict(appraisal);
    char when[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(time, when);
    for (size_t i = 0; i < appraisal->claim_count; i++) {
        CR_TRY(cr_append_format(out, "%s: ", appraisal->claims[i].key));
        CR_TRY(cr_append_plain(out, appraisal->claims[i].text));
        CR_TRY(cr_append_format(out, "\n"));
    }
    CR_TRY(cr_append_format(out, "signature: %s\n", appraisal->signature_valid ? "valid" : "invalid"));
    CR_TRY(
        cr_append_format(out, "tcb_status: %s\n", appraisal->tcb_status ? appraisal->tcb_status : unknown));
    CR_TRY(cr_append_format(out, "debug: %s\n", appraisal->debug ? "true" : "false"));
    CR_TRY(cr_append_format(out, "time: %s\nchecks:\n", when));
    for (size_t i = 0; i < appraisal->finding_count; i++) {
        const struct cr_finding *finding = &appraisal->findings[i];
        CR_TRY(cr_append_format(out, "  %-9s %s", cr_outcome_name(finding->outcome), finding->check));
        if (finding->reason) { // may quote a certificate's content
            CR_TRY(cr_append_format(out, ": "));
            CR_TRY(cr_append_plain(out, finding->reason));
        }
        CR_TRY(cr_append_format(out, "\n"));
    }
    return cr_append_format(out, "verdict: %s (%s)\n", cr_verdict_name(verdict), verdicts[verdict]);
}

// The command line's options.
struct asked {
    const char *file, *type, *policy, *time, *format, *event_log;
    struct cr_flag_list endorsements;
    bool json;
};

static enum cr_status read_time(const char *text, int64_t *out)
{
    *out = cr_clock_unix();
    if (text && !cr_clock_parse(text, out))
        return cr_fail(CR_INVALID, "--time: \"%s\" is not RFC 3339 (2026-01-02T03:04:05Z)", text);
    return CR_OK;
}

static enum cr_status read_type(const char *name, enum cr_evidence_type *type)
{
    if (!name || cr_evidence_type_parse(name, type)) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer names = {0};
    for (size_t i = 0; i < CR_EVIDENCE_TYPES; i++)
        CR_TRY(cr_append_format(&names, "%s%s", i > 0 ? ", " : "",
                                cr_evidence_type_name((enum cr_evidence_type)i)));
    return cr_fail(CR_INVALID, "--type: \"%s\" is not known (%s)", name, cr_buffer_text(&names));
}

static enum cr_status write_appraisal(const struct asked *asked, const struct cr_appraisal *appraisal,
                                      enum cr_evidence_type type, int64_t time, struct cr_buffer *out)
{
    if (asked->json) return write_json(appraisal, time, out);
    if (!asked->format) return write_lines(appraisal, time, out);
    CR_TRY(cr_ear_write(appraisal, cr_evidence_type_name(type), asked->policy, time, out));
    return cr_append(out, "\n", 1);
}

static enum cr_status appraise(const struct asked *asked, const struct cr_evidence *evidence,
                               const struct cr_grounds *grounds)
{
    CR_CLEANUP(cr_appraisal_release) struct cr_appraisal appraisal = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    enum cr_status status = cr_appraise(evidence, grounds, &appraisal);
    if (status != CR_OK) return cr_fail_within(status, "%s", asked->file);
    CR_TRY(write_appraisal(asked, &appraisal, evidence->type, grounds->time, &text));
    CR_TRY(cr_command_print(cr_buffer_slice(&text)));
    enum cr_verdict verdict = cr_appraisal_verdict(&appraisal);
    if (verdict == CR_AFFIRMED || verdict == CR_LET_IN || (verdict == CR_UNAFFIRMED && !asked->policy))
        return CR_OK;
    return cr_fail(CR_DENIED, "%s: %s: %s", asked->file, cr_verdict_name(verdict),
                   cr_appraisal_reason(&appraisal));
}

static enum cr_status verify(const struct asked *asked)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer file = {0}, event_log = {0};
    enum cr_evidence_type type;
    struct cr_grounds grounds = {0};
    CR_TRY(read_time(asked->time, &grounds.time));
    CR_TRY(read_type(asked->type, &type));
    CR_TRY(cr_endorsements_new(&endorsements));
    CR_TRY(cr_file_read(asked->file, EVIDENCE_LIMIT, &file));
    // Evidence in JSON may contain its certificates.
    CR_TRY(cr_endorsements_add(endorsements, cr_buffer_slice(&file)));
    for (size_t i = 0; i < asked->endorsements.count; i++)
        CR_TRY(cr_endorsements_read(endorsements, asked->endorsements.items[i]));
    if (asked->event_log) {
        CR_TRY(cr_file_read(asked->event_log, EVIDENCE_LIMIT, &event_log));
        if (event_log.size == 0) return cr_fail(CR_INVALID, "%s: the file is empty", asked->event_log);
    }
    grounds.event_log = cr_buffer_slice(&event_log);
    struct cr_appraisal_policy policy;
    CR_TRY(asked->policy ? cr_appraisal_policy_read(asked->policy, &policy)
                         : cr_appraisal_policy_default(&policy));
    grounds.endorsements = endorsements;
    grounds.policy = &policy;
    struct cr_evidence evidence = {0};
    enum cr_status status = cr_evidence_find(cr_buffer_slice(&file), asked->type ? &type : NULL, &evidence);
    status =
        status == CR_OK ? appraise(asked, &evidence, &grounds) : cr_fail_within(status, "%s", asked->file);
    cr_evidence_release(&evidence);
    cr_appraisal_policy_release(&policy);
    return status;
}

enum cr_status cr_command_verify(int argc, char **argv)
{
    const char *directories[16];
    struct asked asked = {.endorsements = {directories, 0, sizeof directories / sizeof *directories}};
    bool done;
    const struct cr_flag items[] = {
        {"type", CR_FLAG_STRING, &asked.type, "TYPE",
         "what the evidence must be: sgx, tdx, snp, tpm, certificate, development; without it what the file "
         "tells"},
        {"endorsements", CR_FLAG_STRINGS, &asked.endorsements, "DIR",
         "certificates, revocation lists and collateral, in any layout, or one such file; may be given "
         "several times"},
        {"policy", CR_FLAG_STRING, &asked.policy, "FILE",
         "what the evidence must say (docs/POLICY.md); without it which program it is stays unknown"},
        {"event-log", CR_FLAG_STRING, &asked.event_log, "FILE",
         "what a TD or a TPM says it measured (CCEL, binary_bios_measurements): does it come to what was "
         "quoted?"},
        {"time", CR_FLAG_STRING, &asked.time, "TIME", "appraise as of then, in RFC 3339; without it now"},
        {"json", CR_FLAG_BOOL, &asked.json, NULL, "one JSON object"},
        {"format", CR_FLAG_STRING, &asked.format, "FORMAT",
         "ear: the claims of an EAT attestation result in JSON, not signed"},
    };
    const struct cr_flags flags = {"carrel verify FILE [options]",
                                   "Appraises evidence of a TEE: is it genuine, what does it claim, is its "
                                   "platform in good order, and is it "
                                   "the\nright program? Exits with 0 where nothing is wrong (with --policy: "
                                   "where the policy affirms it), with 4 "
                                   "where\nit is refused. Nothing is fetched from the network.",
                                   items,
                                   sizeof items / sizeof *items,
                                   1,
                                   1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &asked.file, NULL, &done));
    if (done) return CR_OK;
    if (asked.format && strcmp(asked.format, "ear") != 0)
        return cr_fail(CR_INVALID, "--format: \"%s\" is not known (ear)", asked.format);
    if (asked.format && asked.json) return cr_fail(CR_INVALID, "--json or --format, not both");
    return verify(&asked);
}
