// The temporary directory of a benchmark.
#ifndef CARREL_CLI_BENCH_DIRECTORY_H
#define CARREL_CLI_BENCH_DIRECTORY_H

#include "base/status.h"

// Makes a new one under $TMPDIR or /tmp; free *directory with free.
enum cr_status cr_bench_directory_make(char **directory);

// Removes it with its content; NULL is allowed.
void cr_bench_directory_remove(const char *directory);

#endif
