// Memory outside of a trusted process: pages that are kept for it and that it does not trust, such as
// products under pads and what is sealed on its way. In an SGX enclave that Gramine runs they are the host's,
// and cost the enclave nothing.
#ifndef CARREL_BASE_OUTSIDE_H
#define CARREL_BASE_OUTSIDE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

// Sets *out to `size` zeroed bytes that no file's name leads to; unmap them with munmap. They cannot be
// shrunk under the process where the kernel has memfd_create. Where it has not, as Gramine's has not, they
// come from /dev/shm, which its manifest mounts as untrusted_shm. `name` stands in /proc. With `present` each
// page is there when this returns; else only those that are used ever are. CR_NO_MEMORY where there is no
// room.
enum cr_status cr_outside_map(const char *name, size_t size, bool present, void *out);

// The same, absent pages, for another process as well: *fd is a memfd of it, sealed against shrinking and,
// unless others may write there, against whoever maps it from now on for more than reading (Linux 5.1); close
// it. CR_NO_MEMORY where there is no room, no memfd_create or no such seal.
enum cr_status cr_outside_share(const char *name, size_t size, bool writable, void *out, int *fd);

#endif
