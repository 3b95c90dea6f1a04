#include "base/outside.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Reading a mapping past the end of its file kills a process, so the file is sealed against shrinking.
static int seal(int fd, int more)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | more);
}

static int open_memory(const char *name, size_t size, bool present)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if ((present ? fallocate(fd, 0, 0, (off_t)size) : ftruncate(fd, (off_t)size)) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

// A file that no other process has open; its name is removed once it is mapped.
static int open_shared(const char *name, size_t size, char *path, size_t path_size)
{
    double now = cr_clock_monotonic();
    snprintf(path, path_size, "/dev/shm/%s-%ld-%.0f", name, (long)getpid(), now * 1e9);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) == 0) return fd;
    int why = errno;
    unlink(path);
    close(fd);
    errno = why;
    return -1;
}

enum cr_status cr_outside_share(const char *name, size_t size, bool writable, void *out, int *fd)
{
    void *place = MAP_FAILED;
    int made = open_memory(name, size, false);
    if (made >= 0) place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);
    if (place == MAP_FAILED || seal(made, writable ? 0 : F_SEAL_FUTURE_WRITE) != 0) {
        enum cr_status status = cr_fail_errno(CR_NO_MEMORY, "%zu bytes of memory to share (%s)", size, name);
        if (place != MAP_FAILED) munmap(place, size);
        if (made >= 0) close(made);
        return status;
    }
    *(void **)out = place;
    *fd = made;
    return CR_OK;
}

enum cr_status cr_outside_map(const char *name, size_t size, bool present, void *out)
{
    char path[128] = "";
    int fd = open_memory(name, size, present);
    if (fd < 0 && errno == ENOSYS) fd = open_shared(name, size, path, sizeof path);
    if (fd < 0) return cr_fail_errno(CR_NO_MEMORY, "%zu bytes of memory outside (%s)", size, name);
    void *place = MAP_FAILED;
    enum cr_status status = CR_OK;
    if (path[0] != 0 || seal(fd, 0) == 0) place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED)
        status = cr_fail_errno(CR_NO_MEMORY, "%zu bytes of memory outside (%s)", size, name);
    close(fd);
    if (path[0] != 0) unlink(path);
    if (status != CR_OK) return status;
    if (present && path[0] != 0) memset(place, 0, size); // Gramine has no fallocate for such files
    *(void **)out = place;
    return CR_OK;
}
