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

// Right before the block; between the two and the first page's start there is nothing.
struct header {
    void *mapping; // with its two guards
    size_t mapping_size, secret_size;
    enum cr_secret_kind kind;
    unsigned char *next; // of the blocks that are kept
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

// NULL: none of that size is kept.
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

// Puts pages in the place that are the kernel's to give but not to read.
static bool hide(void *place, size_t size)
{
    struct rlimit files; // counts here too, and going over it would end a process that does not expect it
    if (getrlimit(RLIMIT_FSIZE, &files) != 0 || size > files.rlim_cur) return false;
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd < 0) return false;
    bool hidden = ftruncate(fd, (off_t)size) == 0 &&
                  mmap(place, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
    close(fd);
    return hidden;
}

// Gives the place pages of the best kind that is to be had; CR_SECRET_KINDS: of none.
static enum cr_secret_kind fill(void *place, size_t size)
{
    enum cr_secret_kind kind = CR_SECRET_HIDDEN;
    if (!hide(place, size)) {
        // What may have failed half-way is replaced as a whole.
        if (mmap(place, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            return CR_SECRET_KINDS;
        kind = mlock(place, size) == 0 ? CR_SECRET_LOCKED : CR_SECRET_PLAIN;
    }
    // Here, and not while work waits for it: taking a hidden page out of the kernel's reach takes its time.
    for (size_t at = 0; at < size; at += page_size()) ((volatile unsigned char *)place)[at] = 0;
    // The processes that hold secrets are not to be dumped at all: this is for those that were not told.
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
