#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char temporary_part[] = ".tmp."; // between a file's name and the process's number

// With O_NONBLOCK, opening a named pipe does not hang.
enum cr_status cr_file_open(const char *path, int *fd, size_t *size)
{
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0 && errno == ENOENT && cr_file_exists(path))
        return cr_fail(CR_NOT_FOUND, "%s: a link to what is not there", path);
    if (opened < 0) return cr_fail_errno(errno == ENOENT ? CR_NOT_FOUND : CR_IO, "%s", path);
    struct stat stat;
    if (fstat(opened, &stat) != 0) {
        enum cr_status status = cr_fail_errno(CR_IO, "%s", path);
        close(opened);
        return status;
    }
    if (!S_ISREG(stat.st_mode)) {
        close(opened);
        return cr_fail(CR_INVALID, "%s: %s", path,
                       S_ISDIR(stat.st_mode) ? "a directory, not a file" : "not a regular file");
    }
    *fd = opened;
    *size = (size_t)stat.st_size;
    return CR_OK;
}

void cr_file_close(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

enum cr_status cr_file_take(int fd, const char *path, void *out, size_t size)
{
    unsigned char *to = out;
    while (size > 0) {
        ssize_t got = read(fd, to, size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cr_fail_errno(CR_IO, "%s", path);
        if (got == 0) return cr_fail(CR_INVALID, "%s: ends before its time", path);
        to += got;
        size -= (size_t)got;
    }
    return CR_OK;
}

enum cr_status cr_file_read_at(int fd, const char *path, uint64_t at, void *out, size_t size, size_t *got)
{
    size_t done = 0;
    while (done < size) {
        ssize_t came = pread(fd, (char *)out + done, size - done, (off_t)(at + done));
        if (came < 0 && errno == EINTR) continue;
        if (came < 0) return cr_fail_errno(CR_IO, "%s: cannot be read", path);
        if (came == 0) break;
        done += (size_t)came;
    }
    *got = done;
    return CR_OK;
}

enum cr_status cr_file_write_at(int fd, const char *path, uint64_t at, struct cr_slice bytes)
{
    for (size_t done = 0; done < bytes.size;) {
        ssize_t put = pwrite(fd, bytes.data + done, bytes.size - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cr_fail_errno(CR_IO, "%s: cannot be written", path);
        done += (size_t)put;
    }
    return CR_OK;
}

static enum cr_status read_all(int fd, const char *path, size_t limit, struct cr_buffer *out)
{
    unsigned char chunk[65536];
    size_t total = 0;
    enum cr_status status = CR_OK;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = cr_fail_errno(CR_IO, "%s", path);
        if (got <= 0) break;
        total += (size_t)got;
        if (total > limit)
            status = cr_fail(CR_INVALID, "%s: more than the %zu bytes allowed", path, limit);
        else
            status = cr_append(out, chunk, (size_t)got);
        if (status != CR_OK) break;
    }
    cr_wipe(chunk, sizeof chunk); // the file may hold a secret
    return status;
}

enum cr_status cr_file_read(const char *path, size_t limit, struct cr_buffer *out)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    size_t size, before = out->size;
    CR_TRY(cr_file_open(path, &fd, &size));
    if (size > limit)
        return cr_fail(CR_INVALID, "%s: %zu bytes, more than the %zu allowed", path, size, limit);
    enum cr_status status = read_all(fd, path, limit, out);
    if (status != CR_OK && out->data) {
        out->size = before;
        out->data[before] = 0;
    }
    return status;
}

enum cr_status cr_file_begin(const char *path, bool secret, struct cr_file_writer *out)
{
    struct cr_file_writer writer = {.fd = -1};
    struct cr_buffer name = {0};
    enum cr_status status = cr_copy_string(path, &writer.path);
    if (status == CR_OK) status = cr_append_format(&name, "%s%s%ld", path, temporary_part, (long)getpid());
    writer.temporary = (char *)name.data;
    if (status == CR_OK) {
        unlink(writer.temporary);
        writer.fd = open(writer.temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644);
        if (writer.fd < 0) status = cr_fail_errno(CR_IO, "%s: cannot be written", path);
    }
    if (status != CR_OK) {
        free(writer.path);
        free(writer.temporary);
        return status;
    }
    *out = writer;
    return CR_OK;
}

enum cr_status cr_file_append(struct cr_file_writer *writer, struct cr_slice bytes)
{
    size_t at = 0;
    while (at < bytes.size) {
        ssize_t put = write(writer->fd, bytes.data + at, bytes.size - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cr_fail_errno(CR_IO, "%s: cannot be written", writer->path);
        at += (size_t)put;
    }
    return CR_OK;
}

enum cr_status cr_file_put(const char *path, struct cr_slice bytes)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return cr_fail_errno(errno == ENOENT ? CR_NOT_FOUND : CR_IO, "%s", path);
    ssize_t put = write(fd, bytes.data, bytes.size);
    enum cr_status status = CR_OK;
    if (put < 0)
        status = cr_fail_errno(CR_IO, "%s: cannot be written", path);
    else if ((size_t)put != bytes.size)
        status = cr_fail(CR_IO, "%s: took %zd of %zu bytes", path, put, bytes.size);
    if (close(fd) != 0 && status == CR_OK) status = cr_fail_errno(CR_IO, "%s: cannot be written", path);
    return status;
}

enum cr_status cr_path_sync(const char *path)
{
    CR_FREE char *directory = NULL;
    CR_TRY(cr_path_directory(path, &directory));
    CR_CLEANUP(cr_file_close) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        return cr_fail_errno(CR_IO, "%s: cannot be synced", directory);
    return CR_OK;
}

enum cr_status cr_file_commit(struct cr_file_writer *writer)
{
    enum cr_status status = CR_OK;
    if (fsync(writer->fd) != 0) status = cr_fail_errno(CR_IO, "%s: cannot be written", writer->path);
    int closed = close(writer->fd);
    writer->fd = -1;
    if (status == CR_OK && closed != 0) status = cr_fail_errno(CR_IO, "%s: cannot be written", writer->path);
    if (status == CR_OK && rename(writer->temporary, writer->path) != 0)
        status = cr_fail_errno(CR_IO, "%s: cannot be replaced", writer->path);
    if (status == CR_OK) {
        cr_free(&writer->temporary);
        status = cr_path_sync(writer->path);
    }
    cr_file_abandon(writer);
    return status;
}

void cr_file_abandon(struct cr_file_writer *writer)
{
    cr_file_close(&writer->fd);
    if (writer->temporary) unlink(writer->temporary);
    cr_free(&writer->temporary);
    cr_free(&writer->path);
}

enum cr_status cr_file_write(const char *path, struct cr_slice bytes, bool secret)
{
    CR_CLEANUP(cr_file_abandon) struct cr_file_writer writer = {.fd = -1};
    CR_TRY(cr_file_begin(path, secret, &writer));
    CR_TRY(cr_file_append(&writer, bytes));
    return cr_file_commit(&writer);
}

// Writes the file unless one of that name exists, which *kept says.
static enum cr_status write_unless(const char *path, struct cr_slice bytes, bool secret, bool *kept)
{
    CR_CLEANUP(cr_file_abandon) struct cr_file_writer writer = {.fd = -1};
    CR_TRY(cr_file_begin(path, secret, &writer));
    CR_TRY(cr_file_append(&writer, bytes));
    if (fsync(writer.fd) != 0) return cr_fail_errno(CR_IO, "%s: cannot be written", path);
    *kept = link(writer.temporary, path) != 0;
    if (!*kept || errno == EEXIST) return cr_path_sync(path);
    // The file system has no hard links, or the process may not make any.
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        return cr_fail_errno(CR_IO, "%s: cannot be written", path);
    *kept = cr_file_exists(path);
    return *kept ? CR_OK : cr_file_commit(&writer);
}

enum cr_status cr_file_write_first(const char *path, struct cr_slice bytes)
{
    bool kept;
    return write_unless(path, bytes, true, &kept);
}

enum cr_status cr_file_write_new(const char *path, struct cr_slice bytes)
{
    bool kept;
    CR_TRY(write_unless(path, bytes, false, &kept));
    return kept ? cr_fail(CR_INVALID, "%s: is there already, and stays as it is", path) : CR_OK;
}

// Whether `end` is the suffix that cr_file_begin adds to a name.
static bool is_temporary(const char *end)
{
    size_t length = strlen(temporary_part);
    if (strncmp(end, temporary_part, length) != 0) return false;
    size_t digits = strspn(end + length, "0123456789");
    return digits > 0 && end[length + digits] == 0;
}

bool cr_file_is_unfinished(const char *name, const char *of)
{
    size_t length = strlen(of);
    return strncmp(name, of, length) == 0 && is_temporary(name + length);
}

bool cr_file_is_any_unfinished(const char *name)
{
    const char *at = strstr(name, temporary_part);
    while (at && !is_temporary(at)) at = strstr(at + 1, temporary_part);
    return at != NULL;
}

void cr_directory_sweep(const char *directory, bool (*unfinished)(const char *name))
{
    DIR *open = opendir(directory);
    if (!open) return;
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open))
        if (unfinished(entry->d_name)) unlinkat(dirfd(open), entry->d_name, 0);
    closedir(open);
}

