// carrel bench: how fast the parts run here, each beside the limit that the machine itself sets, measured in
// the same run.
#include "cli/bench_federation.h"
#include "cli/bench_masked.h"
#include "cli/bench_model.h"
#include "cli/bench_row.h"
#include "cli/bench_secure.h"
#include "cli/command.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/parse.h"
#include "crypto/random.h"
#include "tensor/matmul.h"
#include "text/tokenizer.h"
#include "text/trainer.h"
#include "tuning/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 16, MOST_SAMPLES = 64 };

struct bench {
    size_t threads;
    size_t repeats; // samples of each figure; the median counts
    struct cr_bench_row rows[MOST_ROWS];
    size_t count;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, compare_doubles);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

static void add_row(struct bench *bench, struct cr_bench_row row)
{
    if (bench->count < MOST_ROWS) bench->rows[bench->count++] = row;
}

// The peak of resident memory since the last reset, in bytes; 0 where the kernel does not tell.
static double peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) return 0;
    char line[256];
    unsigned long kilobytes = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lu kB", &kilobytes) == 1) break;
    fclose(file);
    return 1024.0 * (double)kilobytes;
}

static void reset_peak_memory(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

// Operations per second of one large product, the median of several.
static enum cr_status measure_product(struct cr_compute *compute, enum cr_dtype dtype, size_t repeats,
                                      double *rate)
{
    enum { M = 1024, N = 2048, K = 1024, PER_SAMPLE = 16 };
    CR_FREE unsigned char *a = NULL;
    CR_FREE unsigned char *b = NULL;
    CR_FREE unsigned char *c = NULL;
    size_t size = cr_dtype_size(dtype);
    CR_TRY(cr_allocate((size_t)M * K, size, &a));
    CR_TRY(cr_allocate((size_t)N * K, size, &b));
    CR_TRY(cr_allocate((size_t)M * N, size, &c));
    memset(a, 0x3c, (size_t)M * K * size); // small and finite in both types
    memset(b, 0x3c, (size_t)N * K * size);
    struct cr_matrix ma = cr_matrix_of(a, dtype, M, K), mb = cr_matrix_of(b, dtype, N, K),
                     mc = cr_matrix_of(c, dtype, M, N);
    double samples[MOST_SAMPLES];
    CR_TRY(cr_matmul(compute, CR_NT, ma, mb, mc, false));
    for (size_t s = 0; s < repeats; s++) {
        double begin = cr_clock_monotonic();
        for (int i = 0; i < PER_SAMPLE; i++) CR_TRY(cr_matmul(compute, CR_NT, ma, mb, mc, false));
        samples[s] = 2.0 * M * N * K * PER_SAMPLE / (cr_clock_monotonic() - begin);
    }
    *rate = median(samples, repeats);
    return CR_OK;
}

struct benchmark {
    const char *name;
    enum cr_status (*run)(struct bench *bench, const struct benchmark *self);
    enum cr_dtype dtype;
    const struct cr_bench_shape *shape; // of a step
    size_t batch;
    size_t digits; // of a step with slicing; 0: without
};

static enum cr_status bench_product(struct bench *bench, const struct benchmark *self)
{
    enum cr_dtype dtype = self->dtype;
    struct cr_compute *compute;
    CR_TRY(cr_compute_new(bench->threads, &compute));
    double rate = 0;
    enum cr_status status = CR_OK;
    if (dtype == CR_F32 || cr_compute_has_bf16(compute))
        status = measure_product(compute, dtype, bench->repeats + 2, &rate);
    else
        status = cr_fail(CR_UNSUPPORTED, "%s: this processor has no bf16 products", self->name);
    cr_compute_free(compute);
    CR_TRY(status);
    add_row(bench, (struct cr_bench_row){.name = self->name,
                                         .figure = rate / 1e9,
                                         .unit = "GFLOP/s",
                                         .note = "1024 x 2048 x 1024, weights as checkpoints store them"});
    return CR_OK;
}

static enum cr_status bench_masked(struct bench *bench, const struct benchmark *self)
{
    double masked[MOST_SAMPLES], plain[MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats; s++)
        CR_TRY(cr_bench_masked(bench->threads, &masked[s], &plain[s]));
    struct cr_bench_row row = {.name = self->name,
                               .figure = median(masked, bench->repeats) / 1e9,
                               .unit = "GFLOP/s",
                               .limit = median(plain, bench->repeats) / 1e9};
    snprintf(row.note, sizeof row.note,
             "%d x %d x %d mod 2^31 - 1, digits split and combined; limit: float32", CR_BENCH_MASKED_ROWS,
             CR_BENCH_MASKED_COLUMNS, CR_BENCH_MASKED_DEPTH);
    add_row(bench, row);
    return CR_OK;
}

// LoRA r = 8 on q and v: the shape that the project's figures are given for, the same with one long sequence,
// and GPT-2's smallest.
static const struct cr_bench_shape llama_shape = {
    .layers = 12, .hidden = 1024, .heads = 16, .intermediate = 2816, .vocabulary = 32000, .context = 256};
static const struct cr_bench_shape long_shape = {
    .layers = 12, .hidden = 1024, .heads = 16, .intermediate = 2816, .vocabulary = 32000, .context = 2048};
static const struct cr_bench_shape gpt2_shape = {.gpt2 = true,
                                                 .layers = 12,
                                                 .hidden = 768,
                                                 .heads = 12,
                                                 .intermediate = 3072,
                                                 .vocabulary = 50257,
                                                 .context = 256};

// Steps and products in turn, so that what else the machine does falls on both.
static enum cr_status run_steps(struct bench *bench, const struct benchmark *self,
                                const struct cr_tuning_config *config, struct cr_compute *compute,
                                struct cr_bench_row *row)
{
    double rates[MOST_SAMPLES], samples[MOST_SAMPLES];
    CR_TRY(measure_product(compute, self->dtype, 1, &rates[0]));
    reset_peak_memory();
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(config, compute, NULL, &trainer));
    struct cr_tally tally = {0};
    enum cr_status status =
        cr_trainer_run(trainer, 1, &tally, NULL, NULL); // warm: every page has been touched
    for (size_t s = 0; s < bench->repeats && status == CR_OK; s++) {
        status = measure_product(compute, self->dtype, 1, &rates[s]);
        if (status != CR_OK) break;
        size_t tokens = tally.tokens;
        double begin = cr_clock_monotonic();
        status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
        samples[s] = (double)(tally.tokens - tokens) / (cr_clock_monotonic() - begin);
    }
    row->peak_memory = peak_memory();
    cr_trainer_free(trainer);
    CR_TRY(status);
    row->figure = median(samples, bench->repeats);
    row->limit = median(rates, bench->repeats) / cr_bench_operations(self->shape);
    return CR_OK;
}

