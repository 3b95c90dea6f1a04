#include "channel/challenge.h"

#include "crypto/random.h"

#include <stdlib.h>
#include <string.h>

struct cr_challenge {
    const struct cr_admission *admission;
    struct cr_ends ends;
    double began;
    struct cr_binding own, expected;   // own.challenge and expected.nonce come from the peer
    bool challenged, admits, admitted; // the peer sent its nonce; it is admitted; it admits this end
    struct cr_buffer own_binding, own_evidence;
    struct cr_buffer binding, evidence; // the peer's
};

enum cr_status cr_challenge_new(const struct cr_admission *admission, const struct cr_ends *ends, double now,
                                struct cr_challenge **out)
{
    struct cr_challenge *c;
    CR_TRY(cr_allocate(1, sizeof *c, &c));
    *c = (struct cr_challenge){.admission = admission,
                               .ends = *ends,
                               .began = now,
                               .admits = !admission->demands,
                               .admitted = !admission->shows};
    enum cr_status status = cr_random_bytes(c->own.nonce, CR_NONCE_SIZE);
    if (status != CR_OK) {
        cr_challenge_free(c);
        return status;
    }
    memcpy(c->expected.challenge, c->own.nonce, CR_NONCE_SIZE);
    memcpy(c->own.role, ends->own.role, CR_NAME_SIZE);
    memcpy(c->expected.role, ends->peer.role, CR_NAME_SIZE);
    memcpy(c->own.exporter, ends->exporter, CR_TLS_EXPORTER_SIZE);
    memcpy(c->expected.exporter, ends->exporter, CR_TLS_EXPORTER_SIZE);
    memcpy(c->own.attester_key, ends->own.key, CR_SHA256_SIZE);
    memcpy(c->expected.verifier_key, ends->own.key, CR_SHA256_SIZE);
    memcpy(c->own.verifier_key, ends->peer.key, CR_SHA256_SIZE);
    memcpy(c->expected.attester_key, ends->peer.key, CR_SHA256_SIZE);
    memcpy(c->own.job, admission->job, CR_SHA256_SIZE);
    memcpy(c->expected.job, admission->job, CR_SHA256_SIZE);
    *out = c;
    return CR_OK;
}

void cr_challenge_free(struct cr_challenge *c)
{
    if (!c) return;
    cr_buffer_release(&c->own_binding);
    cr_buffer_release(&c->own_evidence);
    cr_buffer_release(&c->binding);
    cr_buffer_release(&c->evidence);
    free(c);
}

void cr_challenge_ask(const struct cr_challenge *c, struct cr_message *out)
{
    *out = (struct cr_message){.type = CR_FRAME_CHALLENGE, .challenge.version = CR_PROTOCOL_VERSION};
    memcpy(out->challenge.nonce, c->own.nonce, CR_NONCE_SIZE);
}

static enum cr_status show(struct cr_challenge *c, struct cr_message *answer)
{
    unsigned char report_data[CR_REPORT_DATA_SIZE];
    enum cr_evidence_type type;
    CR_TRY(cr_binding_write(&c->own, &c->own_binding));
    CR_TRY(cr_binding_report_data(cr_buffer_slice(&c->own_binding), c->admission->attester == CR_ATTESTER_TPM,
                                  report_data));
    enum cr_status status = cr_attester_attest(c->admission->attester, c->admission->places, report_data,
                                               &type, &c->own_evidence);
    if (status != CR_OK) return cr_fail_within(status, "no evidence of this end");
    *answer = (struct cr_message){.type = CR_FRAME_EVIDENCE,
                                  .evidence.binding = cr_buffer_slice(&c->own_binding),
                                  .body = cr_buffer_slice(&c->own_evidence)};
    return CR_OK;
}

static enum cr_status on_challenge(struct cr_challenge *c, const struct cr_message *message,
                                   struct cr_message *answer)
{
    if (c->challenged) return cr_fail(CR_PROTOCOL, "%s sent a second challenge", c->ends.peer.name);
    if (message->challenge.version != CR_PROTOCOL_VERSION)
        return cr_fail(CR_PROTOCOL, "protocol version %u, where this end speaks %d",
                       message->challenge.version, CR_PROTOCOL_VERSION);
    c->challenged = true;
    memcpy(c->own.challenge, message->challenge.nonce, CR_NONCE_SIZE);
    memcpy(c->expected.nonce, message->challenge.nonce, CR_NONCE_SIZE);
    return c->admission->shows ? show(c, answer) : CR_OK;
}

static enum cr_status judge(const struct cr_challenge *c, uint64_t round)
{
    const struct cr_shown shown = {cr_buffer_slice(&c->binding), cr_buffer_slice(&c->evidence)};
    return cr_admission_judge(c->admission, &shown, &c->expected, &c->own, &c->ends.peer, c->ends.address,
                              round);
}

static enum cr_status on_evidence(struct cr_challenge *c, const struct cr_message *message, double now,
                                  struct cr_message *answer)
{
    if (!c->admission->demands)
        return cr_fail(CR_PROTOCOL, "%s sent evidence, which it was not asked for", c->ends.peer.name);
    if (!c->challenged)
        return cr_fail(CR_PROTOCOL, "%s sent evidence before its challenge", c->ends.peer.name);
    if (c->binding.size > 0) return cr_fail(CR_PROTOCOL, "%s sent evidence twice", c->ends.peer.name);
    CR_TRY(cr_challenge_check_time(c, now));
    CR_TRY(cr_append(&c->binding, message->evidence.binding.data, message->evidence.binding.size));
    CR_TRY(cr_append(&c->evidence, message->body.data, message->body.size));
    CR_TRY(judge(c, 0));
    c->admits = true;
    *answer = (struct cr_message){.type = CR_FRAME_ADMITTED};
    return CR_OK;
}

static enum cr_status on_admitted(struct cr_challenge *c)
{
    if (c->own_evidence.size == 0 || c->admitted)
        return cr_fail(CR_PROTOCOL, "%s admits what it was not shown", c->ends.peer.name);
    if (!c->admits)
        return cr_fail(CR_PROTOCOL, "%s admits this end before it has shown its own evidence",
                       c->ends.peer.name);
    c->admitted = true;
    return CR_OK;
}

enum cr_status cr_challenge_take(struct cr_challenge *c, const struct cr_message *message, double now,
                                 struct cr_message *answer)
{
    *answer = (struct cr_message){0};
    switch (message->type) {
    case CR_FRAME_CHALLENGE:
        return on_challenge(c, message, answer);
    case CR_FRAME_EVIDENCE:
        return on_evidence(c, message, now, answer);
    case CR_FRAME_ADMITTED:
        return on_admitted(c);
    default:
        return cr_fail(CR_PROTOCOL, "%s came before both ends were attested", cr_frame_name(message->type));
    }
}

bool cr_challenge_done(const struct cr_challenge *c)
{
    return c->admits && c->admitted;
}

enum cr_status cr_challenge_check_time(const struct cr_challenge *c, double now)
{
    if (cr_challenge_done(c) || now - c->began <= c->admission->limit) return CR_OK;
    return cr_fail(CR_TIMEOUT, "%s: %s within %g seconds of the challenge", c->ends.peer.name,
                   c->admits ? "it did not admit this end" : "it showed no evidence", c->admission->limit);
}

enum cr_status cr_challenge_again(const struct cr_challenge *c, uint64_t round)
{
    return c->admission->demands ? judge(c, round) : CR_OK;
}
