// The trusted side of one connection to an accelerator. It sends what it is given and believes nothing: that
// words are blinded before, and verified after, is for who asks.
#ifndef CARREL_SLICING_LINK_H
#define CARREL_SLICING_LINK_H

#include "field/wire.h"

struct cr_link;

struct cr_link_options {
    const char *address; // "unix:PATH", with shared memory, or another of crypto/stream.h
    unsigned digits;     // 4 or 3
    size_t words;      // of the largest question or answer; of both where they are shared (cr_wire_answer_at)
    bool secret;       // words are wiped, and in secret memory (base/secret.h) where they are not shared
    double patience;   // seconds without a sign of life
    uint64_t matrices; // checksum of the whole numbers that both must hold (struct cr_frozen)
    int pads;          // memory to show the accelerator, `pads_size` bytes: for "unix:PATH" alone
    size_t pads_size;  // 0: none
};

// Connects, tells the accelerator what is wanted and hears that it can. Where it says why not, that is
// CR_DENIED.
enum cr_status cr_link_open(const struct cr_link_options *options, struct cr_link **out);
void cr_link_close(struct cr_link *link); // NULL is allowed

// Where the words of the next question are put, and those of the last one's answer are found. With shared
// memory the accelerator may write to both at any time: read a word once.
volatile uint32_t *cr_link_question(struct cr_link *link);
volatile uint32_t *cr_link_answer(struct cr_link *link);

// Asks for the clear front of these sequences, `rows` tokens one after the other: `words` of the answer are
// its singles, bit by bit. For links with shared memory.
enum cr_status cr_link_ask_front(struct cr_link *link, const struct cr_wire_front *front,
                                 const uint32_t *tokens, const uint32_t *lengths);

// Sends the first `words` words as this product's question.
enum cr_status cr_link_send(struct cr_link *link, const struct cr_wire_product *product, size_t words);

// Waits until `words` words are the answer to what was asked last. A peer that says why not is CR_DENIED, one
// that answers anything else or ends the connection CR_PROTOCOL, a silent one CR_TIMEOUT, or CR_CANCELLED
// once this process is asked to stop, each by its name; the link is of no use then.
enum cr_status cr_link_receive(struct cr_link *link, size_t words);

bool cr_link_shows_pads(const struct cr_link *link);
const char *cr_link_peer(const struct cr_link *link);   // "accelerator unix:/run/a.sock"
const char *cr_link_engine(const struct cr_link *link); // what it calls its engine

#endif
