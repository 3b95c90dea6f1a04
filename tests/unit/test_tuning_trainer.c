// tuning/: that a run is the same however it is cut, threaded or accumulated; averaging; errors.
#include "trainer_support.h"

#include "tuning/trainer_parts.h"

#include <math.h>

static char q_prj[] = "q_prj";
static char *wrong_modules[] = {q_prj};

// |a − b| / |moved since the start|: what of the training differs.
static double difference(const float *a, const float *b, const float *start, size_t count)
{
    double apart = 0, moved = 0;
    for (size_t i = 0; i < count; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        moved += ((double)b[i] - (double)start[i]) * ((double)b[i] - (double)start[i]);
    }
    assert_true(moved > 0);
    return sqrt(apart / moved);
}

static void check_cuts(struct fixture *fixture, struct cr_tuning_config config)
{
    config.data.eval = fixture->silo[0];
    struct cr_trainer *whole = new_trainer(&config, fixture->compute);
    struct cr_trainer *pieces = new_trainer(&config, fixture->compute);
    struct cr_compute *single;
    assert_ok(cr_compute_new(1, &single));
    struct cr_trainer *alone = new_trainer(&config, single);
    struct cr_tally tally = {0}, sum = {0}, other = {0};
    assert_ok(cr_trainer_run(whole, 12, &tally, NULL, NULL));
    for (size_t at = 0, cut = 1; at < 12; at += cut, cut = 12 - at < 4 ? 12 - at : 4) {
        assert_ok(cr_trainer_run(pieces, cut, &sum, NULL, NULL));
        // Evaluation between must leave no trace.
        assert_ok(cr_trainer_evaluate(pieces, &other, NULL, NULL));
    }
    assert_same_values(whole, pieces);
    assert_true(tally.loss_sum == sum.loss_sum || fabs(tally.loss_sum - sum.loss_sum) < 1e-9);
    assert_int_equal(tally.labelled, sum.labelled);
    assert_int_equal(tally.steps, 12);
    assert_int_equal(cr_trainer_step(pieces), 12);
    assert_ok(cr_trainer_run(alone, 12, &other, NULL, NULL));
    assert_same_values(whole, alone);
    assert_fails(CR_INVALID, "0 of 12 are left", cr_trainer_run(whole, 1, &tally, NULL, NULL));
    cr_trainer_free(whole);
    cr_trainer_free(pieces);
    cr_trainer_free(alone);
    cr_compute_free(single);
}

static void a_run_is_the_same_however_it_is_cut(void **state)
{
    check_cuts(*state, dropping_run(*state));
    check_cuts(*state, prefix_run(*state));
}

static void seed_and_dropout_matter(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = dropping_run(fixture);
    struct cr_trainer *one = new_trainer(&config, fixture->compute);
    config.lora.lora_dropout = 0;
    struct cr_trainer *two = new_trainer(&config, fixture->compute);
    config.seed++;
    struct cr_trainer *three = new_trainer(&config, fixture->compute);
    size_t size = cr_trainer_parameters(one)->count * sizeof(float);
    assert_same_values(one, two);
    assert_memory_not_equal(cr_trainer_parameters(two)->values, cr_trainer_parameters(three)->values, size);
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(one, 4, &tally, NULL, NULL));
    assert_ok(cr_trainer_run(two, 4, &tally, NULL, NULL));
    assert_memory_not_equal(cr_trainer_parameters(one)->values, cr_trainer_parameters(two)->values, size);
    cr_trainer_free(one);
    cr_trainer_free(two);
    cr_trainer_free(three);
}

// Losses of two steps over one text alone, which is in the data `times`, with values that do not move.
// Without dropout they are the same.
static void losses_of_one_text(struct fixture *fixture, size_t times, double dropout, double losses[2])
{
    char path[64], rows[256] = "";
    place(fixture, "one.jsonl", path);
    for (size_t i = 0; i < times; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"text\": \"%s\"}\n", texts[1]);
    write_text(path, rows);
    struct cr_tuning_config config = small_run(path, all_modules, 1);
    config.lora.lora_dropout = dropout;
    config.training.learning_rate = 0;
    config.training.per_device_train_batch_size = 1;
    config.training.gradient_accumulation_steps = times;
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    const struct cr_parameters *parameters = cr_trainer_parameters(trainer);
    for (size_t i = 0; i < parameters->count; i++) parameters->values[i] = sinf((float)i) / 4;
    for (size_t step = 0; step < 2; step++) {
        struct cr_tally tally = {0};
        assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
        losses[step] = tally.loss_sum;
    }
    cr_trainer_free(trainer);
}

