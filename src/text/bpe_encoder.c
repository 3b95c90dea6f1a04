// BPE encoding: a piece becomes symbols, which are then merged by rank.
#include "text/bpe_parts.h"
#include "text/unicode.h"

#include <stdlib.h>

static const struct cr_bpe_merge *find_merge(const struct cr_bpe *bpe, uint32_t left, uint32_t right)
{
    const struct cr_bpe_merge *merge = &bpe->merges[cr_bpe_merge_slot(bpe, (uint64_t)left << 32 | right)];
    return merge->key == UINT64_MAX || merge->result == CR_NO_TOKEN ? NULL : merge;
}

// The symbols of one piece: a doubly linked list in an array, and a heap of possible merges of neighbours. A
// merge in the heap may be stale; that is detected when it is popped.
struct symbol {
    uint32_t id;
    uint32_t start;          // offset of its text in the part
    uint32_t previous, next; // NONE at the ends
    bool gone;
};

struct candidate {
    uint32_t rank, at; // of the merge; of the left symbol
    uint32_t result;
};

#define NONE UINT32_MAX

struct work {
    struct symbol *symbols;
    size_t count, capacity;
    struct candidate *heap;
    size_t heap_count, heap_capacity;
};

static void work_release(struct work *work)
{
    free(work->symbols);
    free(work->heap);
}

static bool before(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static enum cr_status offer(struct work *work, const struct cr_bpe *bpe, uint32_t left)
{
    const struct symbol *symbol = &work->symbols[left];
    const struct cr_bpe_merge *merge = find_merge(bpe, symbol->id, work->symbols[symbol->next].id);
    if (!merge) return CR_OK;
    CR_TRY(cr_grow(work->heap_count + 1, &work->heap_capacity, sizeof *work->heap, &work->heap));
    struct candidate offered = {merge->rank, left, merge->result};
    size_t at = work->heap_count++;
    for (; at > 0 && before(offered, work->heap[(at - 1) / 2]); at = (at - 1) / 2)
        work->heap[at] = work->heap[(at - 1) / 2];
    work->heap[at] = offered;
    return CR_OK;
}

static struct candidate take_best(struct work *work)
{
    struct candidate best = work->heap[0], last = work->heap[--work->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= work->heap_count) break;
        if (child + 1 < work->heap_count && before(work->heap[child + 1], work->heap[child])) child++;
        if (!before(work->heap[child], last)) break;
        work->heap[at] = work->heap[child];
        at = child;
    }
    work->heap[at] = last;
    return best;
}

static enum cr_status add_symbol(struct work *work, uint32_t id, size_t start)
{
    if (work->count == NONE) return cr_fail(CR_NO_MEMORY, "a piece of text of over %zu symbols", work->count);
    CR_TRY(cr_grow(work->count + 1, &work->capacity, sizeof *work->symbols, &work->symbols));
    uint32_t at = (uint32_t)work->count++;
    work->symbols[at] =
        (struct symbol){.id = id, .start = (uint32_t)start, .previous = at > 0 ? at - 1 : NONE, .next = NONE};
    if (at > 0) work->symbols[at - 1].next = at;
    return CR_OK;
}

// A run of characters that the vocabulary lacks, which one unknown token may represent.
struct unknown {
    bool waits;
    size_t start;
};

static enum cr_status flush_unknown(struct work *work, const struct cr_bpe *bpe, struct unknown *unknown)
{
    if (!unknown->waits) return CR_OK;
    unknown->waits = false;
    return add_symbol(work, bpe->unknown, unknown->start);
}

