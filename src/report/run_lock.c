#include "report/run_lock.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

enum { CHILDREN_BYTE, PROCESS_BYTE };

static const double longest_end = 30; // seconds to wait for the children of a killed run to end

static struct flock whole_byte(off_t byte)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

static enum cr_status take(int fd, const char *directory)
{
    struct flock process = whole_byte(PROCESS_BYTE);
    if (fcntl(fd, F_SETLK, &process) != 0) {
        if (errno != EAGAIN && errno != EACCES)
            return cr_fail_errno(CR_IO, "%s: cannot be locked", directory);
        struct flock holder = whole_byte(PROCESS_BYTE);
        if (fcntl(fd, F_GETLK, &holder) != 0 || holder.l_type == F_UNLCK) holder.l_pid = 0;
        return cr_fail(CR_INVALID, "%s: another run is going on there (process %ld)", directory,
                       (long)holder.l_pid);
    }
    double since = cr_clock_monotonic();
    for (;;) {
        struct flock children = whole_byte(CHILDREN_BYTE);
        if (fcntl(fd, F_OFD_SETLK, &children) == 0) return CR_OK;
        if (errno != EAGAIN && errno != EACCES)
            return cr_fail_errno(CR_IO, "%s: cannot be locked", directory);
        if (cr_clock_monotonic() - since > longest_end)
            return cr_fail(CR_TIMEOUT, "%s: a carrel-enclave of a run that was killed does not end",
                           directory);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
}

enum cr_status cr_run_lock_take(const char *directory, int *out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "lock", &path));
    CR_CLEANUP(cr_file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s", path);
    CR_TRY(take(fd, directory));
    *out = fd;
    fd = -1;
    return CR_OK;
}

enum cr_status cr_run_lock_is_held(const char *directory, bool *held)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "lock", &path));
    CR_CLEANUP(cr_file_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe cannot block
    if (fd < 0 && errno != ENOENT) return cr_fail_errno(CR_IO, "%s", path);
    struct flock process = whole_byte(PROCESS_BYTE);
    if (fd >= 0 && fcntl(fd, F_GETLK, &process) != 0) return cr_fail_errno(CR_IO, "%s", path);
    *held = fd >= 0 && process.l_type != F_UNLCK;
    return CR_OK;
}