static void every_micro_batch_drops_anew(void **state)
{
    double kept[2], steps[2], accumulated[2];
    losses_of_one_text(*state, 1, 0, kept);
    assert_true(kept[0] == kept[1]);
    losses_of_one_text(*state, 1, 0.5, steps);
    assert_true(steps[0] != steps[1] && steps[0] != kept[0]);
    // Two micro-batches of one step drop what two steps of one drop.
    losses_of_one_text(*state, 2, 0.5, accumulated);
    assert_true(fabs(accumulated[0] - (steps[0] + steps[1])) < 1e-9);
}

static void bfloat16_follows_float32(void **state)
{
    struct fixture *fixture = *state;
    if (!cr_compute_has_bf16(fixture->compute)) skip();
    double loss[2][2];
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++) {
        for (int dtype = CR_COMPUTE_BFLOAT16; dtype <= CR_COMPUTE_FLOAT32; dtype++) {
            struct cr_tuning_config config = small_run(fixture->all, all_modules, 1);
            if (method == CR_METHOD_PREFIX_TUNING) config = prefix_run(fixture);
            config.method = method;
            config.dtype = dtype;
            config.data.eval = fixture->all;
            struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
            struct cr_tally before = {0}, run = {0}, after = {0};
            assert_ok(cr_trainer_evaluate(trainer, &before, NULL, NULL));
            assert_ok(cr_trainer_run(trainer, 12, &run, NULL, NULL));
            assert_ok(cr_trainer_evaluate(trainer, &after, NULL, NULL));
            loss[dtype][0] = before.loss_sum / (double)before.labelled;
            loss[dtype][1] = after.loss_sum / (double)after.labelled;
            cr_trainer_free(trainer);
        }
        double apart[2] = {fabs(loss[0][0] - loss[1][0]), fabs(loss[0][1] - loss[1][1])};
        print_message("bfloat16 against float32: %.1e before, %.1e after %.2f of progress\n", apart[0],
                      apart[1], loss[1][0] - loss[1][1]);
        assert_true(apart[0] > 0 && apart[0] < 0.02);
        assert_true(apart[1] < 0.1 * (loss[1][0] - loss[1][1]));
    }
}

// As `carrel eval` scores it, which knows no end token of a text.
static void an_end_token_is_learned_and_not_scored(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    config.training.per_device_train_batch_size = TEXTS;
    config.training.gradient_accumulation_steps = 1;
    config.data.eval = fixture->all;
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally learned = {0}, scored = {0};
    assert_ok(cr_trainer_run(trainer, 1, &learned, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &scored, NULL, NULL));
    assert_int_equal(learned.labelled, scored.labelled + TEXTS);
    cr_trainer_free(trainer);
}

static void accumulation_is_a_larger_batch(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, all_modules, 1);
    config.training.optim = CR_OPTIMIZER_SGD;
    config.training.learning_rate = 0.5;
    config.training.warmup_steps = 0;
    struct cr_trainer *start = new_trainer(&config, fixture->compute);
    struct cr_trainer *accumulated = new_trainer(&config, fixture->compute);
    config.training.per_device_train_batch_size = 4;
    config.training.gradient_accumulation_steps = 1;
    struct cr_trainer *batched = new_trainer(&config, fixture->compute);
    struct cr_tally a = {0}, b = {0};
    assert_ok(cr_trainer_run(accumulated, 6, &a, NULL, NULL));
    assert_ok(cr_trainer_run(batched, 6, &b, NULL, NULL));
    assert_int_equal(a.labelled, b.labelled);
    double apart =
        difference(cr_trainer_parameters(accumulated)->values, cr_trainer_parameters(batched)->values,
                   cr_trainer_parameters(start)->values, cr_trainer_parameters(start)->count);
    print_message("accumulation against a larger batch: %.1e\n", apart);
    assert_true(apart < 1e-5);
    cr_trainer_free(start);
    cr_trainer_free(accumulated);
    cr_trainer_free(batched);
}

