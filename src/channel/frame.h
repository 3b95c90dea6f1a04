// Frames: the units that a connection carries. A frame is a start of sixteen bytes, a protobuf header, and a
// body of raw bytes.
//
//   offset 0  magic "CRL1" (the digit is the version)
//          4  u16 type
//          6  u16 zero
//          8  u32 size of the header
//         12  u32 size of the body
//
// Integers are little-endian. Sizes are checked against the type's limits before memory is allocated for
// them. docs/PROTOCOL.md has the table of types.
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
    CR_FRAME_CLOSE, // the last frame; empty. A connection that ends without it was cut.
    CR_FRAME_CHALLENGE,
    CR_FRAME_EVIDENCE,
    CR_FRAME_ADMITTED, // the sender admits the receiver; empty
    CR_FRAME_MANIFEST,
    CR_FRAME_OFFER, // these three: data of a split model
    CR_FRAME_CUT,
    CR_FRAME_HELD,
    CR_FRAME_ASK, // these three: its tuned tail
    CR_FRAME_NEXT,
    CR_FRAME_SCORE,
    CR_FRAME_TYPES // one past the last
};

enum {
    CR_FRAME_START_SIZE = 16,
    CR_FRAME_BODY_LIMIT = 1 << 20,     // bytes in the body of Values, Manifest and Cut
    CR_FRAME_EVIDENCE_LIMIT = 1 << 18, // likewise of Evidence; the other types have no body
};

struct cr_frame {
    enum cr_frame_type type;
    struct cr_slice header;
    struct cr_slice body; // aligned to CR_ALIGNMENT if it comes from a reader
};

// The type's name, for messages; "?" if there is no such type.
const char *cr_frame_name(unsigned type);

// Writes a frame's start. Sizes over the type's limits are a bug: CR_INTERNAL.
enum cr_status cr_frame_start(enum cr_frame_type type, size_t header_size, size_t body_size,
                              unsigned char out[CR_FRAME_START_SIZE]);

// Assembles arriving bytes into frames without copying them: read into cr_frame_reader_space, then call
// cr_frame_reader_advance with how many bytes arrived. Zero-initialise it.
struct cr_frame_reader {
    unsigned char start[CR_FRAME_START_SIZE];
    size_t have; // bytes received, of start, header and body together
    unsigned type;
    size_t header_size, body_size;
    unsigned char *header; // header_capacity bytes
    size_t header_capacity;
    unsigned char *body; // body_capacity bytes
    size_t body_capacity;
    uint32_t accepted; // bit t: type t is accepted; 0: all are
};

void cr_frame_reader_release(struct cr_frame_reader *reader);

// Sets *space to where the next bytes go and *size to how many fit; at least one unless a frame is complete.
void cr_frame_reader_space(struct cr_frame_reader *reader, unsigned char **space, size_t *size);

// Call it when `got` bytes have arrived. If they complete a frame, *complete is true and *frame points to it
// until the next cr_frame_reader_next. A wrong magic, an unknown or unaccepted type, or a size over its limit
// is CR_PROTOCOL.
enum cr_status cr_frame_reader_advance(struct cr_frame_reader *reader, size_t got, bool *complete,
                                       struct cr_frame *frame);

// Drops the complete frame and begins the next.
void cr_frame_reader_next(struct cr_frame_reader *reader);

#endif
