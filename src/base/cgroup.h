// What the control groups of this process leave it of the machine: a container's limits, or a service's.
// Version 2 and, where it has the controller, version 1, of the process's own group and of all above it that
// can be seen. A file that is missing, or is not what Linux writes, limits nothing.
#ifndef CARREL_BASE_CGROUP_H
#define CARREL_BASE_CGROUP_H

#include <stddef.h>
#include <stdint.h>

// `root` stands before the names of all files: "" but in tests.

// As many processors as the time is of that this process may compute, rounded up; SIZE_MAX: no limit.
size_t cr_cgroup_processors(const char *root);

// Bytes that may still be taken, counting those that the kernel would give back first; UINT64_MAX: no limit.
uint64_t cr_cgroup_memory(const char *root);

#endif
