// A text cut into pieces, as it passes through the steps of a tokenizer: added tokens are cut out, the rest
// is normalised, split, and given to the model piece by piece.
#ifndef CARREL_TEXT_PIECES_H
#define CARREL_TEXT_PIECES_H

#include "base/bytes.h"

#include <stdint.h>

#define CR_NO_TOKEN UINT32_MAX

struct cr_piece {
    size_t start, end; // offsets in the text of the pieces
    uint32_t token;    // an added token, which later steps skip, or CR_NO_TOKEN
    bool first;        // whether it begins at the start of the caller's text
};

struct cr_pieces {
    struct cr_buffer text;
    struct cr_piece *items;
    size_t count, capacity;
    size_t *marks; // [mark_count] ascending offsets in the text; updated by rewriting
    size_t mark_count, mark_capacity;
};

void cr_pieces_release(struct cr_pieces *pieces); // usable with CR_CLEANUP

// Builds a text: appends text to the last piece (or to a new one after a token), appends a token, or sets a
// mark at the current end.
enum cr_status cr_pieces_append(struct cr_pieces *pieces, struct cr_slice text);
enum cr_status cr_pieces_append_token(struct cr_pieces *pieces, uint32_t token);
enum cr_status cr_pieces_mark(struct cr_pieces *pieces);

// Appends a piece; an empty one without a token is dropped.
enum cr_status cr_pieces_add(struct cr_pieces *pieces, struct cr_piece piece);
struct cr_slice cr_piece_text(const struct cr_pieces *pieces, size_t i);

// Appends the part [start, end) of piece `i` of `from` to `to`, which refers to the same text (its own is
// unused).
enum cr_status cr_pieces_cut(struct cr_pieces *to, const struct cr_pieces *from, size_t i, size_t start,
                             size_t end, uint32_t token);

// Ends a step that cut: `pieces` keeps its text and takes the items of `cut`, which is left empty.
void cr_pieces_take_items(struct cr_pieces *pieces, struct cr_pieces *cut);

// Ends a step that rewrote the text: `pieces` becomes `rewritten`, which is left empty.
void cr_pieces_take(struct cr_pieces *pieces, struct cr_pieces *rewritten);

// Copies piece `i` of `from`, with its text, to the end of `to`.
enum cr_status cr_pieces_copy(struct cr_pieces *to, const struct cr_pieces *from, size_t i);

// Replaces every piece that is not a token by what `rewrite` appends to `out`. *first: whether the piece
// begins at the start of the caller's text; `rewrite` clears it if that no longer holds. A mark inside a
// piece moves to the end of the rewritten text before it; for this `rewrite` is also called on that part,
// with `whole` false: more of the piece follows.
typedef enum cr_status cr_piece_rewrite(const void *context, struct cr_slice text, bool whole, bool *first,
                                        struct cr_buffer *out);
enum cr_status cr_pieces_rewrite(struct cr_pieces *pieces, cr_piece_rewrite *rewrite, const void *context);

#endif