static void put_numbered(const char *prefix, uint64_t number, const char *suffix, char name[NAME_MAX + 1])
{
    snprintf(name, NAME_MAX + 1, "%s%" PRIu64 "%s", prefix, number, suffix);
}

enum cr_status cr_path_numbered(const char *directory, const char *prefix, uint64_t number,
                                const char *suffix, char **out)
{
    char name[NAME_MAX + 1];
    put_numbered(prefix, number, suffix, name);
    return cr_path_join(directory, name, out);
}

static bool is_numbered_below(const char *name, const char *prefix, const char *suffix, uint64_t below)
{
    char own[NAME_MAX + 1];
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0) return false;
    uint64_t number = strtoull(name + length, NULL, 10);
    put_numbered(prefix, number, suffix, own);
    return number < below && strcmp(name, own) == 0;
}

void cr_directory_sweep_below(const char *directory, const char *prefix, const char *suffix, uint64_t below)
{
    DIR *open = opendir(directory);
    if (!open) return;
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open))
        if (is_numbered_below(entry->d_name, prefix, suffix, below)) unlinkat(dirfd(open), entry->d_name, 0);
    closedir(open);
}

enum cr_status cr_file_refuse_pointer(const char *path, struct cr_slice bytes)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    if (bytes.size < sizeof start - 1 || memcmp(bytes.data, start, sizeof start - 1) != 0) return CR_OK;
    return cr_fail(CR_INVALID, "%s: a Git LFS pointer, not the file itself (git lfs pull fetches it)", path);
}

