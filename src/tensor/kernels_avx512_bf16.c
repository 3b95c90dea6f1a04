#include "tensor/vector_avx512.h"

#include "tensor/kernels.inc"
