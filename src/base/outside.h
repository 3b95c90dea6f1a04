// Memory that a trusted process uses but does not trust, for blinded products and for sealed data on its way
// out. In an SGX enclave under Gramine these pages belong to the host and do not occupy enclave memory.
#ifndef CARREL_BASE_OUTSIDE_H
#define CARREL_BASE_OUTSIDE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

// Maps `size` zeroed bytes without a name in the file system at *out; unmap them with munmap. `name` is shown
// in /proc. With memfd_create the kernel seals them, so that nobody can shrink them under the process. Where
// there is no memfd_create, as in Gramine, they come from /dev/shm, which carrel's Gramine manifest mounts as
// untrusted_shm. If `present`, every page is allocated when this returns; else pages are allocated at first
// use. CR_NO_MEMORY if there is no room.
enum cr_status cr_outside_map(const char *name, size_t size, bool present, void *out);

// The same without `present`, to be shared with another process: *fd is the memfd, which the caller closes.
// It is sealed against shrinking and, unless `writable`, against any new writable mapping or write (Linux
// 5.1). CR_NO_MEMORY if there is no room, no memfd_create or no such seal.
enum cr_status cr_outside_share(const char *name, size_t size, bool writable, void *out, int *fd);

#endif
