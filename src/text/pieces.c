#include "text/pieces.h"

#include <stdlib.h>

void cr_pieces_release(struct cr_pieces *pieces)
{
    cr_buffer_release(&pieces->text);
    free(pieces->items);
    *pieces = (struct cr_pieces){0};
}

enum cr_status cr_pieces_add(struct cr_pieces *pieces, struct cr_piece piece)
{
    if (piece.start == piece.end && piece.token == CR_NO_TOKEN) return CR_OK;
    if (pieces->count == pieces->capacity) {
        size_t capacity = pieces->capacity + pieces->capacity / 2 + 64;
        CR_TRY(cr_reallocate(capacity, sizeof *pieces->items, &pieces->items));
        pieces->capacity = capacity;
    }
    pieces->items[pieces->count++] = piece;
    return CR_OK;
}

struct cr_slice cr_piece_text(const struct cr_pieces *pieces, size_t i)
{
    const struct cr_piece *piece = &pieces->items[i];
    if (piece->start == piece->end) return (struct cr_slice){(const unsigned char *)"", 0};
    return (struct cr_slice){pieces->text.data + piece->start, piece->end - piece->start};
}

enum cr_status cr_pieces_cut(struct cr_pieces *to, const struct cr_pieces *from, size_t i, size_t start,
                             size_t end, uint32_t token)
{
    const struct cr_piece *piece = &from->items[i];
    return cr_pieces_add(to, (struct cr_piece){.start = piece->start + start,
                                               .end = piece->start + end,
                                               .token = token,
                                               .first = piece->first && start == 0});
}

void cr_pieces_take_items(struct cr_pieces *pieces, struct cr_pieces *cut)
{
    struct cr_buffer text = pieces->text;
    pieces->text = (struct cr_buffer){0};
    cr_pieces_take(pieces, cut);
    cr_buffer_release(&pieces->text);
    pieces->text = text;
}

void cr_pieces_take(struct cr_pieces *pieces, struct cr_pieces *rewritten)
{
    cr_pieces_release(pieces);
    *pieces = *rewritten;
    *rewritten = (struct cr_pieces){0};
}

enum cr_status cr_pieces_copy(struct cr_pieces *to, const struct cr_pieces *from, size_t i)
{
    struct cr_slice text = cr_piece_text(from, i);
    struct cr_piece piece = from->items[i];
    piece.start = to->text.size;
    piece.end = to->text.size + text.size;
    CR_TRY(cr_append(&to->text, text.data, text.size));
    return cr_pieces_add(to, piece);
}
