#include "text/bpe.h"

#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOW_END = 0x800 }; // characters below are looked up in a table

struct merge {
    uint64_t key;          // left id in the upper half, right id in the lower; UINT64_MAX: an empty slot
    uint32_t rank, result; // CR_NO_TOKEN: barred
};

// The pairs of characters that some merge has at its seam, as an open-addressing set of left << 32 | right
// (never 0, for a character of 0 is in no token). A piece may be cut between two known characters whose pair
// is not in it: no merge reaches across. So a text without pre-tokenizer falls into words too.
struct seams {
    uint64_t *slots;
    size_t count, slot_count;
};

struct cr_bpe {
    struct cr_vocabulary vocabulary;
    struct seams seams;
    struct merge *merges; // open addressing
    size_t merge_mask;    // slots - 1
    uint32_t low[LOW_END];
    uint32_t byte[256]; // "<0x00>" and on, or CR_NO_TOKEN
    uint32_t unknown;   // or CR_NO_TOKEN
    bool byte_fallback, fuse_unknown, ignore_merges;
    bool *barred; // [vocabulary.limit], or NULL
};

static size_t merge_slot(const struct cr_bpe *bpe, uint64_t key)
{
    uint64_t hash = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash >> 20) & bpe->merge_mask;
    while (bpe->merges[slot].key != key && bpe->merges[slot].key != UINT64_MAX)
        slot = (slot + 1) & bpe->merge_mask;
    return slot;
}

static const struct merge *find_merge(const struct cr_bpe *bpe, uint32_t left, uint32_t right)
{
    const struct merge *merge = &bpe->merges[merge_slot(bpe, (uint64_t)left << 32 | right)];
    return merge->key == UINT64_MAX || merge->result == CR_NO_TOKEN ? NULL : merge;
}

static enum cr_status parse_vocabulary(struct cr_bpe *bpe, const struct cr_json *json, const char *name)
{
    const struct cr_json *vocabulary = cr_json_member(json, "vocab"), *value;
    if (cr_json_kind(vocabulary) != CR_JSON_OBJECT)
        return cr_fail(CR_INVALID, "%s: model: \"vocab\" must be an object of tokens and ids", name);
    void *position = NULL;
    const char *token;
    while (cr_json_next(vocabulary, &position, &token, &value)) {
        int64_t id;
        if (!cr_json_is_integer(value, &id) || id < 0 || id >= CR_TOKEN_ID_LIMIT)
            return cr_fail(CR_INVALID, "%s: token \"%.60s\": its id must be an integer in 0..%d", name, token,
                           CR_TOKEN_ID_LIMIT - 1);
        CR_TRY(cr_vocabulary_add(&bpe->vocabulary, name, cr_slice_of_string(token), (uint32_t)id));
    }
    return CR_OK;
}

// The halves of a merge, written "a b" or ["a", "b"].
static bool merge_parts(const struct cr_json *value, struct cr_slice *left, struct cr_slice *right)
{
    if (cr_json_kind(value) == CR_JSON_ARRAY && cr_json_count(value) == 2) {
        *left = cr_json_string(cr_json_at(value, 0));
        *right = cr_json_string(cr_json_at(value, 1));
        return left->data && right->data;
    }
    struct cr_slice both = cr_json_string(value);
    const unsigned char *space = both.data ? memchr(both.data, ' ', both.size) : NULL;
    if (!space) return false;
    *left = (struct cr_slice){both.data, (size_t)(space - both.data)};
    *right = (struct cr_slice){space + 1, both.size - left->size - 1};
    return !memchr(right->data, ' ', right->size);
}

static uint64_t *find_seam(const struct seams *seams, uint64_t key)
{
    size_t slot = (size_t)((key ^ key >> 27) * 0x9e3779b97f4a7c15u >> 30) & (seams->slot_count - 1);
    while (seams->slots[slot] != 0 && seams->slots[slot] != key) slot = (slot + 1) & (seams->slot_count - 1);
    return &seams->slots[slot];
}

static enum cr_status add_seam(struct seams *seams, struct cr_slice left, struct cr_slice right)
{
    if (2 * (seams->count + 1) > seams->slot_count) {
        struct seams grown = {.slot_count = seams->slot_count > 0 ? 2 * seams->slot_count : 256};
        CR_TRY(cr_allocate(grown.slot_count, sizeof *grown.slots, &grown.slots));
        for (size_t i = 0; i < seams->slot_count; i++)
            if (seams->slots[i] != 0) *find_seam(&grown, seams->slots[i]) = seams->slots[i];
        free(seams->slots);
        seams->slots = grown.slots;
        seams->slot_count = grown.slot_count;
    }
    const unsigned char *last = left.data + left.size - 1, *first = right.data;
    while ((*last & 0xc0) == 0x80) last--;
    uint64_t before = cr_utf8_next(&last), key = before << 32 | cr_utf8_next(&first);
    uint64_t *slot = find_seam(seams, key);
    if (*slot == 0) seams->count++;
    *slot = key;
    return CR_OK;
}

