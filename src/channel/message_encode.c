#include "channel/message.h"

#include "wire.pb-c.h"

// protobuf-c's structs take pointers to writable bytes, but packing only reads them.
static ProtobufCBinaryData bytes_of(const unsigned char *data, size_t size)
{
    return (ProtobufCBinaryData){.len = size, .data = (unsigned char *)(uintptr_t)data};
}

static enum cr_status pack(const ProtobufCMessage *message, struct cr_buffer *out)
{
    unsigned char bytes[16384];
    if (protobuf_c_message_get_packed_size(message) > sizeof bytes)
        return cr_fail(CR_INTERNAL, "a message is over its bound");
    size_t size = protobuf_c_message_pack(message, bytes);
    enum cr_status status = cr_append(out, bytes, size);
    cr_wipe(bytes, size);
    return status;
}

#define DIGEST(bytes) bytes_of((bytes), CR_SHA256_SIZE)

enum cr_status cr_message_encode(const struct cr_message *in, struct cr_buffer *out)
{
    switch (in->type) {
    case CR_FRAME_ENROL: {
        Carrel__Enrol wire = CARREL__ENROL__INIT;
        wire.version = in->enrol.version;
        wire.secret = bytes_of(in->enrol.secret, CR_SECRET_SIZE);
        wire.request = bytes_of(in->enrol.request.data, in->enrol.request.size);
        return pack(&wire.base, out);
    }
    case CR_FRAME_ENROLLED: {
        Carrel__Enrolled wire = CARREL__ENROLLED__INIT;
        wire.certificate = bytes_of(in->enrolled.certificate.data, in->enrolled.certificate.size);
        wire.authority = bytes_of(in->enrolled.authority.data, in->enrolled.authority.size);
        return pack(&wire.base, out);
    }
    case CR_FRAME_REFUSED: {
        Carrel__Refused wire = CARREL__REFUSED__INIT;
        wire.status = in->refused.status;
        wire.reason = (char *)(uintptr_t)in->refused.reason;
        return pack(&wire.base, out);
    }
    case CR_FRAME_CHALLENGE: {
        Carrel__Challenge wire = CARREL__CHALLENGE__INIT;
        wire.version = in->challenge.version;
        wire.nonce = bytes_of(in->challenge.nonce, CR_NONCE_SIZE);
        return pack(&wire.base, out);
    }
    case CR_FRAME_EVIDENCE: {
        Carrel__Evidence wire = CARREL__EVIDENCE__INIT;
        wire.binding = bytes_of(in->evidence.binding.data, in->evidence.binding.size);
        return pack(&wire.base, out);
    }
    case CR_FRAME_HELLO: {
        Carrel__Hello wire = CARREL__HELLO__INIT;
        wire.version = in->hello.version;
        return pack(&wire.base, out);
    }
    case CR_FRAME_JOB: {
        Carrel__Job wire = CARREL__JOB__INIT;
        wire.run = DIGEST(in->job.run);
        wire.seed = in->job.seed;
        return pack(&wire.base, out);
    }
    case CR_FRAME_READY: {
        Carrel__Ready wire = CARREL__READY__INIT;
        wire.structure = DIGEST(in->ready.structure);
        wire.count = in->ready.count;
        if (in->ready.has_seen) {
            wire.seen = in->ready.seen;
            wire.seen_start = DIGEST(in->ready.seen_start);
            wire.seen_receipt = bytes_of(in->ready.seen_receipt, CR_RECEIPT_SIZE);
        }
        return pack(&wire.base, out);
    }
    case CR_FRAME_BEGIN: {
        Carrel__Begin wire = CARREL__BEGIN__INIT;
        wire.round = in->begin.round;
        wire.start = DIGEST(in->begin.start);
        wire.receipt = bytes_of(in->begin.receipt, CR_RECEIPT_SIZE);
        wire.count = in->begin.count;
        return pack(&wire.base, out);
    }
    case CR_FRAME_PULL: {
        Carrel__Pull wire = CARREL__PULL__INIT;
        wire.round = in->pull.round;
        wire.first = in->pull.first;
        wire.count = in->pull.count;
        return pack(&wire.base, out);
    }
    case CR_FRAME_VALUES: {
        Carrel__Values wire = CARREL__VALUES__INIT;
        wire.round = in->values.round;
        wire.first = in->values.first;
        return pack(&wire.base, out);
    }
    case CR_FRAME_PROGRESS: {
        Carrel__Progress wire = CARREL__PROGRESS__INIT;
        wire.round = in->progress.round;
        wire.step = in->progress.step;
        wire.steps = in->progress.steps;
        wire.loss = in->progress.loss;
        wire.tokens_per_second = in->progress.tokens_per_second;
        return pack(&wire.base, out);
    }
    case CR_FRAME_TRAINED: {
        Carrel__Trained wire = CARREL__TRAINED__INIT;
        wire.round = in->trained.round;
        wire.start = DIGEST(in->trained.start);
        wire.digest = DIGEST(in->trained.digest);
        wire.labelled = in->trained.labelled;
        wire.loss_sum = in->trained.loss_sum;
        return pack(&wire.base, out);
    }
    case CR_FRAME_CLOSED: {
        Carrel__Closed wire = CARREL__CLOSED__INIT;
        wire.round = in->closed.round;
        wire.silos = in->closed.silos;
        wire.loss = in->closed.loss;
        return pack(&wire.base, out);
    }
    case CR_FRAME_FINISHED: {
        Carrel__Finished wire = CARREL__FINISHED__INIT;
        wire.rounds = in->finished.rounds;
        wire.digest = DIGEST(in->finished.digest);
        wire.receipt = bytes_of(in->finished.receipt, CR_RECEIPT_SIZE);
        return pack(&wire.base, out);
    }
    case CR_FRAME_OFFER: {
        Carrel__Offer wire = CARREL__OFFER__INIT;
        wire.front = DIGEST(in->offer.front);
        wire.data = DIGEST(in->offer.data);
        wire.examples = in->offer.examples;
        wire.rows = in->offer.rows;
        return pack(&wire.base, out);
    }
    case CR_FRAME_CUT: {
        Carrel__Cut wire = CARREL__CUT__INIT;
        wire.example = in->cut.example;
        wire.first = in->cut.first;
        wire.rows = in->cut.rows;
        return pack(&wire.base, out);
    }
    case CR_FRAME_HELD: {
        Carrel__Held wire = CARREL__HELD__INIT;
        wire.examples = in->held.examples;
        return pack(&wire.base, out);
    }
    case CR_FRAME_ASK: {
        Carrel__Ask wire = CARREL__ASK__INIT;
        wire.front = DIGEST(in->ask.front);
        wire.examples = in->ask.examples;
        wire.choices = in->ask.choices;
        wire.temperature = in->ask.temperature;
        wire.seed = in->ask.seed;
        return pack(&wire.base, out);
    }
    case CR_FRAME_NEXT: {
        Carrel__Next wire = CARREL__NEXT__INIT;
        wire.token = in->next.token;
        return pack(&wire.base, out);
    }
    case CR_FRAME_SCORE: {
        Carrel__Score wire = CARREL__SCORE__INIT;
        wire.loss_sum = in->score.loss_sum;
        wire.correct = in->score.correct;
        wire.exact = in->score.exact;
        wire.chosen = in->score.chosen;
        return pack(&wire.base, out);
    }
    default:
        return CR_OK;
    }
}