// A step over all examples is the same mean over the same labelled tokens, however they share rows; and a
// packed run is taken up like any other.
static void packing_changes_rounding_alone(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, all_modules, 1);
    config.training.per_device_train_batch_size = TEXTS;
    config.training.gradient_accumulation_steps = 1;
    config.training.max_steps = 3;
    struct cr_trainer *alone = new_trainer(&config, fixture->compute);
    config.data.packing = true;
    struct cr_trainer *packed = new_trainer(&config, fixture->compute);
    struct cr_tally a = {0}, b = {0};
    assert_ok(cr_trainer_run(alone, 3, &a, NULL, NULL));
    assert_ok(cr_trainer_run(packed, 3, &b, NULL, NULL));
    assert_true(a.labelled == b.labelled && a.tokens == b.tokens);
    assert_true(fabs(a.loss_sum / b.loss_sum - 1) < 1e-5);
    const struct cr_parameters *x = cr_trainer_parameters(alone), *y = cr_trainer_parameters(packed);
    for (size_t i = 0; i < x->count; i++) assert_true(fabsf(x->values[i] - y->values[i]) < 1e-4f);
    cr_trainer_free(alone);
    cr_trainer_free(packed);

    // Fewer rows a step make more steps of an epoch than there are packs' batches, and the state of one is
    // not the other's.
    config.training.per_device_train_batch_size = 2;
    config.training.max_steps = 0;
    config.training.num_train_epochs = 2;
    struct cr_trainer *whole = new_trainer(&config, fixture->compute);
    struct cr_trainer *first = new_trainer(&config, fixture->compute);
    struct cr_trainer *second = new_trainer(&config, fixture->compute);
    config.data.packing = false;
    struct cr_trainer *unpacked = new_trainer(&config, fixture->compute);
    size_t steps = cr_trainer_total_steps(whole);
    assert_true(steps >= 4 && steps < cr_trainer_total_steps(unpacked));
    char path[64];
    place(fixture, "packed.state", path);
    assert_ok(cr_trainer_run(whole, steps, &a, NULL, NULL));
    assert_ok(cr_trainer_run(first, steps - 2, &a, NULL, NULL));
    assert_ok(cr_trainer_save_state(first, NULL, path));
    assert_ok(cr_trainer_load_state(second, NULL, path));
    assert_ok(cr_trainer_run(second, 2, &a, NULL, NULL));
    assert_same_values(whole, second);
    assert_fails(CR_INVALID, path, cr_trainer_load_state(unpacked, NULL, path));
    cr_trainer_free(whole);
    cr_trainer_free(first);
    cr_trainer_free(second);
    cr_trainer_free(unpacked);
}

static void averaged_silos_are_pooled_training(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, all_modules, 1);
    config.training = (struct cr_training_config){
        .optim = CR_OPTIMIZER_SGD,
        .learning_rate = 0.5,
        .lr_scheduler_type = CR_SCHEDULE_CONSTANT,
        .max_steps = 4,
        .per_device_train_batch_size = TEXTS,
        .gradient_accumulation_steps = 1,
    };
    struct cr_trainer *pooled = new_trainer(&config, fixture->compute);
    size_t count = cr_trainer_parameters(pooled)->count;
    float *start, *global;
    double *sum;
    assert_ok(cr_allocate(count, sizeof *start, &start));
    assert_ok(cr_allocate(count, sizeof *global, &global));
    assert_ok(cr_allocate(count, sizeof *sum, &sum));
    memcpy(start, cr_trainer_parameters(pooled)->values, count * sizeof *start);
    memcpy(global, start, count * sizeof *start);
    struct cr_trainer *silos[3];
    for (size_t s = 0; s < 3; s++) {
        config.data.train = fixture->silo[s];
        silos[s] = new_trainer(&config, fixture->compute);
    }
    for (size_t round = 0; round < 4; round++) {
        struct cr_tally all = {0};
        assert_ok(cr_trainer_run(pooled, 1, &all, NULL, NULL));
        memset(sum, 0, count * sizeof *sum);
        size_t labelled = 0;
        for (size_t s = 0; s < 3; s++) {
            struct cr_tally tally = {0};
            memcpy(cr_trainer_parameters(silos[s])->values, global, count * sizeof *global);
            assert_ok(cr_trainer_run(silos[s], 1, &tally, NULL, NULL));
            for (size_t i = 0; i < count; i++)
                sum[i] += (double)tally.labelled * (double)cr_trainer_parameters(silos[s])->values[i];
            labelled += tally.labelled;
        }
        assert_int_equal(labelled, all.labelled);
        for (size_t i = 0; i < count; i++) global[i] = (float)(sum[i] / (double)labelled);
    }
    double apart = difference(global, cr_trainer_parameters(pooled)->values, start, count);
    print_message("three silos against pooled training: %.1e\n", apart);
    assert_true(apart < 1e-5);
    for (size_t s = 0; s < 3; s++) cr_trainer_free(silos[s]);
    cr_trainer_free(pooled);
    free(start);
    free(global);
    free(sum);
}

