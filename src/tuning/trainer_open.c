// Opening a trainer: the model, the data, what is tuned, and the passes.
#include "tuning/checkpoint.h"
#include "tuning/evaluate.h"
#include "tuning/full.h"
#include "tuning/lora.h"
#include "tuning/pair.h"
#include "tuning/prefix.h"
#include "tuning/schedule.h"
#include "tuning/session.h"
#include "tuning/tail.h"
#include "tuning/trainer_parts.h"

#include <stdlib.h>
#include <string.h>

static enum cr_status open_model(struct cr_trainer *trainer, const struct cr_tuning_config *config)
{
    enum cr_dtype act = cr_activation_type(trainer->compute, config->dtype, &trainer->sink);
    if (cr_tuning_config_split(config)) {
        CR_TRY(cr_tail_open_model(config, trainer->compute, act, &trainer->model));
        return cr_tuning_config_check_split(config, trainer->model->config.layers);
    }
    if (config->random_init) {
        struct cr_model_config shape;
        CR_TRY(cr_model_config_read(trainer->base, &shape));
        return cr_model_create(&shape, trainer->compute, act, &trainer->model);
    }
    enum cr_model_form form = cr_model_form_of(trainer->in_8bit);
    if (config->method == CR_METHOD_FULL) form = CR_MODEL_TRAINABLE;
    if (cr_tuning_config_sliced(config) && config->data.train) form = CR_MODEL_OUTSIDE;
    return cr_model_open(trainer->base, form, NULL, trainer->compute, act, &trainer->model);
}

static enum cr_status open_data(struct cr_trainer *trainer, const struct cr_tuning_config *config)
{
    CR_TRY(cr_tokenizer_open(trainer->base, &trainer->tokenizer));
    CR_TRY(cr_tuning_config_check_context(config, trainer->model->config.context));
    trainer->data_options = cr_data_options(&config->data);
    trainer->data_options.vocabulary = trainer->model->config.vocabulary;
    trainer->data_options.append_eos = true;
    trainer->data_options.sink = &trainer->sink;
    trainer->data_options.pool = cr_compute_pool(trainer->compute);
    if (config->cut) {
        CR_TRY(config->cut->open(config->cut));
        trainer->data = config->cut->data;
    } else if (config->data.train) {
        CR_TRY(
            cr_dataset_open(config->data.train, trainer->tokenizer, &trainer->data_options, &trainer->data));
    } else {
        return CR_OK;
    }
    size_t examples = cr_dataset_count(trainer->data);
    if (examples > UINT32_MAX)
        return cr_fail(CR_UNSUPPORTED, "data.train: %zu examples: more than 2^32", examples);
    CR_TRY(cr_dataset_pack(trainer->data, config->data.packing, config->data.max_length, &trainer->packs));
    trainer->total_steps = cr_steps_in_all(&trainer->training, trainer->packs.count);
    if (trainer->total_steps > UINT32_MAX / cr_micro_batches(&trainer->training))
        return cr_fail(CR_UNSUPPORTED, "training.max_steps: %zu: more than 2^32 micro-batches",
                       trainer->total_steps);
    CR_TRY(cr_allocate(trainer->packs.count, sizeof *trainer->order, &trainer->order));
    return cr_draws_new(trainer->seed, "order of examples", &trainer->shuffle);
}

// Read before training, so that errors in it are known at once and not after days.
static enum cr_status open_held_out(struct cr_trainer *trainer, const char *path)
{
    struct cr_dataset_options options = trainer->data_options;
    options.append_eos = false;
    if (!path) return CR_OK;
    trainer->held_out_path = path;
    enum cr_status status = cr_dataset_open(path, trainer->tokenizer, &options, &trainer->held_out);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "data.eval");
}

static int larger_first(const void *left, const void *right)
{
    size_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a < b) - (a > b);
}

// The sum of the `most` largest values.
static size_t sum_of_largest(size_t *values, size_t count, size_t most)
{
    size_t sum = 0;
    if (count > 0) qsort(values, count, sizeof *values, larger_first);
    for (size_t i = 0; i < count && i < most; i++) sum += values[i];
    return sum;
}

// The most rows and sequences that any pass may have: a batch of the largest packs, or a batch of an
// evaluation, in which short examples share a pass.
static enum cr_status most_rows(const struct cr_trainer *trainer, size_t *rows, size_t *sequences)
{
    const struct cr_packs *packs = &trainer->packs;
    size_t batch = cr_micro_batch_examples(&trainer->training, packs->count);
    CR_FREE size_t *tokens = NULL;
    CR_FREE size_t *examples = NULL;
    CR_TRY(cr_allocate(packs->count, sizeof *tokens, &tokens));
    CR_TRY(cr_allocate(packs->count, sizeof *examples, &examples));
    for (size_t p = 0; p < packs->count; p++) {
        examples[p] = packs->start[p + 1] - packs->start[p];
        for (size_t i = packs->start[p]; i < packs->start[p + 1]; i++)
            tokens[p] += cr_dataset_at(trainer->data, packs->items[i]).count;
    }
    *rows = cr_most(sum_of_largest(tokens, packs->count, batch), trainer->data_options.max_length);
    *sequences = cr_most(sum_of_largest(examples, packs->count, batch), CR_EVALUATION_SEQUENCES);
    return CR_OK;
}

static enum cr_status make_lora(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                size_t training_rows, struct cr_structure **out)
{
    struct cr_structure *lora;
    CR_TRY(cr_lora_new(&config->lora, trainer->model, trainer->seed, training_rows, trainer->lanes, &lora));
    enum cr_status status = cr_lora_initialise(lora, trainer->seed);
    if (status == CR_OK)
        *out = lora;
    else
        cr_structure_free(lora);
    return status;
}

