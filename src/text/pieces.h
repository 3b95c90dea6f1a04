// A text cut into pieces, as it walks through the steps of a tokenizer: added tokens are cut out, the rest is
// normalised, split, and handed to the model piece by piece.
#ifndef CARREL_TEXT_PIECES_H
#define CARREL_TEXT_PIECES_H

#include "base/bytes.h"

#include <stdint.h>

#define CR_NO_TOKEN UINT32_MAX

struct cr_piece {
    size_t start, end; // in the text of the pieces
    uint32_t token;    // an added token, which later steps pass over, or CR_NO_TOKEN
    bool first;        // whether it begins where the caller's text began
};

struct cr_pieces {
    struct cr_buffer text;
    struct cr_piece *items;
    size_t count, capacity;
    size_t *marks; // [mark_count] places in the text, ascending; rewriting moves them along
    size_t mark_count, mark_capacity;
};

void cr_pieces_release(struct cr_pieces *pieces); // usable with CR_CLEANUP

// Puts a text together: more of the text in the last piece (or a new one behind a token), a token, and a mark
// at the end of what is there so far.
enum cr_status cr_pieces_append(struct cr_pieces *pieces, struct cr_slice text);
enum cr_status cr_pieces_append_token(struct cr_pieces *pieces, uint32_t token);
enum cr_status cr_pieces_mark(struct cr_pieces *pieces);

// Empty pieces without a token are left out.
enum cr_status cr_pieces_add(struct cr_pieces *pieces, struct cr_piece piece);
struct cr_slice cr_piece_text(const struct cr_pieces *pieces, size_t i);

// Cuts [start, end) out of piece `i` of `from` into `to`, which lies over the same text (its own is unused).
enum cr_status cr_pieces_cut(struct cr_pieces *to, const struct cr_pieces *from, size_t i, size_t start,
                             size_t end, uint32_t token);

// Ends a step that cut: `pieces` keeps its text and takes over the items of `cut`, which is left empty.
void cr_pieces_take_items(struct cr_pieces *pieces, struct cr_pieces *cut);

// Ends a step that rewrote: `pieces` becomes `rewritten`, which is left empty.
void cr_pieces_take(struct cr_pieces *pieces, struct cr_pieces *rewritten);

// Copies piece `i` of `from`, with its text, to the end of `to`.
enum cr_status cr_pieces_copy(struct cr_pieces *to, const struct cr_pieces *from, size_t i);

// Puts what `rewrite` appends to `out` in the place of every piece that is no token. *first: whether the
// piece begins where the caller's text began, and still does. A mark inside a piece goes to the end of what
// its text up to there is rewritten to; then `whole` is false: more of the piece follows.
typedef enum cr_status cr_piece_rewrite(const void *context, struct cr_slice text, bool whole, bool *first,
                                        struct cr_buffer *out);
enum cr_status cr_pieces_rewrite(struct cr_pieces *pieces, cr_piece_rewrite *rewrite, const void *context);

#endif