static enum cr_status add_merge(struct cr_bpe *bpe, const struct cr_json *value, uint32_t rank,
                                const char *name, struct cr_buffer *joined)
{
    struct cr_slice left, right;
    if (!merge_parts(value, &left, &right))
        return cr_fail(CR_INVALID, "%s: merge %u must be \"a b\" or [\"a\", \"b\"]", name, rank);
    // An empty half would make the result one of its own parts.
    if (left.size == 0 || right.size == 0)
        return cr_fail(CR_INVALID, "%s: merge %u is cyclic: one half is empty", name, rank);
    cr_buffer_clear(joined);
    CR_TRY(cr_append(joined, left.data, left.size));
    CR_TRY(cr_append(joined, right.data, right.size));
    const struct cr_slice tokens[] = {left, right, cr_buffer_slice(joined)};
    uint32_t ids[3];
    for (size_t i = 0; i < 3; i++)
        if (!cr_vocabulary_find(&bpe->vocabulary, tokens[i], &ids[i]))
            return cr_fail(CR_INVALID, "%s: merge %u: \"%.*s\" is not in the vocabulary", name, rank,
                           tokens[i].size < 60 ? (int)tokens[i].size : 60, tokens[i].data);
    CR_TRY(add_seam(&bpe->seams, left, right));
    uint64_t key = (uint64_t)ids[0] << 32 | ids[1];
    // Of two merges of one pair the later stands, as in Hugging Face's map.
    bpe->merges[merge_slot(bpe, key)] = (struct merge){.key = key, .rank = rank, .result = ids[2]};
    return CR_OK;
}

static enum cr_status parse_merges(struct cr_bpe *bpe, const struct cr_json *json, const char *name)
{
    const struct cr_json *merges = cr_json_member(json, "merges");
    if (cr_json_kind(merges) != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "%s: model: \"merges\" must be a list", name);
    size_t count = cr_json_count(merges), slots = 16;
    if (count >= CR_TOKEN_ID_LIMIT)
        return cr_fail(CR_INVALID, "%s: model: %zu merges are over the limit of %d", name, count,
                       CR_TOKEN_ID_LIMIT - 1);
    while (slots < 2 * count) slots *= 2;
    CR_TRY(cr_allocate(slots, sizeof *bpe->merges, &bpe->merges));
    bpe->merge_mask = slots - 1;
    for (size_t i = 0; i < slots; i++) bpe->merges[i].key = UINT64_MAX;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer joined = {0};
    for (size_t i = 0; i < count; i++)
        CR_TRY(add_merge(bpe, cr_json_at(merges, i), (uint32_t)i, name, &joined));
    return CR_OK;
}

static void fill_tables(struct cr_bpe *bpe)
{
    for (uint32_t c = 0; c < LOW_END; c++) {
        unsigned char bytes[4];
        struct cr_slice token = {bytes, cr_utf8_put(c, bytes)};
        if (!cr_vocabulary_find(&bpe->vocabulary, token, &bpe->low[c])) bpe->low[c] = CR_NO_TOKEN;
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char token[7];
        snprintf(token, sizeof token, "<0x%02X>", byte);
        if (!cr_vocabulary_find(&bpe->vocabulary, cr_slice_of_string(token), &bpe->byte[byte]))
            bpe->byte[byte] = CR_NO_TOKEN;
    }
}

static enum cr_status parse(struct cr_bpe *bpe, const struct cr_json *json, const char *name)
{
    const char *type;
    if (cr_json_kind(json) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "%s: there is no \"model\"", name);
    CR_TRY(cr_json_get_string(json, name, "type", "BPE", &type)); // GPT-2's first files have none
    if (strcmp(type, "BPE") != 0)
        return cr_fail(CR_UNSUPPORTED, "%s: model \"%s\" is not supported", name, type);
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *affix;
        CR_TRY(cr_json_get_string(json, name, affixes[i], "", &affix));
        if (affix[0]) return cr_fail(CR_UNSUPPORTED, "%s: model: %s is not supported", name, affixes[i]);
    }
    double dropout;
    CR_TRY(cr_json_get_number(json, name, "dropout", 0, &dropout));
    if (dropout != 0) return cr_fail(CR_UNSUPPORTED, "%s: model: dropout is not supported", name);
    CR_TRY(cr_json_get_bool(json, name, "byte_fallback", false, &bpe->byte_fallback));
    CR_TRY(cr_json_get_bool(json, name, "fuse_unk", false, &bpe->fuse_unknown));
    CR_TRY(cr_json_get_bool(json, name, "ignore_merges", false, &bpe->ignore_merges));
    CR_TRY(parse_vocabulary(bpe, json, name));
    CR_TRY(parse_merges(bpe, json, name));
    fill_tables(bpe);
    const char *unknown;
    CR_TRY(cr_json_get_string(json, name, "unk_token", NULL, &unknown));
    bpe->unknown = CR_NO_TOKEN;
    if (unknown && !cr_vocabulary_find(&bpe->vocabulary, cr_slice_of_string(unknown), &bpe->unknown))
        return cr_fail(CR_INVALID, "%s: model: unk_token \"%.60s\" is not in the vocabulary", name, unknown);
    return CR_OK;
}

