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

// Grows *block, which has room for *capacity elements of `size` bytes, where it has none for `count`: by so
// much more that elements may come one at a time.
enum cr_status cr_grow_beyond(size_t count, size_t *capacity, size_t size, void *block); // where it has none
static inline enum cr_status cr_grow(size_t count, size_t *capacity, size_t size, void *block)
{
    return count <= *capacity ? CR_OK : cr_grow_beyond(count, capacity, size, block);
}

// Sets *out to a copy of the string; free with free.
enum cr_status cr_copy_string(const char *text, char **out);

// Puts a copy of the string in the place of *target, which is freed. NULL changes nothing.
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

// One block handed out front to back. Take everything twice: the first pass (base == NULL) only counts,
// cr_arena_commit allocates, the second pass over the same requests hands out.
struct cr_arena {
    unsigned char *base; // NULL while counting
    size_t size;         // bytes committed
    size_t used;         // bytes asked for since the commit; SIZE_MAX: more than can be counted
};

enum cr_status cr_arena_commit(struct cr_arena *arena); // allocates `used` bytes, zeroed
void cr_arena_release(struct cr_arena *arena);

// NULL while counting; afterwards aligned memory. Asking for more than was counted is a bug and aborts.
void *cr_arena_take(struct cr_arena *arena, size_t count, size_t size);

#endif