enum cr_status cr_file_fill_standard(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR}; // so that using it still fails
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            return cr_fail_errno(CR_INTERNAL, "/dev/null");
    return CR_OK;
}

enum cr_status cr_file_look(const char *path)
{
    struct stat stat;
    if (lstat(path, &stat) == 0 || errno == ENOENT || errno == ENOTDIR) return CR_OK;
    return cr_fail_errno(CR_IO, "%s", path);
}

bool cr_file_exists(const char *path)
{
    struct stat stat;
    if (lstat(path, &stat) == 0) return true;
    return errno != ENOENT && errno != ENOTDIR; // opening it will report the error
}

// A name that is too long for the kernel cannot exist. Allocates nothing, so that running out of memory never
// makes an existing file look missing.
bool cr_directory_has(const char *directory, const char *name)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s%s", directory, directory[0] ? "/" : "", name);
    return length >= 0 && (size_t)length < sizeof path && cr_file_exists(path);
}

enum cr_status cr_directory_write(const char *directory, const char *name, struct cr_slice bytes, bool secret)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, name, &path));
    return cr_file_write(path, bytes, secret);
}

// Makes one directory; *made tells whether it is new. A new one is synced before anything is put into it.
static enum cr_status make_one(const char *path, mode_t mode, bool *made)
{
    *made = mkdir(path, mode) == 0;
    if (*made) return cr_path_sync(path);
    return errno == EEXIST ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be made", path);
}

enum cr_status cr_directory_make(const char *path, bool secret)
{
    CR_FREE char *partial = NULL;
    CR_TRY(cr_copy_string(path, &partial));
    mode_t mode = secret ? 0700 : 0755;
    bool made;
    for (char *end = partial; *end; end++) {
        if (*end != '/' || end == partial) continue;
        *end = 0;
        CR_TRY(make_one(partial, mode, &made));
        *end = '/';
    }
    CR_TRY(make_one(partial, mode, &made));
    struct stat stat_buffer;
    if (made) return CR_OK;
    if (stat(path, &stat_buffer) != 0) return cr_fail_errno(CR_IO, "%s", path);
    if (!S_ISDIR(stat_buffer.st_mode)) return cr_fail(CR_IO, "%s: there is a file of that name", path);
    return CR_OK;
}

enum cr_status cr_directory_lock(const char *directory, const char *name, const char *holder, int *fd)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, name, &path));
    CR_CLEANUP(cr_file_close) int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (opened < 0) return cr_fail_errno(CR_IO, "%s", path);
    while (flock(opened, holder ? LOCK_EX | LOCK_NB : LOCK_EX) != 0) {
        if (errno == EINTR) continue;
        if (errno == EWOULDBLOCK) return cr_fail(CR_INVALID, "%s: %s", directory, holder);
        return cr_fail_errno(CR_IO, "%s: cannot be locked", path);
    }
    *fd = opened;
    opened = -1;
    return CR_OK;
}

enum cr_status cr_path_join(const char *directory, const char *name, char **out)
{
    if (name[0] == '/' || directory[0] == 0) return cr_copy_string(name, out);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer path = {0};
    size_t length = strlen(directory);
    CR_TRY(cr_append_format(&path, "%s%s%s", directory, directory[length - 1] == '/' ? "" : "/", name));
    return cr_copy_string(cr_buffer_text(&path), out);
}

enum cr_status cr_path_directory(const char *path, char **out)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return cr_copy_string(".", out);
    if (slash == path) return cr_copy_string("/", out);
    char *directory = strndup(path, (size_t)(slash - path));
    if (!directory) return cr_fail(CR_NO_MEMORY, "out of memory: %zu bytes", (size_t)(slash - path));
    *out = directory;
    return CR_OK;
}
