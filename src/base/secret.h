// Memory for secrets: keys, pads, tuned values and what an optimiser remembers of them.
//
// A block lies in pages of its own, which no swap file, core dump or forked child gets, between two pages
// that nobody may touch: a write past its end (rounded up to 64 bytes) ends the process. Where the kernel has
// memfd_secret (5.14; on by default since 6.5; RLIMIT_FSIZE permitting) the kernel itself has no address for
// them either, so that /proc/PID/mem and the like cannot read them, not even for root. Where it has not, they
// are locked; where RLIMIT_MEMLOCK forbids that too, they are plain pages, and cr_secret_usage tells so.
//
// A block takes whole pages and some system calls: this is for what lives long or is large.
#ifndef CARREL_BASE_SECRET_H
#define CARREL_BASE_SECRET_H

#include "base/memory.h"

// Sets *out to `count` zeroed elements of `size` bytes, aligned to CR_ALIGNMENT; free with cr_secret_free
// alone. count 0 gives a valid block.
enum cr_status cr_secret_allocate(size_t count, size_t size, void *out);

// The same as cr_arena_commit, in such memory; cr_secret_free(&arena->base) frees it.
enum cr_status cr_secret_arena_commit(struct cr_arena *arena);

// Wipes and frees *block (NULL is allowed) and sets it to NULL; for CR_CLEANUP.
void cr_secret_free(void *block);

// The same, but the pages are kept for the next block of this size, for what comes again and again: the
// kernel takes hidden pages out of its reach one by one, which is seconds of a processor for each GiB.
void cr_secret_keep(void *block);

enum cr_secret_kind { CR_SECRET_HIDDEN, CR_SECRET_LOCKED, CR_SECRET_PLAIN, CR_SECRET_KINDS };

// Bytes, in whole pages, that this process holds of each kind now, those that are kept among them.
void cr_secret_usage(size_t bytes[CR_SECRET_KINDS]);

#endif