static void full_tuning_learns_and_is_read_back(void **state)
{
    struct fixture *fixture = *state;
    char output[64], path[64];
    place(fixture, "full", output);
    place(fixture, "state", path);
    struct cr_tuning_config config = small_run(fixture->all, NULL, 0);
    config.method = CR_METHOD_FULL;
    config.random_init = true;
    config.training.max_steps = 40;
    config.data.eval = fixture->all;
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally before = {0}, run = {0}, after = {0}, read = {0};
    assert_ok(cr_trainer_evaluate(trainer, &before, NULL, NULL));
    double start = before.loss_sum / (double)before.labelled;
    assert_true(fabs(start - log(258)) < 1); // random weights know nothing of 258 tokens
    assert_ok(cr_trainer_run(trainer, 20, &run, NULL, NULL));
    assert_ok(cr_trainer_save_state(trainer, NULL, path));
    assert_ok(cr_trainer_run(trainer, 20, &run, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &after, NULL, NULL));
    assert_true(after.loss_sum < 0.7 * before.loss_sum);
    assert_ok(cr_trainer_save(trainer, output));

    struct cr_trainer *resumed = new_trainer(&config, fixture->compute);
    assert_ok(cr_trainer_load_state(resumed, NULL, path));
    assert_ok(cr_trainer_run(resumed, 20, &run, NULL, NULL));
    assert_same_values(trainer, resumed);

    config.random_init = false;
    config.model_name_or_path = output;
    struct cr_trainer *reader = new_trainer(&config, fixture->compute);
    assert_same_values(trainer, reader);
    assert_ok(cr_trainer_evaluate(reader, &read, NULL, NULL));
    assert_true(read.loss_sum == after.loss_sum);
    cr_trainer_free(trainer);
    cr_trainer_free(resumed);
    cr_trainer_free(reader);
}

// As Transformers starts a gpt2: the ends of the two residual paths of each layer lower, by the root of their
// number.
static void random_weights_of_gpt2_are_lower_at_the_ends_of_a_layer(void **state)
{
    struct fixture *fixture = *state;
    static char gpt2[] = "tests/golden/lora-gpt2/model"; // 2 layers, an initializer_range of 0.2
    struct cr_tuning_config config = small_run(fixture->all, NULL, 0);
    config.model_name_or_path = gpt2;
    config.method = CR_METHOD_FULL;
    config.random_init = true;
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    const struct cr_parameters *parameters = cr_trainer_parameters(trainer);
    size_t ends = 0;
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        double squares = 0;
        bool bias = strstr(item->name, ".bias") != NULL;
        for (size_t k = 0; item->rank == 1 && k < item->count; k++)
            assert_true(parameters->values[item->offset + k] == (bias ? 0 : 1));
        if (item->rank == 1) continue;
        for (size_t k = 0; k < item->count; k++)
            squares += pow((double)parameters->values[item->offset + k], 2);
        bool end = strstr(item->name, ".c_proj.weight") != NULL;
        double deviation = sqrt(squares / (double)item->count) / (end ? 0.1 : 0.2);
        assert_true(deviation > 0.9 && deviation < 1.1);
        ends += end;
    }
    assert_int_equal(ends, 4);
    const struct cr_parameter *first = cr_parameters_find(parameters, "transformer.h.0.attn.c_attn.weight");
    const struct cr_parameter *second = cr_parameters_find(parameters, "transformer.h.1.attn.c_attn.weight");
    assert_memory_not_equal(parameters->values + first->offset, parameters->values + second->offset,
                            first->count * sizeof(float));
    cr_trainer_free(trainer);
}

// A base of config.json and tokenizer alone, whose config asks for another type than float32, and for
// matrices that are checked in more than one piece when they are written.
static void make_empty_base(struct fixture *fixture, const char *name, const char *type, char *base)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    place(fixture, name, base);
    assert_ok(cr_directory_make(base, false));
    for (size_t i = 0; i < 3; i++) {
        char from[128], to[128];
        snprintf(from, sizeof from, "%s/%s", SMALL_MODEL, names[i]);
        snprintf(to, sizeof to, "%s/%s", base, names[i]);
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer changed = {0};
        assert_ok(cr_file_read(from, 1 << 20, &text));
        const char *dtype = i == 0 ? strstr(cr_buffer_text(&text), "\"float32\"") : NULL;
        size_t before = dtype ? (size_t)(dtype - cr_buffer_text(&text)) : text.size;
        assert_ok(cr_append(&changed, text.data, before));
        if (dtype) assert_ok(cr_append_format(&changed, "%s%s", type, dtype + strlen("\"float32\"")));
        if (dtype) memcpy(strstr((char *)changed.data, "56,\n "), "3000,", 5); // intermediate_size
        write_bytes(to, cr_buffer_slice(&changed));
    }
}

