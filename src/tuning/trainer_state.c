// The identity of a run (its digests), and its interruption: saving and loading all that the next step
// depends on.
#include "base/mapping.h"
#include "tuning/schedule.h"
#include "tuning/state.h"
#include "tuning/trainer_parts.h"

#include <string.h>

static enum cr_status add_structure(const struct cr_trainer *trainer, struct cr_hasher *hasher)
{
    const struct cr_structure *structure = trainer->structure;
    CR_TRY(structure->kind->describe(structure, hasher));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "random_init %d\n", trainer->random_init));
    for (size_t i = 0; i < structure->parameters.item_count; i++) {
        const struct cr_parameter *item = &structure->parameters.items[i];
        CR_TRY(cr_append_format(&text, "parameter %s %zu %zu %zu\n", item->name, item->rank, item->shape[0],
                                item->shape[1]));
    }
    return cr_hasher_add(hasher, cr_buffer_slice(&text));
}

// The base is read once; nothing that is hashed changes while the trainer exists.
enum cr_status cr_trainer_base(struct cr_trainer *trainer, struct cr_base_digest *out)
{
    const struct cr_model *model = trainer->model;
    if (!trainer->base_known)
        CR_TRY(cr_base_digest_of(trainer->base, &model->config, model->weights, &trainer->base_digest));
    trainer->base_known = true;
    *out = trainer->base_digest;
    return CR_OK;
}

enum cr_status cr_trainer_digest(struct cr_trainer *trainer, unsigned char out[CR_SHA256_SIZE])
{
    struct cr_base_digest base;
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_trainer_base(trainer, &base));
    CR_TRY(cr_hasher_new(&hasher));
    CR_TRY(cr_append_format(&text, "carrel tuning 2\ncomputed %d\n", trainer->in_8bit));
    CR_TRY(cr_hasher_add(hasher, cr_buffer_slice(&text)));
    CR_TRY(cr_hasher_add(hasher, (struct cr_slice){base.model, sizeof base.model}));
    CR_TRY(cr_hasher_add(hasher, (struct cr_slice){base.tokenizer, sizeof base.tokenizer}));
    CR_TRY(add_structure(trainer, hasher));
    return cr_hasher_finish(hasher, out);
}

static enum cr_status add_settings(const struct cr_trainer *trainer, struct cr_hasher *hasher)
{
    const struct cr_training_config *training = &trainer->training;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(
        &text, "training %d %.17g %.17g %.17g %.17g %.17g %.17g %.17g %d %zu %zu %.17g %zu %zu\n",
        training->optim, training->learning_rate, training->weight_decay, training->adam_beta1,
        training->adam_beta2, training->adam_epsilon, training->momentum, training->max_grad_norm,
        training->lr_scheduler_type, training->warmup_steps, training->max_steps, training->num_train_epochs,
        training->per_device_train_batch_size, training->gradient_accumulation_steps));
    if (trainer->digits > 0) CR_TRY(cr_append_format(&text, "masked %zu\n", trainer->digits));
    CR_TRY(cr_append_format(&text, "seed %llu act %d steps %zu packs %zu\n",
                            (unsigned long long)trainer->seed, (int)trainer->model->act, trainer->total_steps,
                            trainer->packs.count));
    size_t front = cr_front_cache_layer(trainer->front_of_data); // rounded differently from masked layers
    if (front > 0) CR_TRY(cr_append_format(&text, "front %zu\n", front));
    size_t lanes = cr_training_lanes(training); // they decide how a batch is cut, and what is dropped
    if (lanes > 1) CR_TRY(cr_append_format(&text, "lanes %zu\n", lanes));
    return cr_hasher_add(hasher, cr_buffer_slice(&text));
}

// Adds which examples share a row; nothing if each has its own, in order.
static enum cr_status add_packs(const struct cr_trainer *trainer, struct cr_hasher *hasher)
{
    const struct cr_packs *packs = &trainer->packs;
    size_t examples = cr_dataset_count(trainer->data), alone = 0;
    while (alone < packs->count && packs->start[alone + 1] == alone + 1 && packs->items[alone] == alone)
        alone++;
    if (alone == examples) return CR_OK;
    const struct cr_slice parts[] = {
        {(const unsigned char *)packs->start, (packs->count + 1) * sizeof *packs->start},
        {(const unsigned char *)packs->items, examples * sizeof *packs->items}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) CR_TRY(cr_hasher_add(hasher, parts[i]));
    return CR_OK;
}

static enum cr_status add_examples(const struct cr_trainer *trainer, struct cr_hasher *hasher)
{
    if (trainer->data) CR_TRY(cr_digest_examples(trainer->data, hasher));
    if (trainer->data) CR_TRY(add_packs(trainer, hasher));
    if (trainer->cut) CR_TRY(cr_hasher_add(hasher, (struct cr_slice){trainer->cut->digest, CR_SHA256_SIZE}));
    return CR_OK;
}

