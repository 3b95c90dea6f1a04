// Room on a disk for what this process alone uses and no other process outlives: a file that has lost its
// name. Whoever owns the machine can still reach it: what comes back is for the reader to verify.
#ifndef CARREL_BASE_SCRATCH_H
#define CARREL_BASE_SCRATCH_H

#include "base/status.h"

#include <stddef.h>

struct cr_scratch;

// `size` bytes, at least 1, of mode 0600; `path` is a name for a moment, in whose place nothing else may be.
// Their space is taken now, so that none is missing later: CR_IO where there is too little.
enum cr_status cr_scratch_open(const char *path, size_t size, struct cr_scratch **out);
void cr_scratch_close(struct cr_scratch *scratch); // gives the space back; NULL is allowed

enum cr_status cr_scratch_write(struct cr_scratch *scratch, size_t at, const void *bytes, size_t size);
enum cr_status cr_scratch_read(const struct cr_scratch *scratch, size_t at, void *bytes, size_t size);

#endif
