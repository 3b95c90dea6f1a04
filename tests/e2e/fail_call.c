// A library to be loaded before the C library (LD_PRELOAD). Of the calls of one kind that the program
// FAIL_PROGRAM makes, that with the number FAIL_AT fails with the error FAIL_ERRNO, or, where that is 0,
// takes a single byte; it says so on standard error. Where FAIL_AT is 0 it says in the end how many calls
// there were.
#undef _FORTIFY_SOURCE // whose open and read are inline
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *kind = ""; // FAIL_KIND
static long at;
static int error;
static atomic_long taken;

static void say(const char *text)
{
    if (syscall(SYS_write, STDERR_FILENO, text, strlen(text)) < 0) _exit(1);
}

__attribute__((constructor)) static void start(void)
{
    const char *program = getenv("FAIL_PROGRAM"), *of = getenv("FAIL_KIND");
    if (!program || !of || strcmp(program, program_invocation_short_name) != 0) return;
    static char name[16]; // carrel-enclave forgets its environment
    snprintf(name, sizeof name, "%s", of);
    kind = name;
    at = strtol(getenv("FAIL_AT"), NULL, 10);
    error = (int)strtol(getenv("FAIL_ERRNO"), NULL, 10);
}

__attribute__((destructor)) static void end(void)
{
    char text[64];
    // Of carrel-enclave the last line is not shown where all went well.
    snprintf(text, sizeof text, "calls %ld\n\n", atomic_load(&taken));
    if (kind[0] != 0 && at == 0) say(text);
}

static bool fails(const char *of)
{
    if (strcmp(kind, of) != 0 || atomic_fetch_add(&taken, 1) + 1 != at) return false;
    say("failed\n");
    errno = error;
    return true;
}

// Whether it fails; else *size is how much it may take.
static bool fails_with(const char *of, size_t *size)
{
    if (!fails(of)) return false;
    if (error == 0 && *size > 1) *size = 1;
    return error != 0;
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    return fails("open") ? -1 : (int)syscall(SYS_openat, directory, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_at(AT_FDCWD, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

ssize_t read(int fd, void *bytes, size_t size)
{
    return fails_with("read", &size) ? -1 : syscall(SYS_read, fd, bytes, size);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t from)
{
    return fails_with("read", &size) ? -1 : syscall(SYS_pread64, fd, bytes, size, from);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return fails_with("write", &size) ? -1 : syscall(SYS_write, fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t to)
{
    return fails_with("write", &size) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, to);
}

struct dirent *readdir(DIR *directory)
{
    static struct dirent *(*next)(DIR *);
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, "readdir");
    return fails("list") ? NULL : next(directory);
}

int fsync(int fd)
{
    return fails("sync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    return fails("name") ? -1 : (int)syscall(SYS_rename, from, to);
}

int link(const char *from, const char *to)
{
    return fails("name") ? -1 : (int)syscall(SYS_link, from, to);
}

int mkdir(const char *path, mode_t mode)
{
    return fails("name") ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

void *mmap(void *place, size_t size, int protection, int flags, int fd, off_t from)
{
    if (fails("map")) return MAP_FAILED;
    long mapped = syscall(SYS_mmap, place, size, protection, flags, fd, from);
    return (void *)mapped; // MAP_FAILED is -1
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, "pthread_create");
    return fails("thread") ? error : next(thread, attributes, run, argument);
}
