// Files: whole reads with a bound, and writes that are either complete or absent.
#ifndef CARREL_BASE_FILE_H
#define CARREL_BASE_FILE_H

#include "base/bytes.h"

// Appends the whole file to `out` (which the caller releases). A file over `limit` bytes is CR_INVALID.
enum cr_status cr_file_read(const char *path, size_t limit, struct cr_buffer *out);

// Writes to a new file beside `path`, syncs it, and renames it over `path`: a reader, a full disk or a kill
// never meets half a file. The mode is 0600 where `secret`, else 0644 less the umask.
enum cr_status cr_file_write(const char *path, struct cr_slice bytes, bool secret);

// The same of a secret, unless there is a file of that name already: that one stays then, and it is no
// failure. Of processes that do this at once one is first.
enum cr_status cr_file_write_first(const char *path, struct cr_slice bytes);

// As cr_file_write, in pieces. Between begin and commit nothing is visible under `path`; abandon removes the
// piece.
struct cr_file_writer {
    int fd;          // -1 when closed
    char *path;      // the final name
    char *temporary; // the name it is written under
};
enum cr_status cr_file_begin(const char *path, bool secret, struct cr_file_writer *out);
enum cr_status cr_file_append(struct cr_file_writer *writer, struct cr_slice bytes);
enum cr_status cr_file_commit(struct cr_file_writer *writer);
void cr_file_abandon(struct cr_file_writer *writer); // does nothing after commit; usable with CR_CLEANUP

// Whether the name is one that cr_file_begin writes a file of the name `of` under.
bool cr_file_is_unfinished(const char *name, const char *of);

// The same, of a file of whatever name: in a directory whose files are all written so by one process at a
// time.
bool cr_file_is_any_unfinished(const char *name);

// Removes the files of a directory that `unfinished` says yes to, for what processes that were killed while
// they wrote have left: NAME.tmp.NUMBER, beside which NAME is as it was. One that cannot be removed does no
// harm.
void cr_directory_sweep(const char *directory, bool (*unfinished)(const char *name));

// A file of a directory that is called PREFIX, a number, SUFFIX (free *out with free); and the removal of
// those whose number is less than `below`.
enum cr_status cr_path_numbered(const char *directory, const char *prefix, uint64_t number,
                                const char *suffix, char **out);
void cr_directory_sweep_below(const char *directory, const char *prefix, const char *suffix, uint64_t below);

// Syncs the directory that `path` lies in: a name that was given there outlasts a loss of power.
enum cr_status cr_path_sync(const char *path);

// Reading in pieces: opens a regular file (the caller closes) and tells its size; takes the next `size`
// bytes, all of them, and fails with CR_INVALID where the file ends before.
enum cr_status cr_file_open(const char *path, int *fd, size_t *size);
void cr_file_close(int *fd); // does nothing with -1, which it leaves behind; usable with CR_CLEANUP
enum cr_status cr_file_take(int fd, const char *path, void *out, size_t size);

// Part of an open file, from byte `at` on, wherever it was read or written last. *got is less than `size`
// where the file ends before. `path` is for error messages.
enum cr_status cr_file_read_at(int fd, const char *path, uint64_t at, void *out, size_t size, size_t *got);
enum cr_status cr_file_write_at(int fd, const char *path, uint64_t at, struct cr_slice bytes);

// Writes to a file that is there already, all bytes in one call: for files behind which is no disk but
// whatever takes the bytes, a kernel for one.
enum cr_status cr_file_put(const char *path, struct cr_slice bytes);

// CR_INVALID where `bytes`, a file's first ones, are those of a Git LFS pointer: a clone made without git-lfs
// has one in the place of each large file.
enum cr_status cr_file_refuse_pointer(const char *path, struct cr_slice bytes);

// For a process's start: where standard input, output or error is closed, something is put in its place, so
// that no file opened later is taken for it. Reading the first and writing the second fail as before.
enum cr_status cr_file_fill_standard(void);

// True as well of a link to what is not there, and where nobody can tell: a directory on the way may not be
// looked into, or a disk fails. What is not known to be missing must not be gone on without.
bool cr_file_exists(const char *path);
bool cr_directory_has(const char *directory, const char *name); // a file, or whatever, of that name

// cr_file_write of that name in the directory.
enum cr_status cr_directory_write(const char *directory, const char *name, struct cr_slice bytes,
                                  bool secret);

// CR_IO, and why, where nobody can tell: for whoever would say that something is there and open nothing.
enum cr_status cr_file_look(const char *path);

// Makes the directory and its parents (mode 0700 where `secret`, else 0755); one that is there already is
// fine.
enum cr_status cr_directory_make(const char *path, bool secret);

// Holds the lock of the file directory/name, which is made where it is not there (mode 0600), until the
// caller closes *fd. Where another process has it: waits, or, where `holder` is not NULL, fails with
// CR_INVALID and says "directory: holder".
enum cr_status cr_directory_lock(const char *directory, const char *name, const char *holder, int *fd);

// Sets *out to "directory/name" (name alone where it is absolute or directory is ""); free with free.
enum cr_status cr_path_join(const char *directory, const char *name, char **out);

// Sets *out to the directory part of `path` ("." where there is none); free with free.
enum cr_status cr_path_directory(const char *path, char **out);

#endif
