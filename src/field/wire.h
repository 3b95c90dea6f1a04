// What a trusted process and its accelerator say to each other, version 3.
//
// A connection is a dialogue: the trusted process asks, the accelerator answers each question before it reads
// the next. Every message is a head of 32 bytes and a body of the size that the head names; integers are
// little-endian.
//
//   head:    "CRAC", type u32, request u64, size u64, zero u64
//   HELLO    version u32, digits u32, shared u64, matrices u64,    trusted process, first
//            pads u64
//   READY    engine [32], zero-padded ASCII                        the answer
//   PRODUCT  linear u32, direction u32, rows u32, parts u32,       then the words x' [rows, K] u32
//            place u64, turn u32, around u32
//   RESULT   nothing                                               then the words Y' [rows, parts, N] u32
//   FAILED   a sentence, printable ASCII                           the answer where there is none
//   FRONT    layers u32, sequences u32, rows u32, zero u32         then tokens [rows] u32, lengths
//                                                                  [sequences] u32
//
// `shared` bytes of memory, where it is not zero, follow HELLO as a descriptor (a sealed memfd over a unix
// socket); words are then in that memory and never in a message: those of a question at its start, those of
// its answer behind them, from the next multiple of 64 bytes on. Otherwise words are the rest of the
// message's body.
//
// `pads` bytes of a second memory, where it is not zero, follow as another descriptor (sealed against whoever
// gets it): there lie the products of pads, under pads of their own, for the accelerator to take away from
// its answer, Y' − c mod p. It learns nothing by it that it, or whoever can read that memory, could not work
// out. The words c of row i, [parts, N], begin (turn + i) mod `around` rows behind word `place`; where
// `around` is zero nothing is taken away.
//
// `digits` says how many base-256 digits a word has, and with it p: 4 for 2³¹ − 1, 3 for 2²³ − 15. `linear`
// counts the linears of a model in the order of a walk: qkv, o, gate_up and down of each layer, then the
// head. `direction` is 0 for Y = x Qᵀ and 1 for Y = x Q, both mod p; words of x that are not below p make an
// answer that means nothing. Sums are those of so many `parts` of their K terms, each by itself: part i has
// those from K·i/parts on, rounded down; 1 is whole sums. `matrices` is the checksum of the integer matrices
// Q that both sides must hold (cr_quantized_checksum), against mistakes: an accelerator with others answers
// FAILED. Lies are found out by verification.
//
// FRONT asks, in the clear, for what the embedding and the first `layers` layers make of some sequences:
// their tokens one after the other, and how many each has. It is for memory that both see alone; the RESULT
// has nothing, and at the start of that memory lies the residual stream, [rows, hidden] IEEE 754 singles.
// Whoever sends it owns the accelerator.
//
// `request` counts up from 1; an answer carries that of its question. After FAILED the
// accelerator says nothing more.
#ifndef CARREL_FIELD_WIRE_H
#define CARREL_FIELD_WIRE_H

#include "base/bytes.h"

enum {
    CR_WIRE_VERSION = 3,
    CR_WIRE_HEAD_SIZE = 32,
    CR_WIRE_HELLO_SIZE = 32,
    CR_WIRE_READY_SIZE = 32,
    CR_WIRE_PRODUCT_SIZE = 32,
    CR_WIRE_FRONT_SIZE = 16,
    CR_WIRE_FAILED_LIMIT = 500,
};

enum cr_wire_type {
    CR_WIRE_HELLO = 1,
    CR_WIRE_READY,
    CR_WIRE_PRODUCT,
    CR_WIRE_RESULT,
    CR_WIRE_FAILED,
    CR_WIRE_FRONT,
    CR_WIRE_TYPES, // one more than the last
};

struct cr_wire_head {
    enum cr_wire_type type;
    uint64_t request;
    uint64_t size; // of the body, at most CR_WIRE_BODY_LIMIT
};

// Far above any product: 4,096 rows of 262,144 words.
#define CR_WIRE_BODY_LIMIT ((uint64_t)1 << 32)

// Far above any queues of pads.
#define CR_WIRE_PADS_LIMIT ((uint64_t)1 << 46)

struct cr_wire_hello {
    unsigned digits; // 4 or 3, which names p
    uint64_t shared; // bytes of the memory that follows; 0: none
    uint64_t matrices;
    uint64_t pads; // bytes of the memory that follows after it, at most CR_WIRE_PADS_LIMIT; 0: none
};

struct cr_wire_product {
    uint32_t linear;
    bool backward;
    uint32_t rows;   // at least 1
    uint32_t parts;  // at least 1
    uint64_t place;  // in words
    uint32_t turn;   // below around, where that is not 0
    uint32_t around; // 0, as are then the other two, or at least rows
};

// Where the words of an answer begin in shared memory, behind a question of so many.
static inline size_t cr_wire_answer_at(size_t question)
{
    return (question + 15) / 16 * 16;
}

// Each number is at least 1, and there are no more sequences than rows.
struct cr_wire_front {
    uint32_t layers, sequences, rows;
};

void cr_wire_put_head(const struct cr_wire_head *head, unsigned char out[CR_WIRE_HEAD_SIZE]);
void cr_wire_put_hello(const struct cr_wire_hello *hello, unsigned char out[CR_WIRE_HELLO_SIZE]);
void cr_wire_put_ready(const char *engine, unsigned char out[CR_WIRE_READY_SIZE]);
void cr_wire_put_product(const struct cr_wire_product *product, unsigned char out[CR_WIRE_PRODUCT_SIZE]);
void cr_wire_put_front(const struct cr_wire_front *front, unsigned char out[CR_WIRE_FRONT_SIZE]);

// The way back. What is not exactly of the form above is CR_PROTOCOL; `peer` begins the sentence.
enum cr_status cr_wire_get_head(const unsigned char bytes[CR_WIRE_HEAD_SIZE], const char *peer,
                                struct cr_wire_head *out);
enum cr_status cr_wire_get_hello(const unsigned char bytes[CR_WIRE_HELLO_SIZE], const char *peer,
                                 struct cr_wire_hello *out);
enum cr_status cr_wire_get_ready(const unsigned char bytes[CR_WIRE_READY_SIZE], const char *peer,
                                 char engine[CR_WIRE_READY_SIZE + 1]);
enum cr_status cr_wire_get_product(const unsigned char bytes[CR_WIRE_PRODUCT_SIZE], const char *peer,
                                   struct cr_wire_product *out);
enum cr_status cr_wire_get_front(const unsigned char bytes[CR_WIRE_FRONT_SIZE], const char *peer,
                                 struct cr_wire_front *out);

// Replaces what is not printable ASCII: a peer's sentence goes to terminals and logs.
void cr_wire_clean_text(char *text, size_t size);

#endif
