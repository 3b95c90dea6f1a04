// Limits that control groups set for this process, such as those of a container or a service. Reads cgroup
// version 2 and, where a controller is there, version 1, for the process's own group and every visible group
// above it. A file that is missing, or does not have Linux's format, sets no limit.
#ifndef CARREL_BASE_CGROUP_H
#define CARREL_BASE_CGROUP_H

#include <stddef.h>
#include <stdint.h>

// `root` is put in front of every file name: "" except in tests.

// The number of processors whose time this process may use (its CPU quota), rounded up; SIZE_MAX: no limit.
size_t cr_cgroup_processors(const char *root);

// Bytes that this process may still allocate, including memory that the kernel would reclaim first;
// UINT64_MAX: no limit.
uint64_t cr_cgroup_memory(const char *root);

#endif
