#include "text/merges.h"

#include "text/byte_level.h"

#include <stdlib.h>
#include <string.h>

struct word {
    size_t start; // in symbols
    uint32_t length;
    uint64_t count;
};

struct pair {
    uint64_t key;    // left symbol in the upper half, right in the lower
    uint64_t count;  // occurrences, each weighed by its word's count
    uint32_t *words; // words in which it occurs or once did; with duplicates
    uint32_t word_count, word_capacity;
    uint32_t touched; // number of the last merge that made it or increased its count
};

struct candidate {
    uint64_t count; // the pair's count when pushed; it may have decreased since
    uint32_t pair;
};

struct learner {
    struct cr_merges *merges;
    uint32_t *symbols; // of all words, one after the other
    struct word *words;
    size_t word_count;
    struct pair *pairs;
    size_t pair_count, pair_capacity;
    uint32_t *slots; // open addressing: pair + 1, or 0
    size_t slot_count;
    struct candidate *heap; // the best one first
    size_t heap_count, heap_capacity;
    uint32_t *grown; // pairs that the current merge made or whose count it increased
    size_t grown_count, grown_capacity;
    uint32_t round; // number of the current merge, from 1; 0 during the first count
};

static void release(struct learner *learner)
{
    for (size_t i = 0; i < learner->pair_count; i++) free(learner->pairs[i].words);
    free(learner->symbols);
    free(learner->words);
    free(learner->pairs);
    free(learner->slots);
    free(learner->heap);
    free(learner->grown);
}

static int compare_tokens(const struct learner *learner, uint32_t a, uint32_t b)
{
    struct cr_slice x = cr_vocabulary_token(&learner->merges->tokens, a);
    struct cr_slice y = cr_vocabulary_token(&learner->merges->tokens, b);
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

static uint32_t left_of(const struct pair *pair)
{
    return (uint32_t)(pair->key >> 32);
}

static uint32_t right_of(const struct pair *pair)
{
    return (uint32_t)pair->key;
}

static bool better(const struct learner *learner, struct candidate a, struct candidate b)
{
    if (a.count != b.count) return a.count > b.count;
    const struct pair *x = &learner->pairs[a.pair], *y = &learner->pairs[b.pair];
    int order = compare_tokens(learner, left_of(x), left_of(y));
    if (order == 0) order = compare_tokens(learner, right_of(x), right_of(y));
    return order > 0;
}

static enum cr_status heap_push(struct learner *learner, uint32_t pair)
{
    CR_TRY(cr_grow(learner->heap_count + 1, &learner->heap_capacity, sizeof *learner->heap, &learner->heap));
    struct candidate pushed = {learner->pairs[pair].count, pair};
    size_t at = learner->heap_count++;
    for (; at > 0 && better(learner, pushed, learner->heap[(at - 1) / 2]); at = (at - 1) / 2)
        learner->heap[at] = learner->heap[(at - 1) / 2];
    learner->heap[at] = pushed;
    return CR_OK;
}

static struct candidate heap_pop(struct learner *learner)
{
    struct candidate best = learner->heap[0], last = learner->heap[--learner->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= learner->heap_count) break;
        if (child + 1 < learner->heap_count &&
            better(learner, learner->heap[child + 1], learner->heap[child]))
            child++;
        if (!better(learner, learner->heap[child], last)) break;
        learner->heap[at] = learner->heap[child];
        at = child;
    }
    learner->heap[at] = last;
    return best;
}

static size_t find_slot(const struct learner *learner, uint64_t key)
{
    uint64_t hash = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash >> 16) & (learner->slot_count - 1);
    while (learner->slots[slot] != 0 && learner->pairs[learner->slots[slot] - 1].key != key)
        slot = (slot + 1) & (learner->slot_count - 1);
    return slot;
}

