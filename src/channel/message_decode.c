#include "channel/message.h"

#include "wire.pb-c.h"

#include <math.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// A header has at most 16 KiB. Memory that protobuf-c allocates for it is limited too.
enum { DECODE_LIMIT = 256 * 1024 };

struct decoded {
    ProtobufCAllocator allocator;
    size_t used;
    ProtobufCMessage *message;
};

// Precedes each block of memory. Some messages hold secrets, so a block is wiped before it is freed.
struct block {
    alignas(max_align_t) size_t size;
};

static void *bounded_alloc(void *context, size_t size)
{
    struct decoded *decoded = context;
    if (size > DECODE_LIMIT - decoded->used) return NULL;
    decoded->used += size;
    struct block *block = malloc(sizeof *block + size);
    if (!block) return NULL;
    block->size = size;
    return block + 1;
}

static void bounded_free(void *context, void *bytes)
{
    (void)context;
    if (!bytes) return;
    struct block *block = (struct block *)bytes - 1;
    cr_wipe(bytes, block->size);
    free(block);
}

static const ProtobufCMessageDescriptor *const descriptors[CR_FRAME_TYPES] = {
    [CR_FRAME_ENROL] = &carrel__enrol__descriptor,
    [CR_FRAME_ENROLLED] = &carrel__enrolled__descriptor,
    [CR_FRAME_REFUSED] = &carrel__refused__descriptor,
    [CR_FRAME_HELLO] = &carrel__hello__descriptor,
    [CR_FRAME_JOB] = &carrel__job__descriptor,
    [CR_FRAME_READY] = &carrel__ready__descriptor,
    [CR_FRAME_BEGIN] = &carrel__begin__descriptor,
    [CR_FRAME_PULL] = &carrel__pull__descriptor,
    [CR_FRAME_VALUES] = &carrel__values__descriptor,
    [CR_FRAME_PROGRESS] = &carrel__progress__descriptor,
    [CR_FRAME_TRAINED] = &carrel__trained__descriptor,
    [CR_FRAME_CLOSED] = &carrel__closed__descriptor,
    [CR_FRAME_FINISHED] = &carrel__finished__descriptor,
    [CR_FRAME_CHALLENGE] = &carrel__challenge__descriptor,
    [CR_FRAME_EVIDENCE] = &carrel__evidence__descriptor,
    [CR_FRAME_OFFER] = &carrel__offer__descriptor,
    [CR_FRAME_CUT] = &carrel__cut__descriptor,
    [CR_FRAME_HELD] = &carrel__held__descriptor,
    [CR_FRAME_ASK] = &carrel__ask__descriptor,
    [CR_FRAME_NEXT] = &carrel__next__descriptor,
    [CR_FRAME_SCORE] = &carrel__score__descriptor,
};

static enum cr_status wrong(enum cr_frame_type type, const char *field)
{
    return cr_fail(CR_PROTOCOL, "the peer sent a %s message with a wrong %s", cr_frame_name(type), field);
}

static enum cr_status take_bytes(enum cr_frame_type type, const char *field, const ProtobufCBinaryData *data,
                                 unsigned char *out, size_t size)
{
    if (data->len != size) return wrong(type, field);
    memcpy(out, data->data, size);
    return CR_OK;
}

static enum cr_status take_text(enum cr_frame_type type, const char *field, const char *text,
                                char out[CR_MESSAGE_TEXT_SIZE])
{
    size_t size = strlen(text);
    if (size >= CR_MESSAGE_TEXT_SIZE || !cr_utf8_valid(cr_slice_of_string(text), NULL))
        return wrong(type, field);
    // Texts are shown to people, so control characters, which could move a terminal's cursor, are refused.
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
            ((unsigned char)text[i] == 0xc2 && (unsigned char)text[i + 1] < 0xa0)) // C1
            return wrong(type, field);
    memcpy(out, text, size + 1);
    return CR_OK;
}

