// Temporary space on a disk for this process alone: a file that is unlinked once it is open, so that it goes
// with the process. The machine's owner can still reach it, so readers must verify what they read back.
#ifndef CARREL_BASE_SCRATCH_H
#define CARREL_BASE_SCRATCH_H

#include "base/status.h"

#include <stddef.h>

struct cr_scratch;

// Creates a file of `size` bytes, at least 1, with mode 0600. `path` is its name until it is unlinked, before
// this returns; anything else of that name would be lost. All of the space is allocated now, so that it
// cannot run out later: CR_IO if there is too little.
enum cr_status cr_scratch_open(const char *path, size_t size, struct cr_scratch **out);
void cr_scratch_close(struct cr_scratch *scratch); // frees the space; NULL is allowed

enum cr_status cr_scratch_write(struct cr_scratch *scratch, size_t at, const void *bytes, size_t size);
enum cr_status cr_scratch_read(const struct cr_scratch *scratch, size_t at, void *bytes, size_t size);

#endif
