// The result of a benchmark, and its output.
#ifndef CARREL_CLI_BENCH_ROW_H
#define CARREL_CLI_BENCH_ROW_H

#include "base/status.h"

#include <stddef.h>

struct cr_bench_row {
    const char *name;
    double figure; // higher is better
    const char *unit;
    double limit;       // the machine's limit, in the same unit; 0: unknown
    double peak_memory; // bytes; 0: not measured
    char note[160];
};

enum cr_status cr_bench_print_row(const struct cr_bench_row *row); // one line

// Prints all rows as one JSON object.
enum cr_status cr_bench_print_json(size_t threads, const struct cr_bench_row *rows, size_t count);

#endif