static enum cr_status run_secure(struct bench *bench, const struct benchmark *self,
                                 const struct cr_tuning_config *config, char *address,
                                 struct cr_compute *compute, struct cr_bench_row *row)
{
    double secure[MOST_SAMPLES], plain[MOST_SAMPLES];
    CR_TRY(cr_bench_secure(config, address, self->digits, compute, bench->repeats, secure, plain));
    row->figure = median(secure, bench->repeats);
    row->limit = median(plain, bench->repeats);
    snprintf(
        row->note, sizeof row->note,
        "tune-step's shape, %zu digits, accelerator and pads on the same %zu processors; limit: tune-step",
        self->digits, bench->threads);
    return CR_OK;
}

static enum cr_status bench_step(struct bench *bench, const struct benchmark *self)
{
    const struct cr_bench_shape *shape = self->shape;
    enum cr_dtype dtype = self->dtype;
    struct cr_compute *compute = NULL;
    struct cr_child accelerator = CR_CHILD_NONE;
    char address[CR_BENCH_ADDRESS_SIZE];
    char *directory = NULL;
    char *data = NULL;
    enum cr_status status = cr_bench_model_make(shape, dtype, self->batch * (bench->repeats + 1), &directory);
    if (status == CR_OK) status = cr_path_join(directory, "train.jsonl", &data);
    if (status == CR_OK && self->digits > 0)
        status = cr_bench_hire(directory, bench->threads, address, &accelerator);
    if (status == CR_OK) status = cr_compute_new(bench->threads, &compute);
    if (status == CR_OK && dtype == CR_BF16 && !cr_compute_has_bf16(compute))
        status = cr_fail(CR_UNSUPPORTED, "%s: this processor has no bf16 products", self->name);
    if (status == CR_OK) {
        char *modules[] = {shape->gpt2 ? (char[]){"c_attn"} : (char[]){"q_proj"}, (char[]){"v_proj"}};
        struct cr_tuning_config config = {
            .model_name_or_path = directory,
            .dtype = dtype == CR_BF16 ? CR_COMPUTE_BFLOAT16 : CR_COMPUTE_FLOAT32,
            .seed = 1,
            .threads = bench->threads,
            .method = CR_METHOD_LORA,
            .data = {.train = data, .max_length = shape->context},
            .lora = {.r = 8, .lora_alpha = 16, .target_modules = {modules, shape->gpt2 ? 1 : 2}},
            .training = {.optim = CR_OPTIMIZER_ADAMW,
                         .learning_rate = 1e-4,
                         .adam_beta1 = 0.9,
                         .adam_beta2 = 0.999,
                         .adam_epsilon = 1e-8,
                         .lr_scheduler_type = CR_SCHEDULE_CONSTANT,
                         .max_steps = bench->repeats + 1,
                         .per_device_train_batch_size = self->batch,
                         .gradient_accumulation_steps = 1,
                         .logging_steps = 1},
        };
        struct cr_bench_row row = {.name = self->name, .unit = "tokens/s"};
        snprintf(row.note, sizeof row.note, "%s d=%zu L=%zu ff=%zu V=%zu, B=%zu T=%zu, LoRA r=8 on %s",
                 shape->gpt2 ? "gpt2" : "llama", shape->hidden, shape->layers, shape->intermediate,
                 shape->vocabulary, self->batch, shape->context, shape->gpt2 ? "q, k and v" : "q and v");
        status = self->digits > 0 ? run_secure(bench, self, &config, address, compute, &row)
                                  : run_steps(bench, self, &config, compute, &row);
        if (status == CR_OK) add_row(bench, row);
    }
    cr_compute_free(compute);
    cr_child_stop(&accelerator);
    cr_child_release(&accelerator);
    free(data);
    cr_bench_model_remove(directory);
    free(directory);
    return status;
}

