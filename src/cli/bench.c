// carrel bench: how fast the parts run on this machine, each beside the machine's own limit, measured in the
// same run.
#include "cli/bench.h"
#include "cli/bench_federation.h"
#include "cli/bench_masked.h"
#include "cli/command.h"

#include "base/clock.h"
#include "base/parse.h"
#include "crypto/random.h"
#include "tensor/matmul.h"
#include "text/tokenizer.h"
#include "text/trainer.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cr_bench_median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, compare_doubles);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

void cr_bench_add(struct cr_bench *bench, struct cr_bench_row row)
{
    if (bench->count < CR_BENCH_MOST_ROWS) bench->rows[bench->count++] = row;
}

double cr_bench_peak_memory(void)
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

void cr_bench_reset_peak_memory(void)
{
    malloc_trim(0); // frees what earlier benchmarks left
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

enum cr_status cr_bench_product_rate(struct cr_compute *compute, enum cr_dtype dtype, size_t repeats,
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
    memset(a, 0x3c, (size_t)M * K * size); // bits that are small finite numbers in both types
    memset(b, 0x3c, (size_t)N * K * size);
    struct cr_matrix ma = cr_matrix_of(a, dtype, M, K), mb = cr_matrix_of(b, dtype, N, K),
                     mc = cr_matrix_of(c, dtype, M, N);
    double samples[CR_BENCH_MOST_SAMPLES];
    CR_TRY(cr_matmul(compute, CR_NT, ma, mb, mc, false));
    for (size_t s = 0; s < repeats; s++) {
        double begin = cr_clock_monotonic();
        for (int i = 0; i < PER_SAMPLE; i++) CR_TRY(cr_matmul(compute, CR_NT, ma, mb, mc, false));
        samples[s] = 2.0 * M * N * K * PER_SAMPLE / (cr_clock_monotonic() - begin);
    }
    *rate = cr_bench_median(samples, repeats);
    return CR_OK;
}

static enum cr_status bench_product(struct cr_bench *bench, const struct cr_benchmark *self)
{
    enum cr_dtype dtype = self->dtype;
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    CR_TRY(cr_compute_new(bench->threads, &compute));
    double rate = 0;
    if (dtype == CR_BF16 && !cr_compute_has_bf16(compute))
        return cr_fail(CR_UNSUPPORTED, "%s: this processor has no bf16 products", self->name);
    CR_TRY(cr_bench_product_rate(compute, dtype, bench->repeats + 2, &rate));
    cr_bench_add(bench,
                 (struct cr_bench_row){.name = self->name,
                                       .figure = rate / 1e9,
                                       .unit = "GFLOP/s",
                                       .note = "1024 x 2048 x 1024, weights as checkpoints store them"});
    return CR_OK;
}

static enum cr_status bench_masked(struct cr_bench *bench, const struct cr_benchmark *self)
{
    double masked[CR_BENCH_MOST_SAMPLES], plain[CR_BENCH_MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats; s++)
        CR_TRY(cr_bench_masked(bench->threads, &masked[s], &plain[s]));
    struct cr_bench_row row = {.name = self->name,
                               .figure = cr_bench_median(masked, bench->repeats) / 1e9,
                               .unit = "GFLOP/s",
                               .limit = cr_bench_median(plain, bench->repeats) / 1e9};
    snprintf(row.note, sizeof row.note,
             "%d x %d x %d mod 2^31 - 1, digits split and combined; limit: float32", CR_BENCH_MASKED_ROWS,
             CR_BENCH_MASKED_COLUMNS, CR_BENCH_MASKED_DEPTH);
    cr_bench_add(bench, row);
    return CR_OK;
}

// Encoding of ordinary text by a byte-level tokenizer of 1,024 tokens.
static enum cr_status bench_encode(struct cr_bench *bench, const struct cr_benchmark *self)
{
    static const char *const words[] = {"the",   "patient", "has",    "a",       "fever", "and",
                                        "was",   "given",   "two",    "tablets", "after", "lunch",
                                        "nurse", "called",  "doctor", "at",      "night"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(3, "bench words", &stream));
    enum cr_status status = CR_OK;
    while (text.size < 1000000 && status == CR_OK)
        status = cr_append_format(&text, "%s ", words[cr_draws_below(stream, sizeof words / sizeof *words)]);
    cr_draws_free(stream);
    CR_TRY(status);
    struct cr_slice slice = cr_buffer_slice(&text);
    const struct cr_bpe_options options = {.vocabulary = 1024};
    CR_TRY(cr_bpe_train(&slice, 1, &options, &json));
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_parse(cr_buffer_slice(&json), self->name, &tokenizer));
    double samples[CR_BENCH_MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats && status == CR_OK; s++) {
        struct cr_ids ids = {0};
        double begin = cr_clock_monotonic();
        status = cr_tokenizer_encode(tokenizer, slice, false, &ids);
        samples[s] = (double)slice.size / 1e6 / (cr_clock_monotonic() - begin);
        cr_ids_release(&ids);
    }
    cr_tokenizer_free(tokenizer);
    CR_TRY(status);
    cr_bench_add(bench, (struct cr_bench_row){.name = self->name,
                                              .figure = cr_bench_median(samples, bench->repeats),
                                              .unit = "MB/s",
                                              .note = "byte-level BPE, one thread"});
    return CR_OK;
}

