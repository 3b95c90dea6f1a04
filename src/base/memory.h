// Allocation with overflow checks, clean-up by attribute, and an arena for memory that is sized before use.
#ifndef CARREL_BASE_MEMORY_H
#define CARREL_BASE_MEMORY_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

// Blocks of cr_allocate and arenas are aligned to this many bytes: a cache line, and the widest vector.
enum { CR_ALIGNMENT = 64 };

// Sets *out to `count` zeroed elements of `size` bytes; free with cr_free or free. count 0 gives a valid
// block.
enum cr_status cr_allocate(size_t count, size_t size, void *out);

// Grows or shrinks *block (NULL or from cr_allocate/malloc) to `count` elements; old contents are kept.
enum cr_status cr_reallocate(size_t count, size_t size, void *block);

// Makes room in *block for at least `count` elements of `size` bytes; *capacity is the number that it has
// room for, and is updated. It grows geometrically, so that elements may be added one at a time.
// cr_grow_beyond is its part for count > *capacity.
enum cr_status cr_grow_beyond(size_t count, size_t *capacity, size_t size, void *block);
static inline enum cr_status cr_grow(size_t count, size_t *capacity, size_t size, void *block)
{
    return count <= *capacity ? CR_OK : cr_grow_beyond(count, capacity, size, block);
}

// Sets *out to a copy of the string; free with free.
enum cr_status cr_copy_string(const char *text, char **out);

// Replaces *target by a copy of the string and frees the old value. NULL changes nothing.
enum cr_status cr_replace_string(const char *text, char **target);

// Frees *block and sets it to NULL; for CR_CLEANUP.
void cr_free(void *block);

static inline size_t cr_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t cr_most(size_t a, size_t b)
{
    return a > b ? a : b;
}

#define CR_CLEANUP(release) __attribute__((cleanup(release)))
#define CR_FREE CR_CLEANUP(cr_free)

// Wipes memory that held a secret; never optimised away.
void cr_wipe(void *bytes, size_t size);

// One block of memory, handed out in order. All requests are made twice: the first time (base == NULL) they
// are only counted; after cr_arena_commit has allocated the block, the same requests return memory.
struct cr_arena {
    unsigned char *base; // NULL while counting
    size_t size;         // bytes committed
    size_t used;         // bytes requested, counted anew after the commit; SIZE_MAX: overflow
};

enum cr_status cr_arena_commit(struct cr_arena *arena); // allocates `used` bytes, zeroed
void cr_arena_release(struct cr_arena *arena);

// NULL while counting; afterwards aligned memory. Asking for more than was counted is a bug and aborts.
void *cr_arena_take(struct cr_arena *arena, size_t count, size_t size);

#endif
