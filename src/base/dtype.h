// Element types of tensors in files and in kernels.
#ifndef CARREL_BASE_DTYPE_H
#define CARREL_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

enum cr_dtype {
    CR_F32,
    CR_F16,
    CR_BF16,
    CR_I8,
    CR_I32,
    CR_I64,
    // Further types of safetensors; nothing here computes with them.
    CR_BOOL,
    CR_F4,
    CR_F6_E2M3,
    CR_F6_E3M2,
    CR_U8,
    CR_F8_E5M2,
    CR_F8_E4M3,
    CR_F8_E8M0,
    CR_F8_E4M3FNUZ,
    CR_F8_E5M2FNUZ,
    CR_I16,
    CR_U16,
    CR_U32,
    CR_C64,
    CR_F64,
    CR_U64,
    CR_DTYPES // the number of types
};

static inline size_t cr_dtype_bits(enum cr_dtype dtype)
{
    static const size_t bits[] = {
        [CR_F32] = 32,        [CR_F16] = 16,    [CR_BF16] = 16,   [CR_I8] = 8,      [CR_I32] = 32,
        [CR_I64] = 64,        [CR_BOOL] = 8,    [CR_F4] = 4,      [CR_F6_E2M3] = 6, [CR_F6_E3M2] = 6,
        [CR_U8] = 8,          [CR_F8_E5M2] = 8, [CR_F8_E4M3] = 8, [CR_F8_E8M0] = 8, [CR_F8_E4M3FNUZ] = 8,
        [CR_F8_E5M2FNUZ] = 8, [CR_I16] = 16,    [CR_U16] = 16,    [CR_U32] = 32,    [CR_C64] = 64,
        [CR_F64] = 64,        [CR_U64] = 64};
    return bits[dtype];
}

// Bytes of one element, rounded up to whole bytes.
static inline size_t cr_dtype_size(enum cr_dtype dtype)
{
    return (cr_dtype_bits(dtype) + 7) / 8;
}

// Whether weights may have this type.
static inline bool cr_dtype_of_weights(enum cr_dtype dtype)
{
    return dtype == CR_F32 || dtype == CR_F16 || dtype == CR_BF16;
}

// The type's name in safetensors files.
static inline const char *cr_dtype_name(enum cr_dtype dtype)
{
    static const char *const names[] = {
        [CR_F32] = "F32",
        [CR_F16] = "F16",
        [CR_BF16] = "BF16",
        [CR_I8] = "I8",
        [CR_I32] = "I32",
        [CR_I64] = "I64",
        [CR_BOOL] = "BOOL",
        [CR_F4] = "F4",
        [CR_F6_E2M3] = "F6_E2M3",
        [CR_F6_E3M2] = "F6_E3M2",
        [CR_U8] = "U8",
        [CR_F8_E5M2] = "F8_E5M2",
        [CR_F8_E4M3] = "F8_E4M3",
        [CR_F8_E8M0] = "F8_E8M0",
        [CR_F8_E4M3FNUZ] = "F8_E4M3FNUZ",
        [CR_F8_E5M2FNUZ] = "F8_E5M2FNUZ",
        [CR_I16] = "I16",
        [CR_U16] = "U16",
        [CR_U32] = "U32",
        [CR_C64] = "C64",
        [CR_F64] = "F64",
        [CR_U64] = "U64",
    };
    return names[dtype];
}

#endif
