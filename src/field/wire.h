// The protocol between a trusted process and its accelerator, version 3.
//
// The trusted process sends questions; the accelerator answers each one before it reads the next. Every
// message is a head of 32 bytes and a body of the size that the head gives; integers are little-endian.
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
// If `shared` is not zero, that many bytes of memory follow HELLO as a descriptor (a sealed memfd over a unix
// socket). Words are then in that memory and never in a message: those of a question at its start, those of
// its answer after them, from the next multiple of 64 bytes on. Otherwise words are the rest of the message's
// body.
//
// If `pads` is not zero, that many bytes of a second memory follow as another descriptor, which the receiver
// cannot write to: it holds the products of pads, under pads of their own, and the accelerator subtracts them
// from its answer, Y' − c mod p. It learns nothing from this that it, or whoever can read that memory, could
// not compute anyway. The words c of row i, [parts, N], begin (turn + i) mod `around` rows after word
// `place`; if `around` is zero, nothing is subtracted.
//
// `digits` says how many base-256 digits a word has, and so selects p: 4 for 2³¹ − 1, 3 for 2²³ − 15.
// `linear` numbers the linears of a model in the order of a forward pass: qkv, o, gate_up and down of each
// layer, then the head. `direction` is 0 for Y = x Qᵀ and 1 for Y = x Q, both mod p; words of x that are not
// below p give a meaningless answer. The K terms of a sum are cut into `parts`, each summed by itself: part i
// starts at term K·i/parts, rounded down; with 1, sums are whole. `matrices` is the checksum of the integer
// matrices Q that both sides must hold (cr_quantized_checksum). It guards against mistakes: an accelerator
// with others answers FAILED. Wrong answers are found by verification.
//
// FRONT asks, in the clear and only where memory is shared, for the output of the embedding and the first
// `layers` layers for some sequences: it has their tokens, one sequence after another, and the length of
// each. RESULT has no body then, and the residual stream, [rows, hidden] IEEE 754 singles, is at the start of
// the memory. Only a silo that owns the accelerator sends it.
//
// `request` counts up from 1; an answer has the number of its question. After FAILED the accelerator sends
// nothing more.
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
    unsigned digits; // 4 or 3, which selects p
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
    uint32_t turn;   // below around, unless that is 0
    uint32_t around; // at least rows; or 0, and then place and turn are 0 too
};

// Where the words of an answer begin in shared memory, after a question of so many words.
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

// The inverse. What does not have exactly the form above returns CR_PROTOCOL; error messages begin with
// `peer`.
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

// Replaces what is not printable ASCII, because a peer's text is shown in terminals and logs.
void cr_wire_clean_text(char *text, size_t size);

#endif
