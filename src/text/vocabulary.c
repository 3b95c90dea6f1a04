#include "text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

void cr_vocabulary_release(struct cr_vocabulary *vocabulary)
{
    cr_buffer_release(&vocabulary->text);
    free(vocabulary->spans);
    free(vocabulary->slots);
    *vocabulary = (struct cr_vocabulary){0};
}

uint64_t cr_text_hash(struct cr_slice bytes)
{
    uint64_t hash = 0x9e3779b97f4a7c15u ^ bytes.size;
    size_t i = 0;
    for (; i + 8 <= bytes.size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.data + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    uint64_t rest = 0;
    for (; i < bytes.size; i++) rest = rest << 8 | bytes.data[i];
    hash = (hash ^ rest) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 29;
}

struct cr_slice cr_vocabulary_token(const struct cr_vocabulary *vocabulary, uint32_t id)
{
    if (id >= vocabulary->limit || vocabulary->spans[id].end == 0) return (struct cr_slice){NULL, 0};
    struct cr_span span = vocabulary->spans[id];
    return (struct cr_slice){vocabulary->text.data + span.start, span.end - span.start};
}

// The slot that holds the token, or the empty one where it belongs.
static size_t find_slot(const struct cr_vocabulary *vocabulary, struct cr_slice token)
{
    size_t mask = vocabulary->slot_count - 1, slot = (size_t)cr_text_hash(token) & mask;
    while (vocabulary->slots[slot] != 0 &&
           !cr_slice_equal(cr_vocabulary_token(vocabulary, vocabulary->slots[slot] - 1), token))
        slot = (slot + 1) & mask;
    return slot;
}

bool cr_vocabulary_find(const struct cr_vocabulary *vocabulary, struct cr_slice token, uint32_t *id)
{
    if (vocabulary->slot_count == 0) return false;
    uint32_t found = vocabulary->slots[find_slot(vocabulary, token)];
    if (found == 0) return false;
    *id = found - 1;
    return true;
}

static enum cr_status make_room(struct cr_vocabulary *vocabulary, uint32_t id)
{
    if (id >= vocabulary->span_capacity) {
        size_t capacity = (size_t)id + id / 2 + 256;
        CR_TRY(cr_reallocate(capacity, sizeof *vocabulary->spans, &vocabulary->spans));
        vocabulary->span_capacity = capacity;
    }
    if (2 * (vocabulary->count + 1) > vocabulary->slot_count) {
        size_t old_count = vocabulary->slot_count, slot_count = old_count > 0 ? 2 * old_count : 512;
        uint32_t *slots;
        CR_TRY(cr_allocate(slot_count, sizeof *slots, &slots));
        CR_FREE uint32_t *old = vocabulary->slots;
        vocabulary->slots = slots;
        vocabulary->slot_count = slot_count;
        for (size_t i = 0; i < old_count; i++)
            if (old[i] != 0)
                slots[find_slot(vocabulary, cr_vocabulary_token(vocabulary, old[i] - 1))] = old[i];
    }
    return CR_OK;
}

enum cr_status cr_vocabulary_add(struct cr_vocabulary *vocabulary, const char *name, struct cr_slice token,
                                 uint32_t id)
{
    int shown = (int)cr_least(token.size, 60);
    if (token.size == 0) return cr_fail(CR_INVALID, "%s: id %u is an empty token", name, id);
    if (id >= CR_TOKEN_ID_LIMIT)
        return cr_fail(CR_INVALID, "%s: token \"%.*s\": id %u is over the limit of %d", name, shown,
                       token.data, id, CR_TOKEN_ID_LIMIT - 1);
    struct cr_slice other = cr_vocabulary_token(vocabulary, id);
    if (other.data)
        return cr_fail(CR_INVALID, "%s: id %u is both \"%.*s\" and \"%.*s\"", name, id,
                       (int)cr_least(other.size, 60), other.data, shown, token.data);
    CR_TRY(make_room(vocabulary, id));
    size_t slot = find_slot(vocabulary, token);
    if (vocabulary->slots[slot] != 0)
        return cr_fail(CR_INVALID, "%s: token \"%.*s\" has the ids %u and %u", name, shown, token.data,
                       vocabulary->slots[slot] - 1, id);
    size_t start = vocabulary->text.size;
    CR_TRY(cr_append(&vocabulary->text, token.data, token.size));
    for (; vocabulary->limit <= id; vocabulary->limit++)
        vocabulary->spans[vocabulary->limit] = (struct cr_span){.start = 1};
    vocabulary->spans[id] = (struct cr_span){start, vocabulary->text.size};
    vocabulary->slots[slot] = id + 1;
    vocabulary->count++;
    return CR_OK;
}
