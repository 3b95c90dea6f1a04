// Read-only mappings of files.
#ifndef CARREL_BASE_MAPPING_H
#define CARREL_BASE_MAPPING_H

#include "base/bytes.h"

// A private read-only mapping of the whole file; an empty file maps to {NULL, 0}.
enum cr_status cr_file_map(const char *path, struct cr_slice *out);
void cr_file_unmap(struct cr_slice *mapping); // usable with CR_CLEANUP

// Gives the memory of part of a mapping back, whole pages of it; whoever reads there again has it read anew.
void cr_file_drop(struct cr_slice part);

// For a process's start: where a mapped file turns out to have been cut off, or its disk fails, the process
// ends with the exit code of CR_IO and "PROGRAM: PATH: ..." on standard error, where it would die of SIGBUS.
// `program` is kept.
enum cr_status cr_file_watch_mappings(const char *program);

#endif