// All weights of such a base, from the beginning.
static struct cr_tuning_config fresh_run(struct fixture *fixture, char *base)
{
    struct cr_tuning_config config = small_run(fixture->all, NULL, 0);
    config.method = CR_METHOD_FULL;
    config.random_init = true;
    config.model_name_or_path = base;
    return config;
}

// Weights are written in the type of the base's, which must have room for what was learned.
static void weights_beyond_the_type_are_not_written(void **state)
{
    struct fixture *fixture = *state;
    char base[64], output[64], path[128];
    make_empty_base(fixture, "halves", "\"float16\"", base);
    place(fixture, "beyond", output);
    snprintf(path, sizeof path, "%s/model.safetensors", output);
    struct cr_tuning_config config = fresh_run(fixture, base);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    const struct cr_parameters *parameters = cr_trainer_parameters(trainer);
    const struct cr_parameter *item = cr_parameters_find(parameters, "model.layers.1.mlp.up_proj.weight");
    float *last = parameters->values + item->offset + item->count - 1;
    *last = -65520; // the first that rounds to infinity
    assert_fails(
        CR_INVALID,
        "model.safetensors: tensor model.layers.1.mlp.up_proj.weight: a value of 65520 is beyond F16",
        cr_trainer_save(trainer, output));
    assert_false(cr_file_exists(path));
    *last = -65519;
    assert_ok(cr_trainer_save(trainer, output));
    assert_true(cr_file_exists(path));
    cr_trainer_free(trainer);
}

static void random_weights_are_stored_as_the_config_says(void **state)
{
    struct fixture *fixture = *state;
    char base[64], output[64];
    make_empty_base(fixture, "base", "\"bfloat16\"", base);
    place(fixture, "half", output);
    struct cr_tuning_config config = fresh_run(fixture, base);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, 3, &tally, NULL, NULL));
    float *first = cr_trainer_parameters(trainer)->values, before = *first;
    *first = INFINITY;
    assert_fails(CR_INVALID, "step 3 left parameters NaN", cr_trainer_save(trainer, output));
    *first = before;
    assert_ok(cr_trainer_save(trainer, output));
    config.random_init = false;
    assert_fails(CR_NOT_FOUND, "model.safetensors",
                 cr_trainer_new(&config, fixture->compute, NULL, &(struct cr_trainer *){0}));
    config.model_name_or_path = output;
    struct cr_trainer *reader = new_trainer(&config, fixture->compute);
    const struct cr_parameters *kept = cr_trainer_parameters(trainer), *read = cr_trainer_parameters(reader);
    size_t rounded = 0;
    for (size_t i = 0; i < kept->count; i++) {
        uint32_t bits;
        memcpy(&bits, &read->values[i], sizeof bits);
        assert_int_equal(bits & 0xffff, 0);
        assert_true(fabsf(read->values[i] - kept->values[i]) <= fabsf(kept->values[i]) / 256);
        rounded += read->values[i] != kept->values[i];
    }
    assert_true(rounded > kept->count / 2);
    cr_trainer_free(trainer);
    cr_trainer_free(reader);
}

static bool stop_after_three(void *context)
{
    size_t *asked = context;
    return ++*asked < 3;
}

static void a_run_can_be_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally tally = {0};
    size_t asked = 0;
    assert_fails(CR_CANCELLED, "after step 3 of 12",
                 cr_trainer_run(trainer, 12, &tally, stop_after_three, &asked));
    assert_int_equal(cr_trainer_step(trainer), 3);
    assert_int_equal(tally.steps, 3);
    cr_trainer_free(trainer);
}

static void digests_tell_structures_apart(void **state)
{
    struct fixture *fixture = *state;
    unsigned char digest[4][32];
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            config.data.train = fixture->silo[0], config.seed++; // another silo of the same federation
        if (i == 2) config.lora.r = 5;
        if (i == 3) config.lora.r = 4, config.lora.lora_alpha = 3;
        struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
        assert_ok(cr_trainer_digest(trainer, digest[i]));
        cr_trainer_free(trainer);
    }
    assert_memory_equal(digest[0], digest[1], 32);
    assert_memory_not_equal(digest[0], digest[2], 32);
    assert_memory_not_equal(digest[0], digest[3], 32);
}

