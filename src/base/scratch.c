#include "base/scratch.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct cr_scratch {
    int fd;
    char *path; // that it had
};

// A name of a process that was killed between the two steps is taken over.
static enum cr_status make(struct cr_scratch *scratch, size_t size)
{
    scratch->fd = open(scratch->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (scratch->fd < 0 || unlink(scratch->path) != 0) return cr_fail_errno(CR_IO, "%s", scratch->path);
    errno = posix_fallocate(scratch->fd, 0, (off_t)size);
    if (errno != 0) return cr_fail_errno(CR_IO, "%s: %zu bytes of room", scratch->path, size);
    return CR_OK;
}

enum cr_status cr_scratch_open(const char *path, size_t size, struct cr_scratch **out)
{
    struct cr_scratch *scratch;
    CR_TRY(cr_allocate(1, sizeof *scratch, &scratch));
    scratch->fd = -1;
    enum cr_status status = cr_copy_string(path, &scratch->path);
    if (status == CR_OK) status = make(scratch, size);
    if (status == CR_OK)
        *out = scratch;
    else
        cr_scratch_close(scratch);
    return status;
}

void cr_scratch_close(struct cr_scratch *scratch)
{
    if (!scratch) return;
    if (scratch->fd >= 0) close(scratch->fd);
    free(scratch->path);
    free(scratch);
}

enum cr_status cr_scratch_write(struct cr_scratch *scratch, size_t at, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(scratch->fd, (const char *)bytes + done, size - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cr_fail_errno(CR_IO, "%s: cannot be written", scratch->path);
        done += (size_t)put;
    }
    return CR_OK;
}

enum cr_status cr_scratch_read(const struct cr_scratch *scratch, size_t at, void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(scratch->fd, (char *)bytes + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cr_fail_errno(CR_IO, "%s: cannot be read", scratch->path);
        if (got == 0) return cr_fail(CR_IO, "%s: it ends before byte %zu", scratch->path, at + size);
        done += (size_t)got;
    }
    return CR_OK;
}
