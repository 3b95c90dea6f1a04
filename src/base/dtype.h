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

// As safetensors files write it.
static inline const char *cr_dtype_name(enum cr_dtype dtype)
{
    static const char *const names[] = {[CR_F32] = "F32", [CR_F16] = "F16", [CR_BF16] = "BF16",
                                        [CR_I8] = "I8",   [CR_I32] = "I32", [CR_I64] = "I64"};
    return names[dtype];
}

#endif
