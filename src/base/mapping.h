// Read-only mappings of files.
#ifndef CARREL_BASE_MAPPING_H
#define CARREL_BASE_MAPPING_H

#include "base/bytes.h"

// A private read-only mapping of the whole file; an empty file maps to {NULL, 0}.
enum cr_status cr_file_map(const char *path, struct cr_slice *out);
void cr_file_unmap(struct cr_slice *mapping); // usable with CR_CLEANUP

// Releases the whole pages within part of a mapping; a later access reads them from the file again.
void cr_file_drop(struct cr_slice part);

// To be called at the start of a process: if a mapped file turns out to be truncated, or its disk fails, the
// process prints "PROGRAM: PATH: ..." to standard error and ends with the exit code of CR_IO, instead of
// dying of SIGBUS. `program` must stay valid.
enum cr_status cr_file_watch_mappings(const char *program);

#endif
