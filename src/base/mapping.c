// Mappings of files, and the handling of access to one whose file was truncated.
#include "base/mapping.h"

#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct mapped {
    struct mapped *next;
    struct cr_slice bytes;
    char *path;
};

static struct mapped *mappings; // for on_lost_page's message
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *told_by;
static atomic_flag telling = ATOMIC_FLAG_INIT;

static void forget(struct mapped *mapped)
{
    free(mapped->path);
    free(mapped);
}

static enum cr_status remember(const char *path, struct mapped **out)
{
    struct mapped *mapped = NULL;
    CR_TRY(cr_allocate(1, sizeof *mapped, &mapped));
    enum cr_status status = cr_copy_string(path, &mapped->path);
    if (status == CR_OK)
        *out = mapped;
    else
        free(mapped);
    return status;
}

enum cr_status cr_file_map(const char *path, struct cr_slice *out)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    size_t size;
    CR_TRY(cr_file_open(path, &fd, &size));
    if (size == 0) {
        *out = (struct cr_slice){NULL, 0};
        return CR_OK;
    }
    struct mapped *mapped = NULL;
    CR_TRY(remember(path, &mapped));
    void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
        enum cr_status status = cr_fail_errno(CR_IO, "%s: cannot be mapped", path);
        forget(mapped);
        return status;
    }
    *out = mapped->bytes = (struct cr_slice){mapping, size};
    pthread_mutex_lock(&lock);
    mapped->next = mappings;
    mappings = mapped;
    pthread_mutex_unlock(&lock);
    return CR_OK;
}

void cr_file_unmap(struct cr_slice *mapping)
{
    if (!mapping->data) return;
    pthread_mutex_lock(&lock);
    struct mapped **at = &mappings;
    while (*at && (*at)->bytes.data != mapping->data) at = &(*at)->next;
    struct mapped *mapped = *at;
    if (mapped) *at = mapped->next;
    pthread_mutex_unlock(&lock);
    if (mapped) forget(mapped);
    // This process alone owns the mapping; munmap takes a pointer to non-const.
    munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (struct cr_slice){NULL, 0};
}

void cr_file_drop(struct cr_slice part)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)part.data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)part.data + part.size) / page * page;
    void *address;
    memcpy(&address, &start, sizeof address);
    if (end > start) (void)madvise(address, end - start, MADV_DONTNEED); // a hint; failing costs only memory
}

static void tell(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return; // the message cannot be delivered
}

// A signal handler must not wait for the lock. It reads the list without it: a thread that changes the list
// at this moment ends with the process anyway.
static void on_lost_page(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t place = (uintptr_t)info->si_addr;
    // If several threads get here at once, one reports; the others wait, and end with the process.
    while (atomic_flag_test_and_set(&telling)) {
    }
    for (const struct mapped *at = info->si_code > 0 ? mappings : NULL; at; at = at->next) {
        if (place < (uintptr_t)at->bytes.data || place - (uintptr_t)at->bytes.data >= at->bytes.size)
            continue;
        tell(told_by);
        tell(": ");
        tell(at->path);
        tell(": cannot be read to its end any more: it was cut off meanwhile, or its disk fails\n");
        _exit(cr_exit_code(CR_IO));
    }
    signal(number, SIG_DFL);
    raise(number);
}

enum cr_status cr_file_watch_mappings(const char *program)
{
    struct sigaction action = {.sa_sigaction = on_lost_page, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    told_by = program;
    return sigaction(SIGBUS, &action, NULL) == 0 ? CR_OK
                                                 : cr_fail_errno(CR_INTERNAL, "signals cannot be caught");
}