// DER and CBOR are never empty.
static enum cr_status take_slice(enum cr_frame_type type, const char *field, const ProtobufCBinaryData *data,
                                 struct cr_slice *out)
{
    if (data->len == 0) return wrong(type, field);
    *out = (struct cr_slice){data->data, data->len};
    return CR_OK;
}

static enum cr_status take_number(enum cr_frame_type type, const char *field, double number, double *out)
{
    if (!isfinite(number)) return wrong(type, field);
    *out = number;
    return CR_OK;
}

#define AS(kind) const Carrel__##kind *in = (const Carrel__##kind *)(const void *)base

static enum cr_status take(const ProtobufCMessage *base, struct cr_message *out)
{
    enum cr_frame_type type = out->type;
    switch (type) {
    case CR_FRAME_ENROL: {
        AS(Enrol);
        out->enrol.version = in->version;
        CR_TRY(take_bytes(type, "secret", &in->secret, out->enrol.secret, CR_SECRET_SIZE));
        return take_slice(type, "request", &in->request, &out->enrol.request);
    }
    case CR_FRAME_ENROLLED: {
        AS(Enrolled);
        CR_TRY(take_slice(type, "certificate", &in->certificate, &out->enrolled.certificate));
        return take_slice(type, "authority", &in->authority, &out->enrolled.authority);
    }
    case CR_FRAME_REFUSED: {
        AS(Refused);
        // CR_CANCELLED means that a user stopped this run, which is no failure; a peer may not report it.
        if (in->status == CR_OK || in->status == CR_CANCELLED || in->status > CR_INTERNAL)
            return wrong(type, "status");
        out->refused.status = (enum cr_status)in->status;
        return take_text(type, "reason", in->reason, out->refused.reason);
    }
    case CR_FRAME_CHALLENGE: {
        AS(Challenge);
        out->challenge.version = in->version;
        return take_bytes(type, "nonce", &in->nonce, out->challenge.nonce, CR_NONCE_SIZE);
    }
    case CR_FRAME_EVIDENCE: {
        AS(Evidence);
        return take_slice(type, "binding", &in->binding, &out->evidence.binding);
    }
    case CR_FRAME_HELLO: {
        AS(Hello);
        out->hello.version = in->version;
        return CR_OK;
    }
    case CR_FRAME_JOB: {
        AS(Job);
        out->job.seed = in->seed;
        return take_bytes(type, "run", &in->run, out->job.run, CR_SHA256_SIZE);
    }
    case CR_FRAME_READY: {
        AS(Ready);
        out->ready.count = in->count;
        out->ready.has_seen = in->seen_receipt.len > 0;
        out->ready.seen = in->seen;
        if (out->ready.has_seen) {
            CR_TRY(take_bytes(type, "start", &in->seen_start, out->ready.seen_start, CR_SHA256_SIZE));
            CR_TRY(take_bytes(type, "receipt", &in->seen_receipt, out->ready.seen_receipt, CR_RECEIPT_SIZE));
        }
        return take_bytes(type, "structure", &in->structure, out->ready.structure, CR_SHA256_SIZE);
    }
    case CR_FRAME_BEGIN: {
        AS(Begin);
        out->begin.round = in->round;
        out->begin.count = in->count;
        CR_TRY(take_bytes(type, "receipt", &in->receipt, out->begin.receipt, CR_RECEIPT_SIZE));
        return take_bytes(type, "start", &in->start, out->begin.start, CR_SHA256_SIZE);
    }
    case CR_FRAME_PULL: {
        AS(Pull);
        out->pull.round = in->round;
        out->pull.first = in->first;
        out->pull.count = in->count;
        return CR_OK;
    }
    case CR_FRAME_VALUES: {
        AS(Values);
        out->values.round = in->round;
        out->values.first = in->first;
        return CR_OK;
    }
    case CR_FRAME_PROGRESS: {
        AS(Progress);
        out->progress.round = in->round;
        out->progress.step = in->step;
        out->progress.steps = in->steps;
        CR_TRY(take_number(type, "loss", in->loss, &out->progress.loss));
        return take_number(type, "speed", in->tokens_per_second, &out->progress.tokens_per_second);
    }
    case CR_FRAME_TRAINED: {
        AS(Trained);
        out->trained.round = in->round;
        out->trained.labelled = in->labelled;
        CR_TRY(take_bytes(type, "start", &in->start, out->trained.start, CR_SHA256_SIZE));
        CR_TRY(take_bytes(type, "digest", &in->digest, out->trained.digest, CR_SHA256_SIZE));
        // Only shown to people, so any value is accepted. An update is judged by its values.
        out->trained.loss_sum = in->loss_sum;
        return CR_OK;
    }
    case CR_FRAME_CLOSED: {
        AS(Closed);
        out->closed.round = in->round;
        out->closed.silos = in->silos;
        return take_number(type, "loss", in->loss, &out->closed.loss);
    }
    case CR_FRAME_FINISHED: {
        AS(Finished);
        out->finished.rounds = in->rounds;
        CR_TRY(take_bytes(type, "receipt", &in->receipt, out->finished.receipt, CR_RECEIPT_SIZE));
        return take_bytes(type, "digest", &in->digest, out->finished.digest, CR_SHA256_SIZE);
    }
    case CR_FRAME_OFFER: {
        AS(Offer);
        out->offer.examples = in->examples;
        out->offer.rows = in->rows;
        CR_TRY(take_bytes(type, "front", &in->front, out->offer.front, CR_SHA256_SIZE));
        return take_bytes(type, "data", &in->data, out->offer.data, CR_SHA256_SIZE);
    }
    case CR_FRAME_CUT: {
        AS(Cut);
        out->cut.example = in->example;
        out->cut.first = in->first;
        out->cut.rows = in->rows;
        return CR_OK;
    }
    case CR_FRAME_HELD: {
        AS(Held);
        out->held.examples = in->examples;
        return CR_OK;
    }
    case CR_FRAME_ASK: {
        AS(Ask);
        out->ask.examples = in->examples;
        out->ask.choices = in->choices;
        out->ask.seed = in->seed;
        CR_TRY(take_number(type, "temperature", in->temperature, &out->ask.temperature));
        return take_bytes(type, "front", &in->front, out->ask.front, CR_SHA256_SIZE);
    }
    case CR_FRAME_NEXT: {
        AS(Next);
        out->next.token = in->token;
        return CR_OK;
    }
    case CR_FRAME_SCORE: {
        AS(Score);
        out->score.correct = in->correct;
        out->score.exact = in->exact;
        out->score.chosen = in->chosen;
        return take_number(type, "loss", in->loss_sum, &out->score.loss_sum);
    }
    default:
        return CR_OK;
    }
}

