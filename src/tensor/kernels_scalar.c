#include "tensor/vector_scalar.h"

#include "tensor/kernels.inc"
