// Shared by the files of `carrel bench`.
#ifndef CARREL_CLI_BENCH_H
#define CARREL_CLI_BENCH_H

#include "cli/bench_model.h"
#include "cli/bench_row.h"

#include "tensor/compute.h"

enum { CR_BENCH_MOST_ROWS = 32, CR_BENCH_MOST_SAMPLES = 64 };

struct cr_bench {
    size_t threads;
    size_t repeats; // samples of each figure, of which the median is reported
    struct cr_bench_row rows[CR_BENCH_MOST_ROWS];
    size_t count;
};

enum cr_bench_step_kind {
    CR_BENCH_PLAIN,  // as in `tune` without slicing
    CR_BENCH_8BIT,   // the same with int8 matrices, all in the trusted process
    CR_BENCH_SLICED, // with slicing; pads are made during the step
    CR_BENCH_ONLINE, // with slicing; pads are made before the step
    CR_BENCH_PEER,   // with slicing; a second accelerator makes pads during the step
};

struct cr_benchmark {
    const char *name;
    enum cr_status (*run)(struct cr_bench *bench, const struct cr_benchmark *self);
    enum cr_dtype dtype; // of the product or of the checkpoint
    // For benchmarks of a step:
    const struct cr_bench_shape *shape;
    size_t batch;
    enum cr_bench_step_kind kind;
    size_t digits;     // with slicing
    bool last_quarter; // LoRA only in the last quarter of the layers
};

// Measures a step and adds its row: bench_step.c.
enum cr_status cr_bench_step(struct cr_bench *bench, const struct cr_benchmark *self);

extern const struct cr_bench_shape cr_bench_llama, cr_bench_llama_long, cr_bench_gpt2;

double cr_bench_median(double *samples, size_t count); // sorts them
void cr_bench_add(struct cr_bench *bench, struct cr_bench_row row);

// The peak of resident memory since the last reset, in bytes; 0 if the kernel does not report it.
double cr_bench_peak_memory(void);
void cr_bench_reset_peak_memory(void);

// Operations per second of one large product, the median of several.
enum cr_status cr_bench_product_rate(struct cr_compute *compute, enum cr_dtype dtype, size_t repeats,
                                     double *rate);

#endif
