// Whole steps of training through the trainer, on a model made for it.
#include "cli/bench.h"
#include "cli/bench_directory.h"
#include "cli/bench_secure.h"

#include "base/clock.h"
#include "base/file.h"
#include "tuning/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// The shape that the project's figures are given for, the same with one long sequence, and GPT-2's smallest.
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

enum { MOST_LAYERS = 64, MOST_ACCELERATORS = 2 };

// A step on its way: everything that has to be given back.
struct stage {
    struct cr_compute *compute;
    struct cr_child accelerators[MOST_ACCELERATORS];
    char addresses[MOST_ACCELERATORS][CR_BENCH_ADDRESS_SIZE];
    char *directory, *data;
};

static size_t accelerators_of(const struct cr_benchmark *self)
{
    if (self->kind == CR_BENCH_PEER) return 2;
    return self->kind == CR_BENCH_SLICED || self->kind == CR_BENCH_ONLINE;
}

static enum cr_status set_up(struct cr_bench *bench, const struct cr_benchmark *self, struct stage *stage)
{
    CR_TRY(
        cr_bench_model_make(self->shape, self->dtype, self->batch * (bench->repeats + 1), &stage->directory));
    CR_TRY(cr_path_join(stage->directory, "train.jsonl", &stage->data));
    static const char *const names[MOST_ACCELERATORS] = {"accelerator.sock", "accelerator-2.sock"};
    for (size_t i = 0; i < accelerators_of(self); i++)
        CR_TRY(cr_bench_hire(stage->directory, names[i], bench->threads, stage->addresses[i],
                             &stage->accelerators[i]));
    return cr_compute_new(bench->threads, &stage->compute);
}

static void tear_down(struct stage *stage)
{
    cr_compute_free(stage->compute);
    for (size_t i = 0; i < MOST_ACCELERATORS; i++) {
        cr_child_stop(&stage->accelerators[i]);
        cr_child_release(&stage->accelerators[i]);
    }
    free(stage->data);
    cr_bench_directory_remove(stage->directory);
    free(stage->directory);
}

// Steps and products in turn, so that what else the machine does falls on both. The products' memory is not
// the steps'.
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
        cr_trainer_run(trainer, 1, &tally, NULL, NULL); // warm: every page has been touched
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

// The plain step first and then the other, not in turn: after a step with slicing its pads are still made.
static enum cr_status beside_plain(struct cr_bench *bench, const struct cr_benchmark *self,
                                   const struct cr_tuning_config *plain, struct stage *stage,
                                   struct cr_bench_row *row)
{
    double rates[CR_BENCH_MOST_SAMPLES], limits[CR_BENCH_MOST_SAMPLES], shares[CR_BENCH_MOST_SAMPLES];
    char *addresses[MOST_ACCELERATORS] = {stage->addresses[0], stage->addresses[1]};
    char about[64] = "all on int8 matrices in one process";
    size_t accelerators = accelerators_of(self);
    struct cr_tuning_config config = *plain;
    config.load_in_8bit = self->kind == CR_BENCH_8BIT;
    if (accelerators > 0)
        config.slicing = (struct cr_slicing_config){
            .pads = self->kind == CR_BENCH_PEER ? CR_PADS_MODE_PEER : CR_PADS_MODE_ENCLAVE,
            .accelerators = {addresses, accelerators},
            .digits = self->digits};
    CR_TRY(cr_bench_steps(plain, stage->compute, false, bench->repeats, limits, shares));
    CR_TRY(cr_bench_steps(&config, stage->compute, self->kind == CR_BENCH_ONLINE, bench->repeats, rates,
                          shares));
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
    struct stage stage = {.accelerators = {CR_CHILD_NONE, CR_CHILD_NONE}};
    enum cr_status status = measure(bench, self, &stage);
    tear_down(&stage);
    return status;
}
