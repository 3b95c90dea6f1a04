#include "base/scratch.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct cr_scratch {
    int fd;
    char *path; // the name that it had
};

// A file left by a process that was killed between the two steps is reused.
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
    cr_file_close(&scratch->fd);
    free(scratch->path);
    free(scratch);
}

enum cr_status cr_scratch_write(struct cr_scratch *scratch, size_t at, const void *bytes, size_t size)
{
    return cr_file_write_at(scratch->fd, scratch->path, at, (struct cr_slice){bytes, size});
}

enum cr_status cr_scratch_read(const struct cr_scratch *scratch, size_t at, void *bytes, size_t size)
{
    size_t got;
    CR_TRY(cr_file_read_at(scratch->fd, scratch->path, at, bytes, size, &got));
    if (got < size) return cr_fail(CR_IO, "%s: it ends before byte %zu", scratch->path, at + size);
    return CR_OK;
}
