// Measures whole training steps through the trainer, on a model made for it.
#include "cli/bench.h"
#include "cli/bench_directory.h"
#include "cli/local_accelerators.h"

#include "base/clock.h"
#include "base/file.h"
#include "tuning/session.h"
#include "tuning/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// The shape for the project's figures, the same with one long sequence, and GPT-2's smallest model.
const struct cr_bench_shape cr_bench_llama = {
    .layers = 12, .hidden = 1024, .heads = 16, .intermediate = 2816, .vocabulary = 32000, .context = 256};
const struct cr_bench_shape cr_bench_llama_long = {
    .layers = 12, .hidden = 1024, .heads = 16, .intermediate = 2816, .vocabulary = 32000, .context = 2048};
const struct cr_bench_shape cr_bench_gpt2 = {.gpt2 = true,
                                             .layers = 12,
                                             .hidden = 768,
                                             .heads = 12,
                                             .intermediate = 3072,
                                             .vocabulary = 50257,
                                             .context = 256};

enum { MOST_LAYERS = 64 };

// Everything that a benchmark of steps must release.
struct stage {
    struct cr_compute *compute;
    struct cr_local_accelerators accelerators;
    char *directory, *data;
};

static int pads_of(const struct cr_benchmark *self)
{
    if (self->kind == CR_BENCH_PEER) return CR_PADS_MODE_PEER;
    bool sliced = self->kind == CR_BENCH_SLICED || self->kind == CR_BENCH_ONLINE;
    return sliced ? CR_PADS_MODE_ENCLAVE : CR_PADS_MODE_NONE;
}

static enum cr_status set_up(struct cr_bench *bench, const struct cr_benchmark *self, struct stage *stage)
{
    CR_TRY(
        cr_bench_model_make(self->shape, self->dtype, self->batch * (bench->repeats + 1), &stage->directory));
    CR_TRY(cr_path_join(stage->directory, "train.jsonl", &stage->data));
    const struct cr_tuning_config wanted = {.model_name_or_path = stage->directory,
                                            .slicing.pads = pads_of(self)};
    CR_TRY(cr_local_accelerators_hire(&wanted, stage->directory, bench->threads, -1, &stage->accelerators));
    return cr_compute_new(bench->threads, &stage->compute);
}

static void tear_down(struct stage *stage)
{
    cr_compute_free(stage->compute);
    cr_local_accelerators_end(&stage->accelerators);
    cr_local_accelerators_release(&stage->accelerators);
    free(stage->data);
    cr_bench_directory_remove(stage->directory);
    free(stage->directory);
}

// Measures steps and products alternately, so that other work on the machine affects both. The memory of the
// products does not count for the steps.
static enum cr_status beside_products(struct cr_bench *bench, const struct cr_benchmark *self,
                                      const struct cr_tuning_config *config, struct cr_compute *compute,
                                      struct cr_bench_row *row)
{
    double rates[CR_BENCH_MOST_SAMPLES], samples[CR_BENCH_MOST_SAMPLES];
    enum cr_dtype act = cr_activation_type(compute, config->dtype, NULL);
    CR_TRY(cr_bench_product_rate(compute, act, 1, &rates[0]));
    cr_bench_reset_peak_memory();
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(config, compute, NULL, &trainer));
    struct cr_tally tally = {0};
    enum cr_status status =
        cr_trainer_run(trainer, 1, &tally, NULL, NULL); // warm-up: it touches every page once
    for (size_t s = 0; s < bench->repeats && status == CR_OK; s++) {
        row->peak_memory = fmax(row->peak_memory, cr_bench_peak_memory());
        status = cr_bench_product_rate(compute, act, 1, &rates[s]);
        if (status != CR_OK) break;
        cr_bench_reset_peak_memory();
        size_t tokens = tally.tokens;
        double begin = cr_clock_monotonic();
        status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
        samples[s] = (double)(tally.tokens - tokens) / (cr_clock_monotonic() - begin);
    }
    row->peak_memory = fmax(row->peak_memory, cr_bench_peak_memory());
    cr_trainer_free(trainer);
    CR_TRY(status);
    row->figure = cr_bench_median(samples, bench->repeats);
    row->limit = cr_bench_median(rates, bench->repeats) / cr_bench_operations(self->shape);
    snprintf(row->note, sizeof row->note, "%s d=%zu L=%zu ff=%zu V=%zu, B=%zu T=%zu, LoRA r=8 on %s%s",
             self->shape->gpt2 ? "gpt2" : "llama", self->shape->hidden, self->shape->layers,
             self->shape->intermediate, self->shape->vocabulary, self->batch, self->shape->context,
             self->shape->gpt2 ? "q, k and v" : "q and v",
             act == self->dtype ? "" : ", in float32 for want of bf16 products");
    return CR_OK;
}

