// What the fuzzers share.
#ifndef CARREL_FUZZ_SUPPORT_H
#define CARREL_FUZZ_SUPPORT_H

#include <stdbool.h>
#include <stdlib.h>

// What must be so, whatever the bytes.
static inline void check(bool good)
{
    if (!good) abort();
}

#endif
