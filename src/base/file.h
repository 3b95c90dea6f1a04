// Files: bounded reads of whole files, and atomic writes: a file is either complete or absent.
#ifndef CARREL_BASE_FILE_H
#define CARREL_BASE_FILE_H

#include "base/bytes.h"

// Appends the whole file to `out`, which the caller releases. A file of more than `limit` bytes is
// CR_INVALID.
enum cr_status cr_file_read(const char *path, size_t limit, struct cr_buffer *out);

// Writes a new file beside `path`, syncs it, and renames it to `path`, so that neither a full disk nor a kill
// leaves half a file, and no reader sees one. The mode is 0600 if `secret`, else 0644 less the umask.
enum cr_status cr_file_write(const char *path, struct cr_slice bytes, bool secret);

// The same for a secret, unless a file of that name exists: then that file is kept, and the call still
// returns CR_OK. If several processes call this at the same time, exactly one file wins.
enum cr_status cr_file_write_first(const char *path, struct cr_slice bytes);

// The same for what is no secret, but CR_INVALID if a file of that name exists.
enum cr_status cr_file_write_new(const char *path, struct cr_slice bytes);

// As cr_file_write, in pieces. Nothing is visible under `path` before commit; abandon removes the temporary
// file.
struct cr_file_writer {
    int fd;          // -1 once closed
    char *path;      // the final name
    char *temporary; // the name while it is being written
};
enum cr_status cr_file_begin(const char *path, bool secret, struct cr_file_writer *out);
enum cr_status cr_file_append(struct cr_file_writer *writer, struct cr_slice bytes);
enum cr_status cr_file_commit(struct cr_file_writer *writer);
void cr_file_abandon(struct cr_file_writer *writer); // does nothing after commit; usable with CR_CLEANUP

// Whether `name` is a temporary name that cr_file_begin gives to a file that is to be called `of`.
bool cr_file_is_unfinished(const char *name, const char *of);

// The same for a file of any name; for directories in which one process at a time writes, and writes all
// files this way.
bool cr_file_is_any_unfinished(const char *name);

// Removes the files of a directory for which `unfinished` returns true: temporary files (NAME.tmp.NUMBER)
// left by processes that were killed while writing. Files that cannot be removed are ignored.
void cr_directory_sweep(const char *directory, bool (*unfinished)(const char *name));

// Sets *out to the path of the file PREFIX NUMBER SUFFIX in a directory (free it with free); and removes the
// files of that form whose number is less than `below`.
enum cr_status cr_path_numbered(const char *directory, const char *prefix, uint64_t number,
                                const char *suffix, char **out);
void cr_directory_sweep_below(const char *directory, const char *prefix, const char *suffix, uint64_t below);

// Syncs the directory of `path`, so that a name created there survives a loss of power.
enum cr_status cr_path_sync(const char *path);

// Reading in pieces. open opens a regular file, which the caller closes, and sets *size to its size. take
// reads the next `size` bytes, and fails with CR_INVALID if the file ends before that.
enum cr_status cr_file_open(const char *path, int *fd, size_t *size);
void cr_file_close(int *fd); // sets *fd to -1; does nothing if it is -1; usable with CR_CLEANUP
enum cr_status cr_file_take(int fd, const char *path, void *out, size_t size);

// Reads or writes part of an open file, from byte `at`, without using the file's position. *got is less than
// `size` only at the end of the file. `path` is for error messages.
enum cr_status cr_file_read_at(int fd, const char *path, uint64_t at, void *out, size_t size, size_t *got);
enum cr_status cr_file_write_at(int fd, const char *path, uint64_t at, struct cr_slice bytes);

// Writes all bytes to an existing file in a single system call; for special files, such as those by which the
// kernel takes requests.
enum cr_status cr_file_put(const char *path, struct cr_slice bytes);

// CR_INVALID if `bytes`, the start of a file, are those of a Git LFS pointer: a clone made without git-lfs
// has such pointers in place of large files.
enum cr_status cr_file_refuse_pointer(const char *path, struct cr_slice bytes);

// To be called at the start of a process: opens a substitute for standard input, output or error if one of
// them is closed, so that no file opened later gets its descriptor. Reading from or writing to the substitute
// fails as before.
enum cr_status cr_file_fill_standard(void);

// Whether a file, or anything else, of that name exists. Also true for a dangling link, and where it cannot
// be known because a directory may not be searched or a disk fails: callers must not treat what may exist as
// missing.
bool cr_file_exists(const char *path);
bool cr_directory_has(const char *directory, const char *name);

// cr_file_write to directory/name.
enum cr_status cr_directory_write(const char *directory, const char *name, struct cr_slice bytes,
                                  bool secret);

// CR_IO, with the reason, if it cannot be known whether `path` exists; for callers of cr_file_exists that
// will not open the file and so would not meet the error.
enum cr_status cr_file_look(const char *path);

// Makes the directory and its missing parents (mode 0700 if `secret`, else 0755). It may exist already.
enum cr_status cr_directory_make(const char *path, bool secret);

// Locks the file directory/name, which is created if missing (mode 0600), until the caller closes *fd. If
// another process holds the lock: waits or, if `holder` is not NULL, fails with CR_INVALID and the message
// "directory: holder".
enum cr_status cr_directory_lock(const char *directory, const char *name, const char *holder, int *fd);

// Sets *out to "directory/name" (to `name` alone if it is absolute or `directory` is ""); free with free.
enum cr_status cr_path_join(const char *directory, const char *name, char **out);

// Sets *out to the directory part of `path` ("." if it has none); free with free.
enum cr_status cr_path_directory(const char *path, char **out);

#endif
