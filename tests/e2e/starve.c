// Memory that runs out: a library to be loaded before the C library (LD_PRELOAD). It refuses one allocation,
// that with the number STARVE_AT, to the program that STARVE_PROGRAM names, and says so on standard error;
// with STARVE_ON it refuses all after it, too.
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What the C library calls its own.
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static long at; // 0: never
static bool on;
static atomic_long taken;

__attribute__((constructor)) static void start(void)
{
    const char *program = getenv("STARVE_PROGRAM"), *number = getenv("STARVE_AT");
    if (!program || !number || strcmp(program, program_invocation_short_name) != 0) return;
    on = getenv("STARVE_ON") != NULL;
    at = strtol(number, NULL, 10);
}

static bool refused(void)
{
    if (at == 0) return false;
    long number = atomic_fetch_add(&taken, 1) + 1;
    if (number != at && (!on || number < at)) return false;
    static const char word[] = "starved\n";
    if (number == at && write(STDERR_FILENO, word, sizeof word - 1) < 0) _exit(1);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return refused() ? NULL : __libc_realloc(block, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (refused()) return ENOMEM;
    void *block = __libc_memalign(alignment, size);
    if (!block) return ENOMEM;
    *out = block;
    return 0;
}
