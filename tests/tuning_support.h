// What the tests of tuning share: a small model with its tokenizer, a run's settings.
#ifndef CARREL_TESTS_TUNING_SUPPORT_H
#define CARREL_TESTS_TUNING_SUPPORT_H

#include "folder_support.h"

#include "base/file.h"
#include "tensor/compute.h"
#include "tuning/config.h"
#include "tuning/trainer.h"

#include <stdio.h>

#define SMALL_MODEL                                                                                          \
    "tests/golden/lora-gqa-tied/model" // 2 layers, d = 24, grouped-query, tied, bytes as tokens

// A sparse change of all linears.
static inline struct cr_spf_config spf_choice(int criterion, int granularity, double density)
{
    static char all_linear[] = "all-linear";
    static char *modules[] = {all_linear};
    return (struct cr_spf_config){.criterion = criterion,
                                  .granularity = granularity,
                                  .density = density,
                                  .targets.modules = {modules, 1},
                                  .calibration_batches = 2};
}

// A LoRA run of the small model over `train`: AdamW, four examples a step.
static inline struct cr_tuning_config small_run(char *train, char **modules, size_t module_count)
{
    static char model[] = SMALL_MODEL;
    return (struct cr_tuning_config){
        .model_name_or_path = model,
        .dtype = CR_COMPUTE_FLOAT32,
        .seed = 7,
        .method = CR_METHOD_LORA,
        .data = {.train = train, .max_length = 48},
        .lora = {.r = 4, .lora_alpha = 8, .targets.modules = {modules, module_count}},
        .training =
            {
                .optim = CR_OPTIMIZER_ADAMW,
                .learning_rate = 0.01,
                .adam_beta1 = 0.9,
                .adam_beta2 = 0.999,
                .adam_epsilon = 1e-8,
                .max_grad_norm = 1,
                .lr_scheduler_type = CR_SCHEDULE_LINEAR,
                .warmup_steps = 2,
                .max_steps = 12,
                .per_device_train_batch_size = 2,
                .gradient_accumulation_steps = 2,
            },
    };
}

#endif