static enum cr_status grow_pairs(struct learner *learner)
{
    if (learner->pair_count == UINT32_MAX - 1) return cr_fail(CR_NO_MEMORY, "too many pairs of tokens");
    CR_TRY(
        cr_grow(learner->pair_count + 1, &learner->pair_capacity, sizeof *learner->pairs, &learner->pairs));
    if (2 * (learner->pair_count + 1) <= learner->slot_count) return CR_OK;
    size_t slots = learner->slot_count > 0 ? 2 * learner->slot_count : 4096;
    uint32_t *fresh;
    CR_TRY(cr_allocate(slots, sizeof *fresh, &fresh));
    free(learner->slots);
    learner->slots = fresh;
    learner->slot_count = slots;
    for (size_t i = 0; i < learner->pair_count; i++)
        fresh[find_slot(learner, learner->pairs[i].key)] = (uint32_t)i + 1;
    return CR_OK;
}

static struct pair *existing_pair(const struct learner *learner, uint32_t left, uint32_t right)
{
    return &learner->pairs[learner->slots[find_slot(learner, (uint64_t)left << 32 | right)] - 1];
}

static enum cr_status note_word(struct pair *pair, uint32_t word)
{
    if (pair->word_count > 0 && pair->words[pair->word_count - 1] == word) return CR_OK;
    if (pair->word_count == pair->word_capacity) {
        uint32_t capacity = 2 * pair->word_capacity + 4;
        CR_TRY(cr_reallocate(capacity, sizeof *pair->words, &pair->words));
        pair->word_capacity = capacity;
    }
    pair->words[pair->word_count++] = word;
    return CR_OK;
}

// Counts one occurrence of the pair in the word; `listed` if the word is known to be in the pair's list.
static enum cr_status count_pair(struct learner *learner, uint32_t left, uint32_t right, uint32_t word,
                                 bool listed)
{
    CR_TRY(grow_pairs(learner));
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = find_slot(learner, key);
    if (learner->slots[slot] == 0) {
        learner->pairs[learner->pair_count] = (struct pair){.key = key, .touched = UINT32_MAX};
        learner->slots[slot] = (uint32_t)++learner->pair_count;
    }
    uint32_t index = learner->slots[slot] - 1;
    struct pair *pair = &learner->pairs[index];
    pair->count += learner->words[word].count;
    if (listed) return CR_OK;
    CR_TRY(note_word(pair, word));
    if (pair->touched == learner->round) return CR_OK;
    pair->touched = learner->round;
    CR_TRY(
        cr_grow(learner->grown_count + 1, &learner->grown_capacity, sizeof *learner->grown, &learner->grown));
    learner->grown[learner->grown_count++] = index;
    return CR_OK;
}

// Pushes the pairs that are new or whose count increased. Other counts only decrease, which is noticed when
// they are popped.
static enum cr_status push_grown(struct learner *learner)
{
    for (size_t i = 0; i < learner->grown_count; i++) CR_TRY(heap_push(learner, learner->grown[i]));
    learner->grown_count = 0;
    return CR_OK;
}

static enum cr_status merge_in_word(struct learner *learner, uint32_t index, uint32_t left, uint32_t right,
                                    uint32_t result)
{
    struct word *word = &learner->words[index];
    uint32_t *symbols = learner->symbols + word->start, kept = 0;
    bool present = false;
    for (uint32_t i = 0; i + 1 < word->length && !present; i++)
        present = symbols[i] == left && symbols[i + 1] == right;
    if (!present) return CR_OK;
    for (uint32_t i = 0; i + 1 < word->length; i++)
        existing_pair(learner, symbols[i], symbols[i + 1])->count -= word->count;
    for (uint32_t i = 0; i < word->length; kept++) {
        bool here = i + 1 < word->length && symbols[i] == left && symbols[i + 1] == right;
        symbols[kept] = here ? result : symbols[i];
        i += here ? 2 : 1;
    }
    word->length = kept;
    for (uint32_t i = 0; i + 1 < kept; i++) {
        bool old = symbols[i] != result && symbols[i + 1] != result;
        CR_TRY(count_pair(learner, symbols[i], symbols[i + 1], index, old));
    }
    return CR_OK;
}

// The id of the merged token, which another merge may have made before.
static enum cr_status result_token(struct learner *learner, uint32_t left, uint32_t right, uint32_t *out)
{
    struct cr_vocabulary *tokens = &learner->merges->tokens;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer joined = {0};
    struct cr_slice a = cr_vocabulary_token(tokens, left), b = cr_vocabulary_token(tokens, right);
    CR_TRY(cr_append(&joined, a.data, a.size));
    CR_TRY(cr_append(&joined, b.data, b.size));
    if (cr_vocabulary_find(tokens, cr_buffer_slice(&joined), out)) return CR_OK;
    uint32_t id = (uint32_t)tokens->limit;
    CR_TRY(cr_vocabulary_add(tokens, "training", cr_buffer_slice(&joined), id));
    *out = id;
    return CR_OK;
}