static void free_decoded(struct decoded *decoded)
{
    if (decoded->message) protobuf_c_message_free_unpacked(decoded->message, &decoded->allocator);
    free(decoded);
}

enum cr_status cr_message_decode(const struct cr_frame *frame, struct cr_message *out)
{
    struct cr_message message = {.type = frame->type, .body = frame->body};
    const ProtobufCMessageDescriptor *descriptor = descriptors[frame->type];
    if (descriptor) {
        struct decoded *decoded;
        CR_TRY(cr_allocate(1, sizeof *decoded, &decoded));
        decoded->allocator = (ProtobufCAllocator){bounded_alloc, bounded_free, decoded};
        decoded->message = protobuf_c_message_unpack(descriptor, &decoded->allocator, frame->header.size,
                                                     frame->header.data);
        enum cr_status status = CR_OK;
        if (!decoded->message)
            status = cr_fail(CR_PROTOCOL, "the peer sent a malformed %s message", cr_frame_name(frame->type));
        if (status == CR_OK) status = take(decoded->message, &message);
        if (status != CR_OK) {
            free_decoded(decoded);
            cr_wipe(&message, sizeof message); // a token's secret
            return status;
        }
        message.decoded = decoded;
    }
    *out = message;
    cr_wipe(&message, sizeof message);
    return CR_OK;
}

void cr_message_release(struct cr_message *message)
{
    if (message->decoded) free_decoded(message->decoded);
    cr_wipe(message, sizeof *message);
}