enum cr_status cr_bpe_new(const struct cr_json *json, const char *name, struct cr_bpe **out)
{
    struct cr_bpe *bpe;
    CR_TRY(cr_allocate(1, sizeof *bpe, &bpe));
    enum cr_status status = parse(bpe, json, name);
    if (status != CR_OK)
        cr_bpe_free(bpe);
    else
        *out = bpe;
    return status;
}

void cr_bpe_free(struct cr_bpe *bpe)
{
    if (!bpe) return;
    cr_vocabulary_release(&bpe->vocabulary);
    free(bpe->merges);
    free(bpe->seams.slots);
    free(bpe->barred);
    free(bpe);
}

void cr_bpe_bar(struct cr_bpe *bpe, bool *barred)
{
    for (size_t i = 0; i <= bpe->merge_mask; i++)
        if (bpe->merges[i].key != UINT64_MAX && barred[bpe->merges[i].result])
            bpe->merges[i].result = CR_NO_TOKEN;
    free(bpe->barred);
    bpe->barred = barred;
}

const struct cr_vocabulary *cr_bpe_vocabulary(const struct cr_bpe *bpe)
{
    return &bpe->vocabulary;
}

// The symbols of one piece, a doubly linked list in an array, and a heap of the merges that its neighbours
// offer. A merge in the heap may have been overtaken by another; that shows when it is popped.
struct symbol {
    uint32_t id;
    uint32_t start;          // of its text, in the part
    uint32_t previous, next; // NONE at the ends
    bool gone;
};

struct candidate {
    uint32_t rank, at; // the merge's, and the left symbol's
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
    const struct merge *merge = find_merge(bpe, symbol->id, work->symbols[symbol->next].id);
    if (!merge) return CR_OK;
    if (work->heap_count == work->heap_capacity) {
        size_t capacity = 2 * work->heap_capacity + 64;
        CR_TRY(cr_reallocate(capacity, sizeof *work->heap, &work->heap));
        work->heap_capacity = capacity;
    }
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
    if (work->count == work->capacity) {
        size_t capacity = 2 * work->capacity + 64;
        if (capacity >= NONE)
            return cr_fail(CR_NO_MEMORY, "a piece of text of over %zu symbols", work->count);
        CR_TRY(cr_reallocate(capacity, sizeof *work->symbols, &work->symbols));
        work->capacity = capacity;
    }
    uint32_t at = (uint32_t)work->count++;
    work->symbols[at] =
        (struct symbol){.id = id, .start = (uint32_t)start, .previous = at > 0 ? at - 1 : NONE, .next = NONE};
    if (at > 0) work->symbols[at - 1].next = at;
    return CR_OK;
}

// A run of characters that the vocabulary lacks and one unknown token may stand for.
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

// What stands for a character that the vocabulary lacks: its bytes' tokens, or the unknown token, which waits
// so that the next can be fused with it; or nothing at all.
static enum cr_status add_missing(struct work *work, const struct cr_bpe *bpe, struct cr_slice character,
                                  size_t start, struct unknown *unknown)
{
    bool all = bpe->byte_fallback;
    for (size_t i = 0; all && i < character.size; i++) all = bpe->byte[character.data[i]] != CR_NO_TOKEN;
    if (all) {
        for (size_t i = 0; i < character.size; i++)
            CR_TRY(add_symbol(work, bpe->byte[character.data[i]], start + i));
        return CR_OK;
    }
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
        uint32_t c = cr_utf8_next(&at), id = c < LOW_END ? bpe->low[c] : CR_NO_TOKEN;
        struct cr_slice character = {begin, (size_t)(at - begin)};
        size_t start = (size_t)(begin - text.data);
        if (c >= LOW_END && !cr_vocabulary_find(&bpe->vocabulary, character, &id)) id = CR_NO_TOKEN;
        if (id == CR_NO_TOKEN || (bpe->barred && bpe->barred[id])) {
            CR_TRY(add_missing(work, bpe, character, start, &unknown));
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
        // As Hugging Face does, a stale merge is told by its result alone, not by its rank.
        const struct merge *now = find_merge(bpe, left->id, right->id);
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

// What was met before in the same call: where its text and its ids lie.
struct seen {
    struct cr_slice text;
    size_t ids, count;
};

enum { SEEN_SLOTS = 1 << 13, SEEN_LEAST = 2048, SEEN_LONGEST = 64 }; // the last two in bytes

// One walk over pieces.
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
    if (character < LOW_END) return bpe->low[character] != CR_NO_TOKEN;
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
            if (*find_seam(&bpe->seams, key) != key && is_known(bpe, (uint32_t)before) &&
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
