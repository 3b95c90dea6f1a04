// Maps tokens to ids and ids to tokens.
#ifndef CARREL_TEXT_VOCABULARY_H
#define CARREL_TEXT_VOCABULARY_H

#include "base/bytes.h"

#include <stdint.h>

enum { CR_TOKEN_ID_LIMIT = 1 << 24 }; // ids are below it

// Zero-initialise; release with cr_vocabulary_release.
struct cr_vocabulary {
    struct cr_buffer text; // the tokens' bytes, one after the other
    struct cr_span *spans; // [limit], indexed by id
    size_t limit;          // highest id + 1
    size_t span_capacity;
    uint32_t *slots;   // open addressing: id + 1, or 0
    size_t slot_count; // a power of two, or 0
    size_t count;      // tokens
};

struct cr_span {
    size_t start, end; // end == 0: no such token (start is then 1); tokens are never empty
};

void cr_vocabulary_release(struct cr_vocabulary *vocabulary);

// CR_INVALID if the token is empty, the token or the id already exists, or the id is too high; `name` (a
// file) begins the message.
enum cr_status cr_vocabulary_add(struct cr_vocabulary *vocabulary, const char *name, struct cr_slice token,
                                 uint32_t id);
bool cr_vocabulary_find(const struct cr_vocabulary *vocabulary, struct cr_slice token, uint32_t *id);
struct cr_slice cr_vocabulary_token(const struct cr_vocabulary *vocabulary, uint32_t id); // {NULL, 0}: none

// A hash of bytes, for tables within one process.
uint64_t cr_text_hash(struct cr_slice bytes);

#endif