static enum cr_status merge_pair(struct learner *learner, uint32_t index)
{
    struct cr_merges *merges = learner->merges;
    struct pair *pair = &learner->pairs[index];
    uint32_t left = left_of(pair), right = right_of(pair), result;
    CR_TRY(result_token(learner, left, right, &result));
    CR_TRY(cr_grow(merges->count + 1, &merges->capacity, sizeof *merges->items, &merges->items));
    merges->items[merges->count++] = (struct cr_merge){left, right};
    // The list is removed: after the merge no word contains this pair, unless a later merge makes one of its
    // tokens again, and then the words are listed again.
    CR_FREE uint32_t *words = pair->words;
    uint32_t count = pair->word_count;
    pair->words = NULL;
    pair->word_count = pair->word_capacity = 0;
    learner->round++;
    for (uint32_t i = 0; i < count; i++) CR_TRY(merge_in_word(learner, words[i], left, right, result));
    return push_grown(learner);
}

static enum cr_status take_words(struct learner *learner, const struct cr_vocabulary *words,
                                 const uint64_t *counts)
{
    uint32_t of_byte[256];
    for (uint32_t c = 0, id = 0; c < CR_BYTE_LEVEL_END; c++) {
        int byte = cr_byte_level_byte(c);
        if (byte < 0) continue;
        unsigned char bytes[1] = {(unsigned char)byte};
        of_byte[byte] = id;
        CR_TRY(cr_vocabulary_add(&learner->merges->tokens, "training", (struct cr_slice){bytes, 1}, id++));
    }
    CR_TRY(cr_allocate(words->text.size, sizeof *learner->symbols, &learner->symbols));
    CR_TRY(cr_allocate(words->limit, sizeof *learner->words, &learner->words));
    learner->word_count = words->limit;
    size_t used = 0;
    for (uint32_t i = 0; i < words->limit; i++) {
        struct cr_slice text = cr_vocabulary_token(words, i);
        if (text.size >= UINT32_MAX) return cr_fail(CR_NO_MEMORY, "training: a word of %zu bytes", text.size);
        learner->words[i] = (struct word){used, (uint32_t)text.size, counts[i]};
        for (size_t k = 0; k < text.size; k++) learner->symbols[used++] = of_byte[text.data[k]];
        const uint32_t *symbols = learner->symbols + learner->words[i].start;
        for (size_t k = 0; k + 1 < text.size; k++)
            CR_TRY(count_pair(learner, symbols[k], symbols[k + 1], i, false));
    }
    return push_grown(learner);
}

static enum cr_status learn(struct learner *learner, const struct cr_vocabulary *words,
                            const uint64_t *counts, size_t wanted)
{
    CR_TRY(take_words(learner, words, counts));
    while (learner->merges->tokens.count < wanted && learner->heap_count > 0) {
        struct candidate best = heap_pop(learner);
        uint64_t now = learner->pairs[best.pair].count;
        if (now == 0) continue;
        if (now == best.count)
            CR_TRY(merge_pair(learner, best.pair));
        else if (now < best.count)
            CR_TRY(heap_push(learner, best.pair)); // if it increased, a better entry is already in the heap
    }
    return CR_OK;
}

enum cr_status cr_merges_learn(const struct cr_vocabulary *words, const uint64_t *counts, size_t wanted,
                               struct cr_merges *out)
{
    struct cr_merges merges = {0};
    CR_CLEANUP(release) struct learner learner = {.merges = &merges};
    enum cr_status status = learn(&learner, words, counts, wanted);
    if (status != CR_OK)
        cr_merges_release(&merges);
    else
        *out = merges;
    return status;
}

void cr_merges_release(struct cr_merges *merges)
{
    cr_vocabulary_release(&merges->tokens);
    free(merges->items);
    *merges = (struct cr_merges){0};
}