// Adds the symbols for a character that the vocabulary lacks: its bytes' tokens; or the unknown token, which
// is held back so that the next can be fused with it; or none. Fails if a `barred` character would be lost
// that way.
static enum cr_status add_missing(struct work *work, const struct cr_bpe *bpe, struct cr_slice character,
                                  bool barred, size_t start, struct unknown *unknown)
{
    bool all = bpe->byte_fallback;
    for (size_t i = 0; all && i < character.size; i++) all = bpe->byte[character.data[i]] != CR_NO_TOKEN;
    if (all) {
        for (size_t i = 0; i < character.size; i++)
            CR_TRY(add_symbol(work, bpe->byte[character.data[i]], start + i));
        return CR_OK;
    }
    if (barred && bpe->unknown == CR_NO_TOKEN)
        return cr_fail(CR_INVALID, "\"%.*s\" is a special token of this tokenizer, which has no other for it",
                       (int)character.size, character.data);
    if (bpe->unknown == CR_NO_TOKEN || (unknown->waits && bpe->fuse_unknown)) return CR_OK;
    CR_TRY(flush_unknown(work, bpe, unknown));
    *unknown = (struct unknown){true, start};
    return CR_OK;
}

static enum cr_status add_symbols(struct work *work, const struct cr_bpe *bpe, struct cr_slice text)
{
    const unsigned char *at = text.data, *end = text.data + text.size;
    struct unknown unknown = {0};
    work->count = work->heap_count = 0;
    while (at < end) {
        const unsigned char *begin = at;
        uint32_t c = cr_utf8_next(&at), id = c < CR_BPE_LOW_END ? bpe->low[c] : CR_NO_TOKEN;
        struct cr_slice character = {begin, (size_t)(at - begin)};
        size_t start = (size_t)(begin - text.data);
        if (c >= CR_BPE_LOW_END && !cr_vocabulary_find(&bpe->vocabulary, character, &id)) id = CR_NO_TOKEN;
        bool barred = id != CR_NO_TOKEN && bpe->barred && bpe->barred[id];
        if (id == CR_NO_TOKEN || barred) {
            CR_TRY(add_missing(work, bpe, character, barred, start, &unknown));
            continue;
        }
        CR_TRY(flush_unknown(work, bpe, &unknown));
        CR_TRY(add_symbol(work, id, start));
    }
    return flush_unknown(work, bpe, &unknown);
}

static enum cr_status merge_all(struct work *work, const struct cr_bpe *bpe)
{
    for (uint32_t i = 0; i + 1 < work->count; i++) CR_TRY(offer(work, bpe, i));
    while (work->heap_count > 0) {
        struct candidate best = take_best(work);
        struct symbol *left = &work->symbols[best.at];
        if (left->gone || left->next == NONE) continue;
        struct symbol *right = &work->symbols[left->next];
        // As in Hugging Face's code, a stale merge is recognised by its result alone, not by its rank.
        const struct cr_bpe_merge *now = find_merge(bpe, left->id, right->id);
        if (!now || now->result != best.result) continue;
        left->id = best.result;
        left->next = right->next;
        right->gone = true;
        if (left->next != NONE) work->symbols[left->next].previous = best.at;
        if (left->previous != NONE) CR_TRY(offer(work, bpe, left->previous));
        if (left->next != NONE) CR_TRY(offer(work, bpe, best.at));
    }
    return CR_OK;
}

// A piece encoded earlier in the same call: where its text and its ids are.
struct seen {
    struct cr_slice text;
    size_t ids, count;
};

enum { SEEN_SLOTS = 1 << 13, SEEN_LEAST = 2048, SEEN_LONGEST = 64 }; // the last two in bytes

// The state of one call of cr_bpe_encode.
struct encoder {
    const struct cr_bpe *bpe;
    const unsigned char *text; // of the pieces
    struct work work;
    struct seen *seen; // [SEEN_SLOTS], or NULL
    struct cr_ids *out, *starts;
};

static enum cr_status put(struct encoder *encoder, uint32_t id, size_t start)
{
    CR_TRY(cr_ids_append(encoder->out, id));
    return encoder->starts ? cr_ids_append(encoder->starts, (uint32_t)start) : CR_OK;
}