// Identifies the run: what is trained, on what, and how. Threads, logging and paths do not matter.
enum cr_status cr_trainer_identify(struct cr_trainer *trainer)
{
    if (trainer->run_known) return CR_OK;
    unsigned char structure[CR_SHA256_SIZE];
    CR_TRY(cr_trainer_digest(trainer, structure));
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_TRY(cr_hasher_new(&hasher));
    CR_TRY(cr_hasher_add(hasher, (struct cr_slice){structure, sizeof structure}));
    CR_TRY(add_settings(trainer, hasher));
    CR_TRY(add_examples(trainer, hasher));
    CR_TRY(cr_hasher_finish(hasher, trainer->run));
    trainer->run_known = true;
    return CR_OK;
}

static struct cr_slice bytes_of(const float *values, size_t count)
{
    return (struct cr_slice){(const unsigned char *)values, count * sizeof *values};
}

enum cr_status cr_trainer_save_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path)
{
    const struct cr_parameters *parameters = &trainer->structure->parameters;
    struct cr_state state = {
        .steps = trainer->step,
        .updates = trainer->optimizer.steps,
        .count = parameters->count,
        .moment_count = trainer->optimizer.moment_count,
        .values = bytes_of(parameters->values, parameters->count),
    };
    for (size_t i = 0; i < state.moment_count; i++)
        state.moments[i] = bytes_of(trainer->optimizer.moments[i], parameters->count);
    CR_TRY(cr_trainer_identify(trainer));
    memcpy(state.digest, trainer->run, sizeof state.digest);
    return cr_state_write(path, sealing, &state);
}

static enum cr_status check_state(struct cr_trainer *trainer, const char *path, const struct cr_state *state)
{
    CR_TRY(cr_trainer_identify(trainer));
    if (memcmp(trainer->run, state->digest, sizeof trainer->run) != 0 ||
        state->count != trainer->structure->parameters.count ||
        state->moment_count != trainer->optimizer.moment_count)
        return cr_fail(CR_INVALID, "%s: the state of another run (model, data or settings differ)", path);
    if (trainer->data && state->steps > trainer->total_steps)
        return cr_fail(CR_INVALID, "%s: %llu steps done of %zu", path, (unsigned long long)state->steps,
                       trainer->total_steps);
    return CR_OK;
}

static void go_to(struct cr_trainer *trainer, const struct cr_state *state)
{
    trainer->optimizer.steps = state->updates;
    trainer->step = (size_t)state->steps;
    trainer->report = (struct cr_trainer_report){0};
}

static enum cr_status load_clear(struct cr_trainer *trainer, const char *path)
{
    CR_CLEANUP(cr_file_unmap) struct cr_slice bytes = {0};
    struct cr_state state;
    CR_TRY(cr_file_map(path, &bytes));
    CR_TRY(cr_state_parse(bytes, path, &state));
    CR_TRY(check_state(trainer, path, &state));
    memcpy(trainer->structure->parameters.values, state.values.data, state.values.size);
    for (size_t i = 0; i < state.moment_count; i++)
        memcpy(trainer->optimizer.moments[i], state.moments[i].data, state.moments[i].size);
    go_to(trainer, &state);
    return CR_OK;
}

// Reads directly into place, because there is no room for a second copy. The checksum at the end is read only
// so that the last chunk is complete; the seal already guarantees more.
static enum cr_status load_sealed(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                  const char *path)
{
    CR_CLEANUP(cr_seal_reader_release) struct cr_seal_reader *reader = NULL;
    unsigned char header[CR_STATE_HEADER_SIZE], checksum[CR_SHA256_SIZE];
    struct cr_state state;
    CR_TRY(cr_seal_open(path, sealing, &reader));
    CR_TRY(cr_seal_read(reader, header, sizeof header));
    CR_TRY(
        cr_state_parse_header((struct cr_slice){header, sizeof header}, cr_seal_size(reader), path, &state));
    CR_TRY(check_state(trainer, path, &state));
    size_t size = state.count * sizeof(float);
    CR_TRY(cr_seal_read(reader, trainer->structure->parameters.values, size));
    for (size_t i = 0; i < state.moment_count; i++)
        CR_TRY(cr_seal_read(reader, trainer->optimizer.moments[i], size));
    CR_TRY(cr_seal_read(reader, checksum, sizeof checksum));
    go_to(trainer, &state);
    return CR_OK;
}

enum cr_status cr_trainer_load_state(struct cr_trainer *trainer, const struct cr_sealing *sealing,
                                     const char *path)
{
    return sealing ? load_sealed(trainer, sealing, path) : load_clear(trainer, path);
}
