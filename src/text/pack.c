#include "text/pack.h"

#include <stdlib.h>

void cr_packs_release(struct cr_packs *packs)
{
    free(packs->start);
    free(packs->items);
    *packs = (struct cr_packs){0};
}

// Makes each example a pack of its own, in order.
static enum cr_status each_alone(size_t examples, struct cr_packs *out)
{
    CR_CLEANUP(cr_packs_release) struct cr_packs packs = {.count = examples};
    CR_TRY(cr_allocate(examples + 1, sizeof *packs.start, &packs.start));
    CR_TRY(cr_allocate(examples, sizeof *packs.items, &packs.items));
    for (size_t i = 0; i < examples; i++) packs.items[i] = (uint32_t)i;
    for (size_t i = 0; i <= examples; i++) packs.start[i] = i;
    *out = packs;
    packs = (struct cr_packs){0};
    return CR_OK;
}

// Packs by their room: a list for each amount of room, and a bit for each list that is not empty.
enum { WORD = 64 };
struct rooms {
    size_t *first;  // [capacity + 1] index of a pack + 1, or 0
    size_t *next;   // [packs at most]
    uint64_t *some; // [capacity / WORD + 1]
    size_t words;
};

// The smallest room of at least `least` that some pack has; SIZE_MAX: none.
static size_t least_room(const struct rooms *rooms, size_t least)
{
    size_t word = least / WORD;
    uint64_t bits = rooms->some[word] & ~(uint64_t)0 << least % WORD;
    while (bits == 0) {
        if (++word == rooms->words) return SIZE_MAX;
        bits = rooms->some[word];
    }
    return word * WORD + (size_t)__builtin_ctzll(bits);
}

static size_t take(struct rooms *rooms, size_t room)
{
    size_t pack = rooms->first[room] - 1;
    rooms->first[room] = rooms->next[pack];
    if (rooms->first[room] == 0) rooms->some[room / WORD] &= ~((uint64_t)1 << room % WORD);
    return pack;
}

static void put(struct rooms *rooms, size_t room, size_t pack)
{
    rooms->next[pack] = rooms->first[room];
    rooms->first[room] = pack + 1;
    rooms->some[room / WORD] |= (uint64_t)1 << room % WORD;
}

// Sorts examples by falling length: a counting sort, which keeps the order of equal lengths.
static enum cr_status sort(const size_t *length, size_t examples, size_t capacity, uint32_t *sorted)
{
    CR_FREE size_t *place = NULL;
    CR_TRY(cr_allocate(capacity + 2, sizeof *place, &place));
    for (size_t i = 0; i < examples; i++) place[capacity - length[i] + 1]++;
    for (size_t i = 1; i <= capacity; i++) place[i] += place[i - 1];
    for (size_t i = 0; i < examples; i++) sorted[place[capacity - length[i]]++] = (uint32_t)i;
    return CR_OK;
}

// Sets pack_of[i] for each example, and the number of packs.
static enum cr_status fit(const size_t *length, const uint32_t *sorted, size_t examples, size_t capacity,
                          size_t *pack_of, size_t *count)
{
    CR_FREE size_t *first = NULL;
    CR_FREE size_t *next = NULL;
    CR_FREE uint64_t *some = NULL;
    struct rooms rooms = {.words = capacity / WORD + 1};
    CR_TRY(cr_allocate(capacity + 1, sizeof *first, &first));
    CR_TRY(cr_allocate(examples, sizeof *next, &next));
    CR_TRY(cr_allocate(rooms.words, sizeof *some, &some));
    rooms.first = first;
    rooms.next = next;
    rooms.some = some;
    *count = 0;
    for (size_t k = 0; k < examples; k++) {
        size_t own = length[sorted[k]], room = least_room(&rooms, own);
        size_t pack = room == SIZE_MAX ? (*count)++ : take(&rooms, room);
        pack_of[sorted[k]] = pack;
        put(&rooms, (room == SIZE_MAX ? capacity : room) - own, pack);
    }
    return CR_OK;
}

enum cr_status cr_packs_fit(const size_t *length, size_t examples, size_t capacity, struct cr_packs *out)
{
    for (size_t i = 0; i < examples; i++)
        if (length[i] == 0 || length[i] > capacity)
            return cr_fail(CR_INTERNAL, "an example of %zu tokens for packs of %zu", length[i], capacity);
    CR_CLEANUP(cr_packs_release) struct cr_packs packs = {0};
    CR_FREE uint32_t *sorted = NULL;
    CR_FREE size_t *pack_of = NULL;
    CR_TRY(cr_allocate(examples, sizeof *sorted, &sorted));
    CR_TRY(cr_allocate(examples, sizeof *pack_of, &pack_of));
    CR_TRY(sort(length, examples, capacity, sorted));
    CR_TRY(fit(length, sorted, examples, capacity, pack_of, &packs.count));
    CR_TRY(cr_allocate(packs.count + 2, sizeof *packs.start, &packs.start));
    CR_TRY(cr_allocate(examples, sizeof *packs.items, &packs.items));
    for (size_t i = 0; i < examples; i++) packs.start[pack_of[i] + 2]++;
    for (size_t p = 2; p <= packs.count; p++) packs.start[p] += packs.start[p - 1];
    for (size_t k = 0; k < examples; k++) packs.items[packs.start[pack_of[sorted[k]] + 1]++] = sorted[k];
    *out = packs;
    packs = (struct cr_packs){0};
    return CR_OK;
}

enum cr_status cr_dataset_pack(const struct cr_dataset *data, bool packing, size_t capacity,
                               struct cr_packs *out)
{
    size_t examples = cr_dataset_count(data);
    if (!packing) return each_alone(examples, out);
    CR_FREE size_t *length = NULL;
    CR_TRY(cr_allocate(examples, sizeof *length, &length));
    for (size_t i = 0; i < examples; i++) length[i] = cr_dataset_at(data, i).count;
    return cr_packs_fit(length, examples, capacity, out);
}
