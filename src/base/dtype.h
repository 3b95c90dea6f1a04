// Element types, as files name them and kernels compute with them.
#ifndef CARREL_BASE_DTYPE_H
#define CARREL_BASE_DTYPE_H

#include <stddef.h>

enum cr_dtype { CR_F32, CR_F16, CR_BF16, CR_I8, CR_I32, CR_I64 };

static inline size_t cr_dtype_size(enum cr_dtype dtype)
{
    static const size_t sizes[] = {
        [CR_F32] = 4, [CR_F16] = 2, [CR_BF16] = 2, [CR_I8] = 1, [CR_I32] = 4, [CR_I64] = 8};
    return sizes[dtype];
}

#endif
