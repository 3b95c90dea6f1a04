#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool rounded_size(size_t count, size_t size, size_t *total)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return false;
    if (bytes == 0) bytes = 1;
    if (bytes > SIZE_MAX / 2) return false;
    *total = (bytes + CR_ALIGNMENT - 1) / CR_ALIGNMENT * CR_ALIGNMENT;
    return true;
}

// Requests huge pages for large blocks, which saves the processor most address translations. The kernel may
// decline.
static void *aligned_block(size_t size)
{
    enum { LARGE_PAGE = 1 << 21 };
    void *block;
    if (posix_memalign(&block, size < LARGE_PAGE ? CR_ALIGNMENT : LARGE_PAGE, size) != 0) return NULL;
    if (size >= LARGE_PAGE) madvise(block, size, MADV_HUGEPAGE);
    return block;
}

enum cr_status cr_allocate(size_t count, size_t size, void *out)
{
    size_t total;
    void *block = rounded_size(count, size, &total) ? aligned_block(total) : NULL;
    if (!block) return cr_fail(CR_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    memset(block, 0, total);
    memcpy(out, &block, sizeof block);
    return CR_OK;
}

enum cr_status cr_reallocate(size_t count, size_t size, void *block)
{
    void *old;
    size_t total;
    memcpy(&old, block, sizeof old);
    void *grown = rounded_size(count, size, &total) ? realloc(old, total) : NULL;
    if (!grown) return cr_fail(CR_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    memcpy(block, &grown, sizeof grown);
    return CR_OK;
}

enum cr_status cr_grow_beyond(size_t count, size_t *capacity, size_t size, void *block)
{
    size_t grown = count + count / 2 + 64;
    CR_TRY(cr_reallocate(grown, size, block));
    *capacity = grown;
    return CR_OK;
}

enum cr_status cr_copy_string(const char *text, char **out)
{
    char *copy = strdup(text);
    if (!copy) return cr_fail(CR_NO_MEMORY, "out of memory: %zu bytes", strlen(text));
    *out = copy;
    return CR_OK;
}

enum cr_status cr_replace_string(const char *text, char **target)
{
    char *copy;
    if (!text) return CR_OK;
    CR_TRY(cr_copy_string(text, &copy));
    free(*target);
    *target = copy;
    return CR_OK;
}

void cr_free(void *block)
{
    void *pointer;
    memcpy(&pointer, block, sizeof pointer);
    free(pointer);
    pointer = NULL;
    memcpy(block, &pointer, sizeof pointer);
}

void cr_wipe(void *bytes, size_t size)
{
    if (size > 0) explicit_bzero(bytes, size);
}

enum cr_status cr_arena_commit(struct cr_arena *arena)
{
    unsigned char *base;
    CR_TRY(cr_allocate(arena->used, 1, &base));
    free(arena->base);
    *arena = (struct cr_arena){.base = base, .size = arena->used};
    return CR_OK;
}

void cr_arena_release(struct cr_arena *arena)
{
    free(arena->base);
    *arena = (struct cr_arena){0};
}

void *cr_arena_take(struct cr_arena *arena, size_t count, size_t size)
{
    size_t total, at = arena->used;
    // On overflow the count becomes SIZE_MAX, so that the commit fails.
    if (!rounded_size(count, size, &total) || __builtin_add_overflow(at, total, &arena->used))
        arena->used = SIZE_MAX;
    if (!arena->base) return NULL;
    if (arena->used > arena->size) abort();
    return arena->base + at;
}
