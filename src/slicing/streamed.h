// Computes the first layers of a model in the trusted process, which holds no matrices: each matrix is read
// from the checkpoint when the forward pass needs it, and verified to be the same as at the start of the run.
// Slow, and for one sequence at a time; used to check others' results.
#ifndef CARREL_SLICING_STREAMED_H
#define CARREL_SLICING_STREAMED_H

#include "slicing/facts.h"

struct cr_streamed;

// Layers [0, layers) of `model` (opened with CR_MODEL_OUTSIDE), for sequences of at most `rows` tokens. The
// arithmetic is float32, with linears computed like masked products (model/exact.h), whatever dtype the model
// has. model, facts and field are borrowed.
enum cr_status cr_streamed_new(const struct cr_model *model, const struct cr_facts *facts,
                               struct cr_field *field, size_t layers, size_t rows, struct cr_streamed **out);
void cr_streamed_free(struct cr_streamed *streamed);                                    // NULL is allowed
size_t cr_streamed_memory_of(const struct cr_model *model, size_t layers, size_t rows); // bytes

// Sets *stream to the residual stream after those layers, [count, d] F32, valid until the next call. Fails
// with CR_DENIED if the checkpoint has changed since the start.
enum cr_status cr_streamed_walk(struct cr_streamed *streamed, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream);

#endif
