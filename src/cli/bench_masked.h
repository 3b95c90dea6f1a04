// Compares a masked product with the fp32 product of the same shape.
#ifndef CARREL_CLI_BENCH_MASKED_H
#define CARREL_CLI_BENCH_MASKED_H

#include "base/status.h"

#include <stddef.h>

enum { CR_BENCH_MASKED_ROWS = 512, CR_BENCH_MASKED_DEPTH = 1024, CR_BENCH_MASKED_COLUMNS = 2048 };

// Operations per second, both counted as those of the plain product: of the product modulo p (digits split,
// multiplied and combined) and of the fp32 product, measured alternately.
enum cr_status cr_bench_masked(size_t threads, double *masked, double *plain);

#endif
