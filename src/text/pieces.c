#include "text/pieces.h"

#include <stdlib.h>

void cr_pieces_release(struct cr_pieces *pieces)
{
    cr_buffer_release(&pieces->text);
    free(pieces->items);
    free(pieces->marks);
    *pieces = (struct cr_pieces){0};
}

enum cr_status cr_pieces_append(struct cr_pieces *pieces, struct cr_slice text)
{
    size_t start = pieces->text.size;
    CR_TRY(cr_append(&pieces->text, text.data, text.size));
    struct cr_piece *last = pieces->count > 0 ? &pieces->items[pieces->count - 1] : NULL;
    if (last && last->token == CR_NO_TOKEN) {
        last->end = pieces->text.size;
        return CR_OK;
    }
    return cr_pieces_add(
        pieces, (struct cr_piece){
                    .start = start, .end = pieces->text.size, .token = CR_NO_TOKEN, .first = start == 0});
}

enum cr_status cr_pieces_append_token(struct cr_pieces *pieces, uint32_t token)
{
    size_t start = pieces->text.size;
    CR_TRY(cr_append(&pieces->text, " ", 1)); // takes a place of its own, so that marks can enclose it
    return cr_pieces_add(pieces, (struct cr_piece){.start = start, .end = pieces->text.size, .token = token});
}

enum cr_status cr_pieces_mark(struct cr_pieces *pieces)
{
    CR_TRY(cr_grow(pieces->mark_count + 1, &pieces->mark_capacity, sizeof *pieces->marks, &pieces->marks));
    pieces->marks[pieces->mark_count++] = pieces->text.size;
    return CR_OK;
}

enum cr_status cr_pieces_add(struct cr_pieces *pieces, struct cr_piece piece)
{
    if (piece.start == piece.end && piece.token == CR_NO_TOKEN) return CR_OK;
    CR_TRY(cr_grow(pieces->count + 1, &pieces->capacity, sizeof *pieces->items, &pieces->items));
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
    struct cr_piece *items = pieces->items;
    pieces->items = cut->items;
    pieces->count = cut->count;
    pieces->capacity = cut->capacity;
    cut->items = NULL;
    cr_pieces_release(cut);
    free(items);
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

// The new offset of a mark at offset `at`, once piece `i`, which contains it, has become the text of `to`
// from `start` on.
static enum cr_status move_mark(const struct cr_pieces *from, size_t i, size_t at, size_t start,
                                const struct cr_pieces *to, cr_piece_rewrite *rewrite, const void *context,
                                size_t *out)
{
    const struct cr_piece *piece = &from->items[i];
    *out = start;
    if (at <= piece->start || piece->token != CR_NO_TOKEN) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer before = {0};
    struct cr_slice text = {from->text.data + piece->start, at - piece->start};
    bool first = piece->first;
    CR_TRY(rewrite(context, text, false, &first, &before));
    *out = start + cr_least(before.size, to->text.size - start);
    return CR_OK;
}

enum cr_status cr_pieces_rewrite(struct cr_pieces *pieces, cr_piece_rewrite *rewrite, const void *context)
{
    CR_CLEANUP(cr_pieces_release) struct cr_pieces to = {0};
    CR_FREE size_t *marks = NULL;
    CR_TRY(cr_allocate(pieces->mark_count, sizeof *marks, &marks));
    size_t mark = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        struct cr_piece piece = pieces->items[i];
        size_t start = to.text.size, end = piece.end;
        if (piece.token != CR_NO_TOKEN) {
            CR_TRY(cr_pieces_copy(&to, pieces, i));
        } else {
            piece.start = start;
            CR_TRY(rewrite(context, cr_piece_text(pieces, i), true, &piece.first, &to.text));
            piece.end = to.text.size;
            CR_TRY(cr_pieces_add(&to, piece));
        }
        for (; mark < pieces->mark_count && pieces->marks[mark] < end; mark++)
            CR_TRY(move_mark(pieces, i, pieces->marks[mark], start, &to, rewrite, context, &marks[mark]));
    }
    while (mark < pieces->mark_count) marks[mark++] = to.text.size;
    to.marks = marks;
    to.mark_count = to.mark_capacity = pieces->mark_count;
    marks = NULL;
    cr_pieces_take(pieces, &to);
    return CR_OK;
}
