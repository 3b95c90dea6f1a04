#include "base/secret.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

// Lies directly in front of the block. The rest of the page before it is unused.
struct header {
    void *mapping; // including the two guard pages
    size_t mapping_size, secret_size;
    enum cr_secret_kind kind;
    unsigned char *next; // in the list of kept blocks
};

_Static_assert(sizeof(struct header) <= CR_ALIGNMENT, "a header takes one unit of alignment");

static _Atomic size_t held[CR_SECRET_KINDS];

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct {
    pthread_mutex_t lock;
    unsigned char *first;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct header *header_of(unsigned char *at)
{
    void *header = at - CR_ALIGNMENT;
    return header;
}

static size_t block_size(unsigned char *at)
{
    const struct header *header = header_of(at);
    return (size_t)((unsigned char *)header->mapping + header->mapping_size - page_size() - at);
}

// A kept block of exactly this size, or NULL.
static unsigned char *take_kept(size_t size)
{
    pthread_mutex_lock(&kept.lock);
    unsigned char **place = &kept.first;
    while (*place && block_size(*place) != size) place = &header_of(*place)->next;
    unsigned char *at = *place;
    if (at) *place = header_of(at)->next;
    pthread_mutex_unlock(&kept.lock);
    return at;
}

// Maps pages of memfd_secret at `place`.
static bool hide(void *place, size_t size)
{
    struct rlimit files; // applies here too; exceeding it would raise SIGXFSZ
    if (getrlimit(RLIMIT_FSIZE, &files) != 0 || size > files.rlim_cur) return false;
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd < 0) return false;
    bool hidden = ftruncate(fd, (off_t)size) == 0 &&
                  mmap(place, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
    close(fd);
    return hidden;
}

// Maps pages of the best available kind at `place`; CR_SECRET_KINDS if there are none.
static enum cr_secret_kind fill(void *place, size_t size)
{
    enum cr_secret_kind kind = CR_SECRET_HIDDEN;
    if (!hide(place, size)) {
        // Replaces the whole mapping, since hide may have failed half-way.
        if (mmap(place, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            return CR_SECRET_KINDS;
        kind = mlock(place, size) == 0 ? CR_SECRET_LOCKED : CR_SECRET_PLAIN;
    }
    // Touch all pages now rather than when they are first used: it takes time to hide a page from the kernel.
    for (size_t at = 0; at < size; at += page_size()) ((volatile unsigned char *)place)[at] = 0;
    // Processes that hold secrets turn core dumps off as a whole; this is for a process that did not.
    (void)madvise(place, size, MADV_DONTDUMP);
    (void)madvise(place, size, MADV_DONTFORK);
    return kind;
}

static bool sizes_of(size_t count, size_t size, size_t *block, size_t *secret, size_t *mapping)
{
    size_t page = page_size();
    if (__builtin_mul_overflow(count, size, block) || *block > SIZE_MAX / 2) return false;
    *block = (cr_most(*block, 1) + CR_ALIGNMENT - 1) / CR_ALIGNMENT * CR_ALIGNMENT;
    *secret = (*block + CR_ALIGNMENT + page - 1) / page * page;
    *mapping = *secret + 2 * page;
    return true;
}

enum cr_status cr_secret_allocate(size_t count, size_t size, void *out)
{
    size_t block, secret, whole;
    unsigned char *mapping = MAP_FAILED;
    if (sizes_of(count, size, &block, &secret, &whole)) {
        unsigned char *again = take_kept(block);
        memcpy(out, &again, sizeof again);
        if (again) return CR_OK;
        mapping = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (mapping == MAP_FAILED)
        return cr_fail(CR_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    unsigned char *place = mapping + page_size();
    enum cr_secret_kind kind = fill(place, secret);
    if (kind == CR_SECRET_KINDS) {
        munmap(mapping, whole);
        return cr_fail(CR_NO_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
    }
    unsigned char *at = place + secret - block;
    const struct header header = {
        .mapping = mapping, .mapping_size = whole, .secret_size = secret, .kind = kind};
    memcpy(at - CR_ALIGNMENT, &header, sizeof header);
    memcpy(out, &at, sizeof at);
    atomic_fetch_add(&held[kind], secret);
    return CR_OK;
}

enum cr_status cr_secret_arena_commit(struct cr_arena *arena)
{
    unsigned char *base;
    CR_TRY(cr_secret_allocate(arena->used, 1, &base));
    *arena = (struct cr_arena){.base = base, .size = arena->used};
    return CR_OK;
}

void cr_secret_free(void *block)
{
    unsigned char *at;
    struct header header;
    memcpy(&at, block, sizeof at);
    if (!at) return;
    memcpy(&header, at - CR_ALIGNMENT, sizeof header);
    cr_wipe((unsigned char *)header.mapping + page_size(), header.secret_size);
    munmap(header.mapping, header.mapping_size);
    atomic_fetch_sub(&held[header.kind], header.secret_size);
    at = NULL;
    memcpy(block, &at, sizeof at);
}

void cr_secret_keep(void *block)
{
    unsigned char *at;
    memcpy(&at, block, sizeof at);
    if (!at) return;
    cr_wipe(at, block_size(at));
    pthread_mutex_lock(&kept.lock);
    header_of(at)->next = kept.first;
    kept.first = at;
    pthread_mutex_unlock(&kept.lock);
    at = NULL;
    memcpy(block, &at, sizeof at);
}

void cr_secret_usage(size_t bytes[CR_SECRET_KINDS])
{
    for (size_t i = 0; i < CR_SECRET_KINDS; i++) bytes[i] = atomic_load(&held[i]);
}
