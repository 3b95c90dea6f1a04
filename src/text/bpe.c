#include "text/bpe_parts.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// The two parts of a merge, written "a b" or ["a", "b"].
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

static enum cr_status add_seam(struct cr_bpe_seams *seams, struct cr_slice left, struct cr_slice right)
{
    if (2 * (seams->count + 1) > seams->slot_count) {
        struct cr_bpe_seams grown = {.slot_count = seams->slot_count > 0 ? 2 * seams->slot_count : 256};
        CR_TRY(cr_allocate(grown.slot_count, sizeof *grown.slots, &grown.slots));
        for (size_t i = 0; i < seams->slot_count; i++)
            if (seams->slots[i] != 0) *cr_bpe_seam_slot(&grown, seams->slots[i]) = seams->slots[i];
        free(seams->slots);
        seams->slots = grown.slots;
        seams->slot_count = grown.slot_count;
    }
    const unsigned char *last = left.data + left.size - 1, *first = right.data;
    while ((*last & 0xc0) == 0x80) last--;
    uint64_t before = cr_utf8_next(&last), key = before << 32 | cr_utf8_next(&first);
    uint64_t *slot = cr_bpe_seam_slot(seams, key);
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
    // With an empty part the result would equal the other part.
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
                           (int)cr_least(tokens[i].size, 60), tokens[i].data);
    CR_TRY(add_seam(&bpe->seams, left, right));
    uint64_t key = (uint64_t)ids[0] << 32 | ids[1];
    // Of two merges of the same pair the later one counts, as in Hugging Face's map.
    bpe->merges[cr_bpe_merge_slot(bpe, key)] =
        (struct cr_bpe_merge){.key = key, .rank = rank, .result = ids[2]};
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
    for (uint32_t c = 0; c < CR_BPE_LOW_END; c++) {
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
    CR_TRY(cr_json_get_string(json, name, "type", "BPE", &type)); // early GPT-2 files have no type
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

bool cr_bpe_as_llama(struct cr_bpe *bpe)
{
    size_t bytes = 0;
    for (size_t byte = 0; byte < 256; byte++) bytes += bpe->byte[byte] != CR_NO_TOKEN;
    bool whole = bpe->byte_fallback && bytes == 256, none = bytes == 0;
    bool changed = bpe->ignore_merges || (!whole && (!none || bpe->unknown != CR_NO_TOKEN));
    bpe->byte_fallback = true;
    bpe->ignore_merges = false;
    bpe->unknown = CR_NO_TOKEN;
    return changed;
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
