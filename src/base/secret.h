// Memory for secrets: keys, pads, tuned values and the optimiser's state.
//
// A block lies in pages of its own, which are never swapped, dumped or inherited by a forked child, between
// two guard pages: a write past its end (rounded up to 64 bytes) ends the process. Where the kernel has
// memfd_secret (5.14; on by default since 6.5; within RLIMIT_FSIZE) the pages are not in the kernel's own
// address space either, so that not even root can read them, through /proc/PID/mem or otherwise. Elsewhere
// they are locked; if RLIMIT_MEMLOCK forbids that too, they are plain pages, which cr_secret_usage reports.
//
// A block takes whole pages and several system calls, so use this for what is long-lived or large.
#ifndef CARREL_BASE_SECRET_H
#define CARREL_BASE_SECRET_H

#include "base/memory.h"

// Sets *out to `count` zeroed elements of `size` bytes, aligned to CR_ALIGNMENT; free only with
// cr_secret_free. count 0 gives a valid block.
enum cr_status cr_secret_allocate(size_t count, size_t size, void *out);

// As cr_arena_commit, but in secret memory; free it with cr_secret_free(&arena->base).
enum cr_status cr_secret_arena_commit(struct cr_arena *arena);

// Wipes and frees *block (NULL is allowed) and sets it to NULL; for CR_CLEANUP.
void cr_secret_free(void *block);

// The same, but the pages are kept for the next block of the same size; for blocks that come and go often.
// (The kernel removes each hidden page from its own mappings one by one, which takes seconds of CPU time per
// GiB.)
void cr_secret_keep(void *block);

enum cr_secret_kind { CR_SECRET_HIDDEN, CR_SECRET_LOCKED, CR_SECRET_PLAIN, CR_SECRET_KINDS };

// Bytes, in whole pages, that this process holds of each kind, including kept pages.
void cr_secret_usage(size_t bytes[CR_SECRET_KINDS]);

#endif
