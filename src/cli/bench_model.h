// Makes a model of a given shape with random weights, and text for it, in a temporary directory. The
// benchmarks of whole steps open it as they would a user's model.
#ifndef CARREL_CLI_BENCH_MODEL_H
#define CARREL_CLI_BENCH_MODEL_H

#include "base/dtype.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

struct cr_bench_shape {
    bool gpt2; // else llama
    size_t layers, hidden, heads, intermediate, vocabulary, context;
};

// Operations in the matrix products of a step, per token: two forward and two backward for each parameter of
// the linears and the head (not the embedding), and those of attention over half of `context` keys on
// average, where scores are computed only once.
double cr_bench_operations(const struct cr_bench_shape *shape);

// Writes config.json, model.safetensors (`dtype`), tokenizer.json and train.jsonl (`rows` texts of more than
// `context` tokens) into a new directory of bench_directory.h.
enum cr_status cr_bench_model_make(const struct cr_bench_shape *shape, enum cr_dtype dtype, size_t rows,
                                   char **directory);

#endif