static enum cr_status encode_part(struct encoder *encoder, struct cr_slice text)
{
    struct seen *slot = NULL;
    const struct cr_ids *out = encoder->out, *starts = encoder->starts;
    size_t base = (size_t)(text.data - encoder->text);
    if (encoder->seen && text.size <= SEEN_LONGEST) {
        slot = &encoder->seen[cr_text_hash(text) % SEEN_SLOTS];
        if (slot->text.size > 0 && cr_slice_equal(slot->text, text)) {
            size_t then = (size_t)(slot->text.data - encoder->text);
            for (size_t k = slot->ids; k < slot->ids + slot->count; k++)
                CR_TRY(put(encoder, out->items[k], starts ? starts->items[k] - then + base : 0));
            return CR_OK;
        }
    }
    size_t start = out->count;
    struct work *work = &encoder->work;
    CR_TRY(add_symbols(work, encoder->bpe, text));
    CR_TRY(merge_all(work, encoder->bpe));
    for (uint32_t i = work->count > 0 ? 0 : NONE; i != NONE; i = work->symbols[i].next)
        CR_TRY(put(encoder, work->symbols[i].id, base + work->symbols[i].start));
    if (slot) *slot = (struct seen){text, start, out->count - start};
    return CR_OK;
}

static bool is_known(const struct cr_bpe *bpe, uint32_t character)
{
    if (character < CR_BPE_LOW_END) return bpe->low[character] != CR_NO_TOKEN;
    unsigned char bytes[4];
    uint32_t id;
    return cr_vocabulary_find(&bpe->vocabulary, (struct cr_slice){bytes, cr_utf8_put(character, bytes)}, &id);
}

// Cuts a long piece at its seams.
static enum cr_status encode_piece(struct encoder *encoder, struct cr_slice text)
{
    const struct cr_bpe *bpe = encoder->bpe;
    uint32_t whole;
    if (bpe->ignore_merges && cr_vocabulary_find(&bpe->vocabulary, text, &whole) &&
        !(bpe->barred && bpe->barred[whole]))
        return put(encoder, whole, (size_t)(text.data - encoder->text));
    const unsigned char *start = text.data, *at = start, *end = start + text.size;
    if (text.size > SEEN_LONGEST && bpe->seams.slot_count > 0) {
        uint64_t before = cr_utf8_next(&at);
        while (at < end) {
            const unsigned char *seam = at;
            uint32_t behind = cr_utf8_next(&at);
            uint64_t key = before << 32 | behind;
            if (*cr_bpe_seam_slot(&bpe->seams, key) != key && is_known(bpe, (uint32_t)before) &&
                is_known(bpe, behind)) {
                CR_TRY(encode_part(encoder, (struct cr_slice){start, (size_t)(seam - start)}));
                start = seam;
            }
            before = behind;
        }
    }
    return encode_part(encoder, (struct cr_slice){start, (size_t)(end - start)});
}

static enum cr_status encode_pieces(struct encoder *encoder, const struct cr_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const struct cr_piece *piece = &pieces->items[i];
        if (piece->token != CR_NO_TOKEN)
            CR_TRY(put(encoder, piece->token, piece->start));
        else
            CR_TRY(encode_piece(encoder, cr_piece_text(pieces, i)));
    }
    return CR_OK;
}

enum cr_status cr_bpe_encode(const struct cr_bpe *bpe, const struct cr_pieces *pieces, struct cr_ids *out,
                             struct cr_ids *starts)
{
    CR_FREE struct seen *seen = NULL;
    if (pieces->text.size >= SEEN_LEAST) CR_TRY(cr_allocate(SEEN_SLOTS, sizeof *seen, &seen));
    struct encoder encoder = {
        .bpe = bpe, .text = pieces->text.data, .seen = seen, .out = out, .starts = starts};
    enum cr_status status = encode_pieces(&encoder, pieces);
    work_release(&encoder.work);
    return status;
}
