// The first layers of a model, computed by the trusted process itself although it has no matrices: each is
// read from the checkpoint when the walk comes to it, and found to be what it was when the run began. Slow,
// and for one sequence at a time: to look whether others computed right.
#ifndef CARREL_SLICING_STREAMED_H
#define CARREL_SLICING_STREAMED_H

#include "slicing/facts.h"

struct cr_streamed;

// Layers [0, layers) of `model` (of CR_MODEL_OUTSIDE), over at most `rows` tokens. The arithmetic is
// float32 and that of masked products (model/exact.h), whatever type the model computes in. All three are
// borrowed.
enum cr_status cr_streamed_new(const struct cr_model *model, const struct cr_facts *facts,
                               struct cr_field *field, size_t layers, size_t rows, struct cr_streamed **out);
void cr_streamed_free(struct cr_streamed *streamed);                                    // NULL is allowed
size_t cr_streamed_memory_of(const struct cr_model *model, size_t layers, size_t rows); // bytes

// Sets *stream to the residual stream after those layers, [count, d] F32, which lasts until the next walk. A
// checkpoint that no longer is what it was is CR_DENIED.
enum cr_status cr_streamed_walk(struct cr_streamed *streamed, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream);

#endif
