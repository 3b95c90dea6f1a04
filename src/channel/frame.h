// Frames: what goes over a connection. Sixteen bytes of start, a protobuf header, a body of raw bytes.
//
//   offset 0  magic "CRL1" (the digit is the version)
//          4  u16 type
//          6  u16 zero
//          8  u32 size of the header
//         12  u32 size of the body
//
// All integers little-endian. Sizes are checked against the type's bounds before anything of that size is
// allocated. docs/PROTOCOL.md has the table of types.
#ifndef CARREL_CHANNEL_FRAME_H
#define CARREL_CHANNEL_FRAME_H

#include "base/bytes.h"

enum cr_frame_type {
    CR_FRAME_ENROL = 1,
    CR_FRAME_ENROLLED,
    CR_FRAME_REFUSED,
    CR_FRAME_HELLO,
    CR_FRAME_JOB,
    CR_FRAME_READY,
    CR_FRAME_BEGIN,
    CR_FRAME_PULL,
    CR_FRAME_VALUES,
    CR_FRAME_PROGRESS,
    CR_FRAME_TRAINED,
    CR_FRAME_CLOSED,
    CR_FRAME_FINISHED,
    CR_FRAME_BEAT,  // a sign of life; empty
    CR_FRAME_CLOSE, // nothing follows; empty. An end without it is an abrupt one.
    CR_FRAME_CHALLENGE,
    CR_FRAME_EVIDENCE,
    CR_FRAME_ADMITTED, // the sender admits what it was shown; empty
    CR_FRAME_MANIFEST,
    CR_FRAME_OFFER, // these three: of a split model's data
    CR_FRAME_CUT,
    CR_FRAME_HELD,
    CR_FRAME_ASK, // these three: of its tuned tail
    CR_FRAME_NEXT,
    CR_FRAME_SCORE,
    CR_FRAME_TYPES // one past the last
};

enum {
    CR_FRAME_START_SIZE = 16,
    CR_FRAME_BODY_LIMIT = 1 << 20,     // bytes: of Values, Manifest and Cut
    CR_FRAME_EVIDENCE_LIMIT = 1 << 18, // likewise of Evidence; no other type has a body
};

struct cr_frame {
    enum cr_frame_type type;
    struct cr_slice header;
    struct cr_slice body; // aligned to CR_ALIGNMENT when it comes from a reader
};

// The type's name for messages; "?" for a wrong one.
const char *cr_frame_name(unsigned type);

// The sixteen bytes. Sizes over the type's bounds are CR_INTERNAL: our own fault.
enum cr_status cr_frame_start(enum cr_frame_type type, size_t header_size, size_t body_size,
                              unsigned char out[CR_FRAME_START_SIZE]);

// Puts arriving bytes together into frames, without a copy: read into cr_frame_reader_space, then say how
// much came. Zero-initialise it.
struct cr_frame_reader {
    unsigned char start[CR_FRAME_START_SIZE];
    size_t have; // of start, header and body together
    unsigned type;
    size_t header_size, body_size;
    unsigned char *header; // header_capacity bytes
    size_t header_capacity;
    unsigned char *body; // body_capacity bytes
    size_t body_capacity;
    uint32_t accepted; // bit t: type t is accepted; 0: all are
};

void cr_frame_reader_release(struct cr_frame_reader *reader);

// Where the next bytes go, and how many fit; at least one unless a frame is complete.
void cr_frame_reader_space(struct cr_frame_reader *reader, unsigned char **space, size_t *size);

// `got` bytes came. Where they complete a frame, *complete is true and *frame shows it until the next
// cr_frame_reader_next. A wrong magic, a type that is unknown or not accepted, or a
// size over its bound is CR_PROTOCOL.
enum cr_status cr_frame_reader_advance(struct cr_frame_reader *reader, size_t got, bool *complete,
                                       struct cr_frame *frame);

// Forgets the complete frame and begins with the next.
void cr_frame_reader_next(struct cr_frame_reader *reader);

#endif