// training_rows: the most rows of a training pass; 0: there is none.
static enum cr_status make_tuned(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                 size_t training_rows)
{
    if (config->method == CR_METHOD_LORA)
        return make_lora(trainer, config, training_rows, &trainer->structure);
    if (config->method == CR_METHOD_SPF)
        return cr_trainer_make_spf(trainer, config, training_rows > 0, &trainer->structure);
    if (config->method == CR_METHOD_LORA_SPF) {
        struct cr_structure *lora, *spf;
        CR_TRY(cr_trainer_make_spf(trainer, config, training_rows > 0, &spf));
        enum cr_status status = make_lora(trainer, config, training_rows, &lora);
        if (status == CR_OK) return cr_pair_new(lora, spf, &trainer->structure);
        cr_structure_free(spf);
        return status;
    }
    if (config->method == CR_METHOD_PREFIX_TUNING) {
        CR_TRY(cr_prefix_new(&config->prefix_tuning, trainer->model, true, &trainer->structure));
        return cr_prefix_initialise(trainer->structure, trainer->seed);
    }
    CR_TRY(cr_full_new(trainer->model, &trainer->structure));
    if (!config->random_init) return cr_full_load(trainer->structure);
    struct cr_checkpoint_config checkpoint;
    CR_TRY(cr_checkpoint_config_read(trainer->base, &checkpoint));
    return cr_full_initialise(trainer->structure, trainer->seed, checkpoint.initializer_range);
}

static enum cr_status make_structure(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                     size_t training_rows)
{
    struct cr_tuning_config own;
    CR_FREE size_t *tail = NULL;
    CR_TRY(cr_tuning_config_tail(config, trainer->model->config.layers, &own, &tail));
    return make_tuned(trainer, &own, training_rows);
}

// Seconds without a sign of life after which an accelerator counts as lost: more than any product takes.
static const double accelerator_patience = 120;

// Reports which accelerators are waited for: they may be started after this.
static enum cr_status tell_accelerators(const struct cr_trainer *trainer,
                                        const struct cr_slicing_config *slicing)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer addresses = {0};
    for (size_t i = 0; i < slicing->accelerators.count; i++) {
        const char *address = slicing->accelerators.items[i]; // without the key of a tls: address
        CR_TRY(
            cr_append_format(&addresses, "%s%.*s", i > 0 ? ", " : "", (int)strcspn(address, "#"), address));
    }
    cr_emit(&trainer->sink, CR_EVENT_INFO, "train.connecting", NULL,
            CR_FIELD_TEXT("accelerators", cr_buffer_text(&addresses)));
    return CR_OK;
}

static enum cr_status open_slicing(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                   size_t rows)
{
    const struct cr_slicing_options options = {.accelerators = config->slicing.accelerators.items,
                                               .accelerator_count = config->slicing.accelerators.count,
                                               .digits = (unsigned)config->slicing.digits,
                                               .rows = rows,
                                               .lanes = trainer->lanes,
                                               .threads = cr_pool_threads(cr_compute_pool(trainer->compute)),
                                               .patience = accelerator_patience};
    CR_TRY(tell_accelerators(trainer, &config->slicing));
    return cr_slicing_open(&options, trainer->model, &trainer->slicing);
}

static enum cr_status make_walks(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                 size_t rows, size_t sequences)
{
    size_t count = cr_lanes_count(trainer->lanes);
    bool spill = config->slicing.spill == CR_SPILL_MODE_SEALED;
    CR_TRY(cr_allocate(count, sizeof *trainer->walks, &trainer->walks));
    for (size_t i = 0; i < count; i++) {
        struct cr_trainer_walk *walk = &trainer->walks[i];
        CR_TRY(cr_batch_new(sequences, rows, &walk->batch));
        if (spill) CR_TRY(cr_spill_new(cr_compute_pool(trainer->compute), &walk->spill));
        CR_TRY(cr_pass_new(trainer->model,
                           &(struct cr_pass_size){.rows = rows,
                                                  .sequences = sequences,
                                                  .prefix = cr_tuning_config_prefix(config),
                                                  .first = cr_front_cache_layer(trainer->front_of_data),
                                                  .backward = true},
                           spill ? cr_spill_keep(walk->spill) : NULL, &walk->pass));
    }
    return CR_OK;
}

enum cr_status cr_trainer_open(struct cr_trainer *trainer, const struct cr_tuning_config *config)
{
    CR_TRY(cr_copy_string(config->model_name_or_path, &trainer->base));
    size_t lanes = cr_training_lanes(&trainer->training);
    if (cr_tuning_config_trains(config) && lanes > 1) CR_TRY(cr_lanes_new(lanes, &trainer->lanes));
    CR_TRY(open_model(trainer, config));
    CR_TRY(open_data(trainer, config));
    CR_TRY(open_held_out(trainer, config->data.eval));
    size_t rows, sequences;
    CR_TRY(most_rows(trainer, &rows, &sequences));
    // Everything that a pass needs comes first, because choosing what is trained may run passes.
    if (trainer->model->outside && trainer->data) CR_TRY(open_slicing(trainer, config, rows));
    CR_TRY(cr_trainer_open_front(trainer, config, rows, sequences));
    CR_TRY(make_walks(trainer, config, rows, sequences));
    // A trainer that trains nothing needs neither gradients nor moments.
    CR_TRY(make_structure(trainer, config, trainer->data ? rows : 0));
    if (!trainer->data) return CR_OK;
    return cr_optimizer_init(&trainer->optimizer, &trainer->training, trainer->structure->parameters.count);
}
