// Messages: the headers of frames as plain structs, validated when they are decoded.
//
// Digests must have their size, texts must be UTF-8 without control characters, numbers must be finite;
// otherwise decoding fails with CR_PROTOCOL. Only message_decode.c and message_encode.c use protobuf-c.
#ifndef CARREL_CHANNEL_MESSAGE_H
#define CARREL_CHANNEL_MESSAGE_H

#include "channel/binding.h"
#include "channel/frame.h"

enum {
    CR_PROTOCOL_VERSION = 2,
    CR_SECRET_SIZE = 32,
    CR_RECEIPT_SIZE = 32,
    CR_MESSAGE_TEXT_SIZE = 1024, // a text with its terminating zero; longer ones are cut when sent
};

// wire.proto explains the fields.
struct cr_message {
    enum cr_frame_type type;
    union {
        struct {
            uint32_t version;
            unsigned char secret[CR_SECRET_SIZE];
            struct cr_slice request;
        } enrol;
        struct {
            struct cr_slice certificate, authority;
        } enrolled;
        struct {
            enum cr_status status;
            char reason[CR_MESSAGE_TEXT_SIZE];
        } refused;
        struct {
            uint32_t version;
            unsigned char nonce[CR_NONCE_SIZE];
        } challenge;
        struct {
            struct cr_slice binding;
        } evidence;
        struct {
            uint32_t version;
        } hello;
        struct {
            unsigned char run[CR_SHA256_SIZE];
            uint64_t seed;
        } job;
        struct {
            unsigned char structure[CR_SHA256_SIZE];
            uint64_t count;
            bool has_seen; // whether the next three are set
            uint64_t seen;
            unsigned char seen_start[CR_SHA256_SIZE], seen_receipt[CR_RECEIPT_SIZE];
        } ready;
        struct {
            uint64_t round;
            unsigned char start[CR_SHA256_SIZE], receipt[CR_RECEIPT_SIZE];
            uint64_t count;
        } begin;
        struct {
            uint64_t round, first, count;
        } pull;
        struct {
            uint64_t round, first;
        } values;
        struct {
            uint64_t round, step, steps;
            double loss, tokens_per_second;
        } progress;
        struct {
            uint64_t round;
            unsigned char start[CR_SHA256_SIZE], digest[CR_SHA256_SIZE];
            uint64_t labelled;
            double loss_sum;
        } trained;
        struct {
            uint64_t round, silos;
            double loss;
        } closed;
        struct {
            uint64_t rounds;
            unsigned char digest[CR_SHA256_SIZE], receipt[CR_RECEIPT_SIZE];
        } finished;
        struct {
            unsigned char front[CR_SHA256_SIZE], data[CR_SHA256_SIZE];
            uint64_t examples, rows;
        } offer;
        struct {
            uint64_t example, first, rows;
        } cut;
        struct {
            uint64_t examples;
        } held;
        struct {
            unsigned char front[CR_SHA256_SIZE];
            uint64_t examples, choices;
            double temperature;
            uint64_t seed;
        } ask;
        struct {
            uint32_t token;
        } next;
        struct {
            double loss_sum;
            uint64_t correct, exact, chosen;
        } score;
    };
    struct cr_slice body; // borrowed
    void *decoded;        // memory that the slices above point into, or NULL
};

// Decodes a frame's header. Release *out with cr_message_release. out->body is the frame's body, valid as
// long as that is.
enum cr_status cr_message_decode(const struct cr_frame *frame, struct cr_message *out);
void cr_message_release(struct cr_message *message); // wipes; only for messages from cr_message_decode

// Appends the header's bytes.
enum cr_status cr_message_encode(const struct cr_message *message, struct cr_buffer *out);

#endif
