// The trusted side of one connection to an accelerator. It sends the words it is given and verifies nothing:
// the caller blinds them beforehand and checks the answer.
#ifndef CARREL_SLICING_LINK_H
#define CARREL_SLICING_LINK_H

#include "field/wire.h"

struct cr_link;

struct cr_link_options {
    const char *address; // "unix:PATH", which shares memory, or any other address of crypto/stream.h
    unsigned digits;     // 4 or 3
    size_t words;        // of the largest question or answer; if shared, room for both (cr_wire_answer_at)
    bool secret;         // wipe the words; if not shared, keep them in secret memory (base/secret.h)
    double patience;     // seconds without a sign of life from the accelerator
    uint64_t matrices;   // checksum of the integer matrices that both sides must hold (struct cr_frozen)
    int pads;            // descriptor of `pads_size` bytes to show the accelerator; for "unix:PATH" only
    size_t pads_size;    // 0: none
};

// Connects and negotiates. Fails with CR_DENIED and the accelerator's reason if it refuses.
enum cr_status cr_link_open(const struct cr_link_options *options, struct cr_link **out);
void cr_link_close(struct cr_link *link); // NULL is allowed

// Where to write the words of the next question, and where those of the last answer are. The accelerator may
// change shared memory at any time, so read each word only once.
volatile uint32_t *cr_link_question(struct cr_link *link);
volatile uint32_t *cr_link_answer(struct cr_link *link);

// Asks for the clear front of `front->sequences` sequences: `tokens` [rows], one sequence after the other,
// and `lengths` [sequences]. The words of the answer are the bits of its F32 numbers. Needs shared memory.
enum cr_status cr_link_ask_front(struct cr_link *link, const struct cr_wire_front *front,
                                 const uint32_t *tokens, const uint32_t *lengths);

// Sends the first `words` words as the question of this product.
enum cr_status cr_link_send(struct cr_link *link, const struct cr_wire_product *product, size_t words);

// Waits for the answer of `words` words to the last question. Fails with CR_DENIED if the accelerator reports
// an error, CR_PROTOCOL if it answers anything else or ends the connection, CR_TIMEOUT if it is silent,
// CR_CANCELLED once this process is asked to stop. The message names the accelerator. The link is unusable
// after a failure.
enum cr_status cr_link_receive(struct cr_link *link, size_t words);

bool cr_link_shows_pads(const struct cr_link *link);
const char *cr_link_peer(const struct cr_link *link);   // "accelerator unix:/run/a.sock"
const char *cr_link_engine(const struct cr_link *link); // the name that the accelerator gives its engine

#endif