static enum cr_status bench_fold(struct cr_bench *bench, const struct cr_benchmark *self)
{
    double samples[CR_BENCH_MOST_SAMPLES];
    for (size_t s = 0; s < bench->repeats; s++) CR_TRY(cr_bench_fold(bench->threads, &samples[s]));
    struct cr_bench_row row = {
        .name = self->name, .figure = cr_bench_median(samples, bench->repeats) / 1e6, .unit = "MB/s"};
    snprintf(row.note, sizeof row.note, "updates of %d silos out of memory: digests, checks, weighted mean",
             CR_BENCH_SILOS);
    cr_bench_add(bench, row);
    return CR_OK;
}

// Only one sample: it takes several seconds, and so does its setup.
static enum cr_status bench_federation(struct cr_bench *bench, const struct cr_benchmark *self)
{
    double rate;
    cr_bench_reset_peak_memory();
    CR_TRY(cr_bench_federation(bench->threads, &rate));
    struct cr_bench_row row = {
        .name = self->name, .figure = rate / 1e6, .unit = "MB/s", .peak_memory = cr_bench_peak_memory()};
    snprintf(row.note, sizeof row.note,
             "%d silos over TLS on this machine, %d million values each: one update is %.2f GB",
             CR_BENCH_SILOS, CR_BENCH_VALUES / 1000000, CR_BENCH_VALUES * sizeof(float) / 1e9);
    cr_bench_add(bench, row);
    return CR_OK;
}

static const struct cr_benchmark benchmarks[] = {
    {.name = "product-bfloat16", .run = bench_product, .dtype = CR_BF16},
    {.name = "product-float32", .run = bench_product, .dtype = CR_F32},
    {.name = "masked-product", .run = bench_masked},
    {"tune-step", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_PLAIN, 0, false},
    {"tune-step-float32", cr_bench_step, CR_F32, &cr_bench_llama, 4, CR_BENCH_PLAIN, 0, false},
    {"tune-step-2048", cr_bench_step, CR_BF16, &cr_bench_llama_long, 1, CR_BENCH_PLAIN, 0, false},
    {"tune-step-gpt2", cr_bench_step, CR_BF16, &cr_bench_gpt2, 4, CR_BENCH_PLAIN, 0, false},
    {"trusted-step", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_8BIT, 0, false},
    {"trusted-step-last", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_8BIT, 0, true},
    {"secure-step", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_ONLINE, 4, false},
    {"secure-step-3", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_ONLINE, 3, false},
    {"secure-step-last", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_ONLINE, 4, true},
    {"secure-step-last-3", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_ONLINE, 3, true},
    {"secure-step-total", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_SLICED, 4, false},
    {"secure-step-total-3", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_SLICED, 3, false},
    {"secure-step-total-last", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_SLICED, 4, true},
    {"secure-step-total-last-3", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_SLICED, 3, true},
    {"secure-step-peer", cr_bench_step, CR_BF16, &cr_bench_llama, 4, CR_BENCH_PEER, 4, false},
    {.name = "encode", .run = bench_encode},
    {.name = "aggregate", .run = bench_fold},
    {.name = "federation", .run = bench_federation},
};

enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

// Whether `name` is in the comma-separated `list`; a NULL list contains every name.
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
    struct cr_bench bench = {.threads = 2, .repeats = 7};
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
        "tune-step-float32, tune-step-2048, tune-step-gpt2, trusted-step, secure-step, secure-step-total,\n"
        "secure-step-peer, encode, aggregate, federation. trusted-step, secure-step and\n"
        "secure-step-total are also there with -last behind their names: LoRA in the last quarter of the\n"
        "layers alone. Of these, secure-step and secure-step-total, with -last or without, are also there\n"
        "with -3 at the end (secure-step-last-3): words of three digits.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, NULL, &done));
    if (done) return CR_OK;
    if (bench.repeats < 1 || bench.repeats > CR_BENCH_MOST_SAMPLES - 2)
        return cr_fail(CR_INVALID, "--repeats: not in 1..%d", CR_BENCH_MOST_SAMPLES - 2);
    CR_TRY(check_list(only));
    for (size_t i = 0; i < BENCHMARKS; i++) {
        if (!is_listed(only, benchmarks[i].name)) continue;
        enum cr_status status = benchmarks[i].run(&bench, &benchmarks[i]);
        if (status == CR_UNSUPPORTED && !only) {
            fprintf(stderr, "%s\n", cr_error_message());
            continue;
        }
        CR_TRY(status);
        if (!json) CR_TRY(cr_bench_print_row(&bench.rows[bench.count - 1]));
    }
    return json ? cr_bench_print_json(bench.threads, bench.rows, bench.count) : CR_OK;
}
