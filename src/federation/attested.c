#include "federation/attested.h"

#include "attestation/audit.h"
#include "base/clock.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

static const double seconds_to_show_evidence = 30;

struct cr_attested {
    struct cr_appraisal_policy policy;
    struct cr_admission admission;
    struct cr_attester_places places;
    struct cr_audit *audit;
    const struct cr_event_sink *sink;
};

static void warn(const struct cr_event_sink *sink, const char *message)
{
    cr_event_send(sink, CR_EVENT_WARNING, "attestation.warning", message, NULL, 0);
}

static bool names_program(const struct cr_claim *claim)
{
    return strcmp(claim->key, "mrenclave") == 0 || strcmp(claim->key, "mrtd") == 0 ||
           strcmp(claim->key, "measurement") == 0;
}

// Appends a sentence that says on what grounds a peer is admitted, with each finding that the policy
// accepted.
static enum cr_status append_grounds(const struct cr_appraisal *appraisal, struct cr_buffer *out)
{
    bool proved = cr_appraisal_verdict(appraisal) == CR_AFFIRMED;
    CR_TRY(
        cr_append_format(out, proved ? "genuine, and a program that the policy names" : "NOTHING IS PROVED"));
    if (proved && appraisal->tcb_status) CR_TRY(cr_append_format(out, "; TCB %s", appraisal->tcb_status));
    for (size_t i = 0; proved && i < appraisal->claim_count; i++)
        if (names_program(&appraisal->claims[i]))
            CR_TRY(cr_append_format(out, "; %s %s", appraisal->claims[i].key, appraisal->claims[i].text));
    for (size_t i = 0; i < appraisal->finding_count; i++)
        if (appraisal->findings[i].outcome == CR_ADMITTED)
            CR_TRY(cr_append_format(out, "; %s", appraisal->findings[i].reason));
    return CR_OK;
}

// An appraisal before a round is reported as news only if it refuses the peer.
static void tell(const struct cr_attested *attested, const struct cr_audit_entry *entry, bool admitted)
{
    const char *name = !admitted          ? "attestation.refused"
                       : entry->round > 0 ? "attestation.again"
                                          : "attestation.admitted";
    enum cr_event_level level = !admitted          ? CR_EVENT_WARNING
                                : entry->round > 0 ? CR_EVENT_DEBUG
                                                   : CR_EVENT_INFO;
    cr_emit(attested->sink, level, name, entry->grounds, CR_FIELD_TEXT("peer", entry->peer),
            CR_FIELD_TEXT("role", entry->role), CR_FIELD_TEXT("address", entry->address),
            CR_FIELD_TEXT("type", entry->type), CR_FIELD_TEXT("verdict", entry->verdict),
            CR_FIELD("round", entry->round));
}

// Writes the audit log first, and then sends the event.
static enum cr_status on_appraised(void *context, const struct cr_appraised *what)
{
    const struct cr_attested *attested = context;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer grounds = {0};
    struct cr_audit_entry entry = {
        .time = what->time,
        .peer = what->peer->name,
        .role = what->peer->role,
        .address = what->address,
        .round = what->round,
        .type = what->evidence ? cr_evidence_type_name(what->evidence->type) : "none",
        .verdict = "refused",
    };
    memcpy(entry.key, what->peer->key, CR_SHA256_SIZE);
    memcpy(entry.job, attested->admission.job, CR_SHA256_SIZE);
    CR_TRY(cr_sha256(what->bytes, entry.evidence));
    if (!what->refusal) {
        CR_TRY(append_grounds(what->appraisal, &grounds));
        entry.verdict = cr_verdict_name(cr_appraisal_verdict(what->appraisal));
    }
    entry.grounds = what->refusal ? what->refusal : cr_buffer_text(&grounds);
    CR_TRY(cr_audit_append(attested->audit, &entry));
    tell(attested, &entry, !what->refusal);
    return CR_OK;
}

static struct cr_attester_places places_of(const struct cr_attested_host *host)
{
    struct cr_attester_places places = cr_attester_places;
    if (host->tpm) places.tpm = host->tpm;
    return places;
}