// Encoding of ordinary text by a byte-level tokenizer of 1,024 tokens.
static enum cr_status bench_encode(struct bench *bench, const struct benchmark *self)
{
    static const char *const words[] = {"the",   "patient", "has",    "a",       "fever", "and",
                                        "was",   "given",   "two",    "tablets", "after", "lunch",
                                        "nurse", "called",  "doctor", "at",      "night"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    struct cr_stream *stream;
    CR_TRY(cr_stream_new(3, "bench words", &stream));
    enum cr_status status = CR_OK;
    while (text.size < 1000000 && status == CR_OK)
        status = cr_append_format(&text, "%s ", words[cr_stream_below(stream, sizeof words / sizeof *words)]);
    cr_stream_free(stream);
    CR_TRY(status);
    struct cr_slice slice = cr_buffer_slice(&text);
    const struct cr_bpe_options options = {.vocabulary = 1024};
    CR_TRY(cr_bpe_train(&slice, 1, &options, &json));
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_parse(cr_buffer_slice(&json), self->name, &tokenizer));
    double samples[MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats && status == CR_OK; s++) {
        struct cr_ids ids = {0};
        double begin = cr_clock_monotonic();
        status = cr_tokenizer_encode(tokenizer, slice, false, &ids);
        samples[s] = (double)slice.size / 1e6 / (cr_clock_monotonic() - begin);
        cr_ids_release(&ids);
    }
    cr_tokenizer_free(tokenizer);
    CR_TRY(status);
    add_row(bench, (struct cr_bench_row){.name = self->name,
                                         .figure = median(samples, bench->repeats),
                                         .unit = "MB/s",
                                         .note = "byte-level BPE, one thread"});
    return CR_OK;
}

static enum cr_status bench_fold(struct bench *bench, const struct benchmark *self)
{
    double samples[MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats; s++) CR_TRY(cr_bench_fold(bench->threads, &samples[s]));
    struct cr_bench_row row = {
        .name = self->name, .figure = median(samples, bench->repeats) / 1e6, .unit = "MB/s"};
    snprintf(row.note, sizeof row.note, "updates of %d silos out of memory: digests, checks, weighted mean",
             CR_BENCH_SILOS);
    add_row(bench, row);
    return CR_OK;
}