static void a_server_has_no_training_data(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(NULL, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally tally = {0};
    assert_int_equal(cr_trainer_total_steps(trainer), 0);
    assert_fails(CR_INVALID, "data.train", cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    assert_fails(CR_INVALID, "data.eval", cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    cr_trainer_free(trainer);
    config.data.eval = fixture->all;
    trainer = new_trainer(&config, fixture->compute);
    size_t asked = 0;
    assert_fails(CR_CANCELLED, "evaluation: stopped after ",
                 cr_trainer_evaluate(trainer, &tally, stop_after_three, &asked));
    assert_true(asked == 3 && tally.examples == 0);
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    assert_true(tally.labelled > 0 && isfinite(tally.loss_sum));
    cr_trainer_free(trainer);
}

static void what_cannot_be_trained_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct cr_trainer *trainer;
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    config.data.max_length = 65;
    assert_fails(CR_INVALID, "context is 64", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, wrong_modules, 1);
    assert_fails(CR_INVALID, "\"q_prj\": no such linear module (known: q_proj, k_proj",
                 cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, (char *[]){(char[]){"q_proj|k_proj"}}, 1);
    assert_fails(CR_INVALID, "\"q_proj|k_proj\": a regular expression that matches no linear module",
                 cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.lora.targets.layers = (struct cr_size_list){(size_t[]){2}, 1};
    assert_fails(CR_INVALID, "layers 0 to 1", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.training.per_device_train_batch_size = 0;
    assert_fails(CR_INVALID, "batch_size", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.lora.lora_dropout = 1;
    assert_fails(CR_INVALID, "lora_dropout", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.training.adam_epsilon = 0;
    assert_fails(CR_INVALID, "adam_epsilon", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.training.max_steps = 0;
    config.training.num_train_epochs = 0;
    assert_fails(CR_INVALID, "num_train_epochs: 0, and max_steps is 0 too",
                 cr_trainer_new(&config, fixture->compute, NULL, &trainer));
    config = small_run(fixture->all, two_modules, 2);
    config.random_init = true;
    assert_fails(CR_INVALID, "random_init", cr_trainer_new(&config, fixture->compute, NULL, &trainer));
}

static enum cr_status spoil_gradient(struct cr_structure *structure)
{
    structure->parameters.gradients[1] = INFINITY;
    return CR_OK;
}

static void a_step_without_a_number_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct cr_tuning_config config = small_run(fixture->all, two_modules, 2);
    struct cr_trainer *trainer = new_trainer(&config, fixture->compute);
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, 2, &tally, NULL, NULL));
    struct cr_structure_kind spoilt = *trainer->structure->kind;
    spoilt.finish_gradient = spoil_gradient;
    trainer->structure->kind = &spoilt;
    assert_fails(CR_INVALID, "training step 3: the gradient", cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    cr_trainer_parameters(trainer)->values[0] = NAN;
    assert_fails(CR_INVALID, "training step 3: the loss", cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    assert_int_equal(cr_trainer_step(trainer), 2);
    assert_fails(CR_INVALID, "there is no step 999999 of", cr_trainer_seek(trainer, 999999));
    cr_trainer_free(trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_the_same_however_it_is_cut),
        cmocka_unit_test(seed_and_dropout_matter),
        cmocka_unit_test(every_micro_batch_drops_anew),
        cmocka_unit_test(bfloat16_follows_float32),
        cmocka_unit_test(an_end_token_is_learned_and_not_scored),
        cmocka_unit_test(accumulation_is_a_larger_batch),
        cmocka_unit_test(packing_changes_rounding_alone),
        cmocka_unit_test(averaged_silos_are_pooled_training),
        cmocka_unit_test(full_tuning_learns_and_is_read_back),
        cmocka_unit_test(random_weights_of_gpt2_are_lower_at_the_ends_of_a_layer),
        cmocka_unit_test(weights_beyond_the_type_are_not_written),
        cmocka_unit_test(random_weights_are_stored_as_the_config_says),
        cmocka_unit_test(a_run_can_be_stopped),
        cmocka_unit_test(digests_tell_structures_apart),
        cmocka_unit_test(a_server_has_no_training_data),
        cmocka_unit_test(what_cannot_be_trained_is_refused),
        cmocka_unit_test(a_step_without_a_number_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