static enum cr_status try_attester(const struct cr_attested_host *host, enum cr_attester *out)
{
    static const unsigned char report_data[CR_REPORT_DATA_SIZE];
    const struct cr_attester_places places = places_of(host);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer evidence = {0};
    enum cr_evidence_type type;
    CR_TRY(cr_attester_choose(host->attester, &places, out));
    return cr_attester_attest(*out, &places, report_data, &type, &evidence);
}

// Tries to read the endorsements. They are read anew for each appraisal, so with a wrong path every peer
// would be refused.
static enum cr_status try_endorsements(const char *path)
{
    CR_CLEANUP(cr_endorsements_release) struct cr_endorsements *endorsements = NULL;
    CR_TRY(cr_endorsements_new(&endorsements));
    return cr_endorsements_read(endorsements, path);
}

enum cr_status cr_attested_check(const struct cr_attested_host *host, bool policy, enum cr_attester *out)
{
    enum cr_status status = CR_OK;
    if (policy && !host->shows && strcmp(host->attester, "auto") != 0)
        return cr_fail(CR_INVALID, "the attester %s is of no use: a silo of a split model shows no evidence",
                       host->attester);
    if (!policy && strcmp(host->attester, "auto") != 0)
        return cr_fail(CR_INVALID,
                       "the attester %s is of no use: the job has no appraisal policy, and without one "
                       "nobody is attested",
                       host->attester);
    if (!policy) return CR_OK;
    if (host->shows) status = try_attester(host, out);
    if (status != CR_OK) return cr_fail_within(status, "the job asks for evidence of this machine");
    if (host->demands && host->endorsements) status = try_endorsements(host->endorsements);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "endorsements");
}

static enum cr_status open_audit(const struct cr_attested_host *host, struct cr_audit **out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(host->state, "audit.jsonl", &path));
    return cr_audit_open(path, cr_clock_unix(), out);
}

static enum cr_status fill(const struct cr_manifest *manifest, const struct cr_attested_host *host,
                           struct cr_attested *attested)
{
    struct cr_admission *admission = &attested->admission;
    CR_TRY(open_audit(host, &attested->audit));
    attested->places = places_of(host);
    admission->places = &attested->places;
    admission->shows = host->shows;
    admission->demands = host->demands;
    admission->policy = &attested->policy;
    admission->endorsements = host->endorsements;
    memcpy(admission->job, manifest->digest, CR_SHA256_SIZE);
    admission->limit = seconds_to_show_evidence;
    admission->clock = cr_clock_unix;
    admission->time_floor = manifest->time_floor;
    admission->collateral_floor = manifest->collateral_floor;
    admission->appraised = on_appraised;
    admission->context = attested;
    if (host->shows && admission->attester == CR_ATTESTER_DEVELOPMENT)
        warn(attested->sink,
             "THE DEVELOPMENT ATTESTER PROVES NOTHING: a key that anybody could have made signs "
             "its evidence, not a TEE");
    if (host->demands && attested->policy.allow_development)
        warn(attested->sink,
             "the job's appraisal policy has allow_development: it admits peers that prove nothing");
    return CR_OK;
}

enum cr_status cr_attested_open(const struct cr_manifest *manifest, const struct cr_attested_host *host,
                                const struct cr_event_sink *sink, struct cr_attested **out)
{
    struct cr_attested *attested;
    enum cr_attester attester = CR_ATTESTERS;
    CR_TRY(cr_attested_check(host, manifest->policy != NULL, &attester));
    if (!manifest->policy) {
        *out = NULL;
        warn(sink, "NOBODY IS ATTESTED: the job has no appraisal policy, so neither this end nor the other "
                   "proves what program it is");
        return CR_OK;
    }
    CR_TRY(cr_allocate(1, sizeof *attested, &attested));
    attested->sink = sink;
    attested->admission.attester = attester;
    enum cr_status status = cr_appraisal_policy_parse(cr_slice_of_string(manifest->policy),
                                                      "the job's policy", &attested->policy);
    if (status == CR_OK) status = fill(manifest, host, attested);
    if (status != CR_OK) {
        cr_attested_close(attested);
        return status;
    }
    *out = attested;
    return CR_OK;
}

void cr_attested_close(struct cr_attested *attested)
{
    if (!attested) return;
    cr_audit_close(attested->audit);
    cr_appraisal_policy_release(&attested->policy);
    free(attested);
}

const struct cr_admission *cr_attested_admission(const struct cr_attested *attested)
{
    return attested ? &attested->admission : NULL;
}