// Once: it is some seconds long, and its setting up as well.
static enum cr_status bench_federation(struct bench *bench, const struct benchmark *self)
{
    double rate;
    reset_peak_memory();
    CR_TRY(cr_bench_federation(bench->threads, &rate));
    struct cr_bench_row row = {
        .name = self->name, .figure = rate / 1e6, .unit = "MB/s", .peak_memory = peak_memory()};
    snprintf(row.note, sizeof row.note,
             "%d silos over TLS on this machine, %d million values each: one update is %.2f GB",
             CR_BENCH_SILOS, CR_BENCH_VALUES / 1000000, CR_BENCH_VALUES * sizeof(float) / 1e9);
    add_row(bench, row);
    return CR_OK;
}

static const struct benchmark benchmarks[] = {
    {"product-bfloat16", bench_product, CR_BF16, NULL, 0, 0},
    {"product-float32", bench_product, CR_F32, NULL, 0, 0},
    {"masked-product", bench_masked, CR_F32, NULL, 0, 0},
    {"tune-step", bench_step, CR_BF16, &llama_shape, 4, 0},
    {"tune-step-float32", bench_step, CR_F32, &llama_shape, 4, 0},
    {"tune-step-2048", bench_step, CR_BF16, &long_shape, 1, 0},
    {"tune-step-gpt2", bench_step, CR_BF16, &gpt2_shape, 4, 0},
    {"secure-step-total", bench_step, CR_BF16, &llama_shape, 4, 4},
    {"secure-step-total-3", bench_step, CR_BF16, &llama_shape, 4, 3},
    {"encode", bench_encode, CR_F32, NULL, 0, 0},
    {"aggregate", bench_fold, CR_F32, NULL, 0, 0},
    {"federation", bench_federation, CR_F32, NULL, 0, 0},
};

enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

// Whether `name` is one of the comma-separated names in `list`; a NULL list holds all.
static bool is_listed(const char *list, const char *name)
{
    if (!list) return true;
    size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0)) return true;
    return false;
}

static enum cr_status check_list(const char *list)
{
    const char *names[BENCHMARKS];
    for (size_t i = 0; i < BENCHMARKS; i++) names[i] = benchmarks[i].name;
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char name[64] = "";
        size_t length = strcspn(at, ",");
        if (length < sizeof name) memcpy(name, at, length);
        bool known = false;
        for (size_t i = 0; i < BENCHMARKS; i++) known = known || strcmp(names[i], name) == 0;
        if (known) continue;
        const char *nearest = cr_nearest_name(name, names, BENCHMARKS);
        return cr_fail(CR_INVALID, "--only: no benchmark is called \"%.*s\"%s%s%s", (int)length, at,
                       nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "");
    }
    return CR_OK;
}

enum cr_status cr_command_bench(int argc, char **argv)
{
    struct bench bench = {.threads = 2, .repeats = 7};
    const char *only = NULL;
    bool json = false, done;
    const struct cr_flag items[] = {
        {"only", CR_FLAG_STRING, &only, "NAME,...", "these benchmarks alone"},
        {"threads", CR_FLAG_SIZE, &bench.threads, "N", "threads that compute (2)"},
        {"repeats", CR_FLAG_SIZE, &bench.repeats, "N",
         "samples of each figure, of which the median counts (7)"},
        {"json", CR_FLAG_BOOL, &json, NULL, "one JSON object instead of lines"},
    };
    const struct cr_flags flags = {
        "carrel bench [--only NAME,...] [options]",
        "Measures how fast carrel runs here. Each figure stands beside the limit that this machine sets, "
        "measured in\n"
        "the same run. Benchmarks: product-bfloat16, product-float32, masked-product, tune-step,\n"
        "tune-step-float32, tune-step-2048, tune-step-gpt2, secure-step-total, secure-step-total-3, encode,\n"
        "aggregate, federation.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    size_t none;
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, &none, &done));
    if (done) return CR_OK;
    if (bench.repeats < 1 || bench.repeats > MOST_SAMPLES - 2)
        return cr_fail(CR_INVALID, "--repeats: not in 1..%d", MOST_SAMPLES - 2);
    CR_TRY(check_list(only));
    for (size_t i = 0; i < BENCHMARKS; i++) {
        if (!is_listed(only, benchmarks[i].name)) continue;
        CR_TRY(benchmarks[i].run(&bench, &benchmarks[i]));
        if (!json) CR_TRY(cr_bench_print_row(&bench.rows[bench.count - 1]));
    }
    return json ? cr_bench_print_json(bench.threads, bench.rows, bench.count) : CR_OK;
}
