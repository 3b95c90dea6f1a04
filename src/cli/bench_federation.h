// For `carrel bench`: how fast a server averages the updates of many silos.
#ifndef CARREL_CLI_BENCH_FEDERATION_H
#define CARREL_CLI_BENCH_FEDERATION_H

#include "base/status.h"

#include <stddef.h>

enum { CR_BENCH_SILOS = 64, CR_BENCH_VALUES = 50000000 };

// *rate: bytes of updates per second that cr_aggregate receives, checks and adds, from memory: the updates of
// CR_BENCH_SILOS silos, on `threads` threads.
enum cr_status cr_bench_fold(size_t threads, double *rate);

// Runs a server in this process and CR_BENCH_SILOS silos on another thread of it, each with CR_BENCH_VALUES
// values, over TLS on the loopback interface. *rate: bytes of updates per second from the last silo's answer
// until the next values are stored. CR_INTERNAL if the mean is wrong.
enum cr_status cr_bench_federation(size_t threads, double *rate);

#endif
