#include "tensor/vector_avx2.h"

#include "tensor/kernels.inc"