// Measures one step's tokens per second. With `ahead` (slicing only), all pads of the step are ready before
// it begins and none are made during it; otherwise CR_INTERNAL. *share is the share of CPU time that
// blinding, verifying and unblinding took, including making pads during the step; 0 without slicing.
static enum cr_status measure_step(struct cr_trainer *trainer, double processors, bool ahead, double *rate,
                                   double *share)
{
    struct cr_slicing *slicing = cr_trainer_slicing(trainer);
    struct cr_slicing_tally before = {0}, after = {0};
    struct cr_tally tally = {0};
    if (ahead) CR_TRY(cr_slicing_hold_pads(slicing, true));
    if (slicing) before = cr_slicing_tally(slicing);
    double begin = cr_clock_monotonic();
    CR_TRY(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    double seconds = cr_clock_monotonic() - begin;
    if (slicing) after = cr_slicing_tally(slicing);
    if (ahead && after.offline > before.offline)
        return cr_fail(CR_INTERNAL, "pads were made during a step that should have found them ready");
    if (ahead) CR_TRY(cr_slicing_hold_pads(slicing, false));
    *rate = (double)tally.tokens / seconds;
    *share = (after.processors - before.processors) / (processors * seconds);
    return CR_OK;
}

// The same for each of `repeats` steps. A step before them, which does not count, touches every page and
// fills the queues of pads.
static enum cr_status measure_steps(const struct cr_tuning_config *config, struct cr_compute *compute,
                                    bool ahead, size_t repeats, double *rates, double *shares)
{
    double processors = (double)cr_pool_threads(cr_compute_pool(compute));
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(config, compute, NULL, &trainer));
    struct cr_tally tally = {0};
    enum cr_status status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
    for (size_t i = 0; i < repeats && status == CR_OK; i++)
        status = measure_step(trainer, processors, ahead, &rates[i], &shares[i]);
    cr_trainer_free(trainer);
    return status;
}

// First the plain steps, then the others, not alternately: after a step with slicing, pads are still being
// made.
static enum cr_status beside_plain(struct cr_bench *bench, const struct cr_benchmark *self,
                                   const struct cr_tuning_config *plain, struct stage *stage,
                                   struct cr_bench_row *row)
{
    double rates[CR_BENCH_MOST_SAMPLES], limits[CR_BENCH_MOST_SAMPLES], shares[CR_BENCH_MOST_SAMPLES];
    char *addresses[CR_LOCAL_ACCELERATORS];
    char about[64] = "all on int8 matrices in one process";
    size_t accelerators = stage->accelerators.count;
    for (size_t i = 0; i < accelerators; i++) addresses[i] = stage->accelerators.items[i].address;
    struct cr_tuning_config config = *plain;
    config.load_in_8bit = self->kind == CR_BENCH_8BIT;
    if (accelerators > 0)
        config.slicing = (struct cr_slicing_config){
            .pads = pads_of(self), .accelerators = {addresses, accelerators}, .digits = self->digits};
    CR_TRY(measure_steps(plain, stage->compute, false, bench->repeats, limits, shares));
    CR_TRY(
        measure_steps(&config, stage->compute, self->kind == CR_BENCH_ONLINE, bench->repeats, rates, shares));
    row->figure = cr_bench_median(rates, bench->repeats);
    row->limit = cr_bench_median(limits, bench->repeats);
    if (self->kind == CR_BENCH_ONLINE)
        snprintf(about, sizeof about, "%zu digits, pads ready; trusted work %.1f%%", self->digits,
                 100 * cr_bench_median(shares, bench->repeats));
    if (self->kind == CR_BENCH_SLICED)
        snprintf(about, sizeof about, "%zu digits, pads made meanwhile", self->digits);
    if (self->kind == CR_BENCH_PEER)
        snprintf(about, sizeof about, "%zu digits, pads by a peer; trusted work %.1f%%", self->digits,
                 100 * cr_bench_median(shares, bench->repeats));
    snprintf(row->note, sizeof row->note, "%s; limit: tune-step%s", about,
             self->last_quarter ? ", both with LoRA in the last quarter of the layers" : "");
    return CR_OK;
}

static enum cr_status measure(struct cr_bench *bench, const struct cr_benchmark *self, struct stage *stage)
{
    const struct cr_bench_shape *shape = self->shape;
    CR_TRY(set_up(bench, self, stage));
    char *modules[] = {shape->gpt2 ? (char[]){"c_attn"} : (char[]){"q_proj"}, (char[]){"v_proj"}};
    size_t layers[MOST_LAYERS], count = 0;
    for (size_t i = shape->layers - shape->layers / 4; self->last_quarter && i < shape->layers; i++)
        layers[count++] = i;
    const struct cr_tuning_config config = {
        .model_name_or_path = stage->directory,
        .dtype = self->dtype == CR_BF16 ? CR_COMPUTE_BFLOAT16 : CR_COMPUTE_FLOAT32,
        .seed = 1,
        .threads = bench->threads,
        .method = CR_METHOD_LORA,
        .data = {.train = stage->data, .max_length = shape->context},
        .lora = {.r = 8,
                 .lora_alpha = 16,
                 .targets.modules = {modules, shape->gpt2 ? 1 : 2},
                 .targets.layers = {layers, count}},
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
    CR_TRY(self->kind == CR_BENCH_PLAIN ? beside_products(bench, self, &config, stage->compute, &row)
                                        : beside_plain(bench, self, &config, stage, &row));
    cr_bench_add(bench, row);
    return CR_OK;
}

enum cr_status cr_bench_step(struct cr_bench *bench, const struct cr_benchmark *self)
{
    struct stage stage = {.accelerators = CR_LOCAL_ACCELERATORS_NONE};
    enum cr_status status = measure(bench, self, &stage);
    tear_down(&stage);
    return status;
}
