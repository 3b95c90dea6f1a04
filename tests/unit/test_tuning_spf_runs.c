// tuning/: runs of sparse fine-tuning. All places are full fine-tuning, none is none, and the first step's
// gradients are full fine-tuning's; a run goes on where it was; who has no data cannot calibrate.
#include "small_model.h"

#include "tuning/spf.h"
#include "tuning/trainer_parts.h"

#define DATA "tests/golden/lora-gqa-tied/data.jsonl"

static char q_proj[] = "q_proj", v_proj[] = "v_proj";

static struct cr_tuning_config run_of(int method)
{
    static char data[] = DATA;
    static char *modules[] = {q_proj, v_proj};
    struct cr_tuning_config config = small_run(data, modules, 2);
    config.method = method;
    config.spf = spf_choice(CR_SPF_WEIGHT_L1, CR_SPF_ELEMENT, 1);
    config.training.logging_steps = 1;
    return config;
}

struct losses {
    double loss[64];
    size_t count;
};

static void hear(void *context, const struct cr_event *event)
{
    struct losses *losses = context;
    if (strcmp(event->name, "train.step") != 0) return;
    for (size_t i = 0; i < event->field_count; i++)
        if (!strcmp(event->fields[i].name, "loss")) losses->loss[losses->count++] = event->fields[i].number;
}

static struct cr_trainer *start(const struct cr_tuning_config *config, struct losses *losses)
{
    struct cr_event_sink sink = {hear, losses};
    struct cr_trainer *trainer;
    *losses = (struct losses){.count = 0};
    assert_ok(cr_trainer_new(config, compute, &sink, &trainer));
    return trainer;
}

static void run(struct cr_trainer *trainer, size_t steps)
{
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, steps, &tally, NULL, NULL));
}

// Full fine-tuning of the linears alone: what else there is gets no gradient, and without weight decay none
// is no change.
static void keep_linears_alone(struct cr_trainer *trainer)
{
    struct cr_tuned *tuned = &trainer->structure->tuned;
    for (size_t i = 0; i < trainer->model->config.layers; i++)
        tuned->layers[i].norm1_gradient = tuned->layers[i].norm2_gradient = NULL;
    tuned->norm_gradient = tuned->embedding_gradient = tuned->head_gradient = NULL;
}

static void all_places_are_full_tuning(void **state)
{
    (void)state;
    struct losses full_losses, losses;
    struct cr_tuning_config config = run_of(CR_METHOD_FULL);
    struct cr_trainer *full = start(&config, &full_losses);
    keep_linears_alone(full);
    run(full, config.training.max_steps);
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
        config = run_of(CR_METHOD_SPF);
        config.spf.granularity = granularity;
        struct cr_trainer *spf = start(&config, &losses);
        struct cr_parameters *changes = cr_trainer_parameters(spf);
        assert_int_equal(changes->count, 2 * (24 * 24 + 2 * 8 * 24 + 24 * 24 + 3 * 56 * 24));
        run(spf, config.training.max_steps);
        double most = 0, apart = 0;
        assert_int_equal(losses.count, full_losses.count);
        for (size_t i = 0; i < losses.count; i++)
            most = fmax(most, fabs(losses.loss[i] - full_losses.loss[i]));
        assert_true(losses.loss[0] == full_losses.loss[0]);
        assert_true(losses.loss[11] < losses.loss[0] - 0.5);
        // Names and order of the linears are the same, and all places of one are its weight, row by row.
        const struct cr_safetensors *base = spf->model->weights;
        for (size_t i = 0; i < changes->item_count; i++) {
            const struct cr_parameter *item = &changes->items[i];
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)(strlen(item->name) - strlen(".values")), item->name);
            const struct cr_parameter *weight = cr_parameters_find(cr_trainer_parameters(full), name);
            const struct cr_tensor_entry *entry = cr_safetensors_find(base, name);
            for (size_t k = 0; k < item->count; k++) {
                float w;
                memcpy(&w, entry->bytes.data + k * sizeof w, sizeof w);
                double whole = (double)cr_trainer_parameters(full)->values[weight->offset + k];
                apart = fmax(apart, fabs((double)w + (double)changes->values[item->offset + k] - whole));
            }
        }
        print_message("all places, granularity %d: losses within %.1e, weights within %.1e\n", granularity,
                      most, apart);
        assert_true(most < 1e-5);
        assert_true(apart < 1e-3);
        cr_trainer_free(spf);
    }
    cr_trainer_free(full);
}

// The first step's gradients beside those of full fine-tuning, in a whole model: its weights are the base's.
static void first_gradients_are_full_tunings(void **state)
{
    (void)state;
    struct losses losses;
    struct cr_tuning_config config = run_of(CR_METHOD_FULL);
    config.training.max_grad_norm = 0;
    struct cr_trainer *full = start(&config, &losses);
    run(full, 1);
    config.method = CR_METHOD_SPF;
    config.spf = spf_choice(CR_SPF_FISHER, CR_SPF_ROW, 0.2);
    struct cr_trainer *spf = start(&config, &losses);
    run(spf, 1);
    const struct cr_parameters *mine = cr_trainer_parameters(spf), *whole = cr_trainer_parameters(full);
    for (size_t i = 0; i < mine->item_count; i++) {
        const struct cr_parameter *item = &mine->items[i];
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(item->name) - strlen(".values")), item->name);
        const struct cr_parameter *weight = cr_parameters_find(whole, name);
        size_t rows = 0, in = item->shape[1];
        for (size_t r = 0; r < weight->shape[0] && rows < item->shape[0]; r++)
            rows += memcmp(mine->gradients + item->offset + rows * in,
                           whole->gradients + weight->offset + r * in, in * sizeof(float)) == 0;
        assert_int_equal(rows, item->shape[0]); // each is there, in order, to the bit
    }
    cr_trainer_free(spf);
    cr_trainer_free(full);
}

static void no_place_is_none(void **state)
{
    (void)state;
    struct losses lora_losses, losses;
    struct cr_tuning_config config = run_of(CR_METHOD_LORA);
    config.lora.lora_dropout = 0.1;
    struct cr_trainer *lora = start(&config, &lora_losses);
    run(lora, 12);
    config.method = CR_METHOD_LORA_SPF;
    config.spf.density = 0;
    struct cr_trainer *both = start(&config, &losses);
    run(both, 12);
    assert_memory_equal(losses.loss, lora_losses.loss, 12 * sizeof *losses.loss);
    assert_int_equal(cr_trainer_parameters(both)->count, cr_trainer_parameters(lora)->count);
    assert_memory_equal(cr_trainer_parameters(both)->values, cr_trainer_parameters(lora)->values,
                        cr_trainer_parameters(lora)->count * sizeof(float));
    cr_trainer_free(both);
    cr_trainer_free(lora);
    config.method = CR_METHOD_SPF;
    assert_fails(CR_INVALID, "nothing would be trained", cr_trainer_new(&config, compute, NULL, &both));
    config.spf.density = 1e-6;
    assert_fails(CR_INVALID, "no room for one element", cr_trainer_new(&config, compute, NULL, &both));
}

// With LoRA on q and v, and all linears' rows: both act, and a state goes on to the same bits.
static void a_run_goes_on_where_it_was(void **state)
{
    (void)state;
    const char *path = path_in("state");
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++) {
        struct cr_tuning_config config = run_of(CR_METHOD_LORA_SPF);
        struct losses losses;
        config.lora.lora_dropout = 0.1;
        config.spf = spf_choice(criterion, criterion % 2 ? CR_SPF_ELEMENT : CR_SPF_HEAD, 0.15);
        struct cr_trainer *whole = start(&config, &losses), *first = start(&config, &losses);
        run(whole, 12);
        run(first, 5);
        assert_ok(cr_trainer_save_state(first, NULL, path));
        cr_trainer_free(first);
        struct cr_trainer *second = start(&config, &losses);
        assert_ok(cr_trainer_load_state(second, NULL, path));
        run(second, 7);
        const struct cr_parameters *values = cr_trainer_parameters(whole);
        assert_memory_equal(cr_trainer_parameters(second)->values, values->values,
                            values->count * sizeof(float));
        // LoRA's come first, and all of them moved.
        assert_non_null(strstr(values->items[0].name, "lora_A"));
        assert_non_null(strstr(values->items[values->item_count - 1].name, ".values"));
        for (size_t i = 0; i < values->item_count; i++) {
            double size = 0;
            for (size_t k = 0; k < values->items[i].count; k++)
                size += fabs((double)values->values[values->items[i].offset + k]);
            assert_true(size > 0);
        }
        cr_trainer_free(second);
        // Another seed chooses others where it is the seed that chooses.
        config.seed++;
        second = start(&config, &losses);
        assert_fails(CR_INVALID, "another run", cr_trainer_load_state(second, NULL, path));
        cr_trainer_free(second);
        cr_trainer_free(whole);
    }
}

// Of both together as of each: after steps with dropout an evaluation is that of a run which never dropped.
static void an_evaluation_drops_nothing(void **state)
{
    (void)state;
    static char held_out[] = DATA;
    const char *path = path_in("evaluated");
    struct cr_tuning_config config = run_of(CR_METHOD_LORA_SPF);
    struct cr_tally after = {0}, afresh = {0};
    struct losses losses;
    config.data.eval = held_out;
    config.lora.lora_dropout = 0.5;
    config.spf.density = 0.1;
    struct cr_trainer *trainer = start(&config, &losses), *other = start(&config, &losses);
    run(trainer, 4);
    assert_ok(cr_trainer_save_state(trainer, NULL, path));
    assert_ok(cr_trainer_load_state(other, NULL, path));
    assert_ok(cr_trainer_evaluate(trainer, &after, NULL, NULL));
    assert_ok(cr_trainer_evaluate(other, &afresh, NULL, NULL));
    assert_true(after.loss_sum == afresh.loss_sum);
    cr_trainer_free(other);
    cr_trainer_free(trainer);
}

// What preflight says is enough, and not much more.
static void memory_is_told_before(void **state)
{
    (void)state;
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
        struct cr_tuning_config config = run_of(CR_METHOD_SPF);
        size_t beside, choosing, named, most;
        struct cr_trainer *trainer;
        config.spf = spf_choice(CR_SPF_FISHER, granularity, 0.2);
        assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
        assert_ok(cr_spf_memory_of(&config.spf, &model->config, CR_F32, &beside));
        assert_ok(cr_spf_choosing_memory(&config.spf, &model->config, &choosing));
        assert_ok(cr_spf_budget(&config.spf, &model->config, &named, &most));
        const struct cr_structure *spf = trainer->structure;
        assert_true(spf->parameters.count <= most && spf->parameters.count > most - most / 8);
        size_t taken = spf->kind->memory(spf);
        print_message("granularity %d: %zu bytes beside the values, %zu told\n", granularity, taken, beside);
        assert_true(taken <= beside + 64);
        assert_true(granularity != CR_SPF_ELEMENT || beside < taken + taken / 8);
        // Sums of all and, of the largest module, a batch's gradient, scores and keys; and two counts.
        size_t keys = granularity == CR_SPF_ELEMENT ? 56 * 24 : 56, counts = 65536 * sizeof(size_t);
        assert_int_equal(choosing, (named + 2 * 56 * 24 + keys) * sizeof(float) + counts);
        cr_trainer_free(trainer);
        config.spf.criterion = CR_SPF_RANDOM;
        assert_ok(cr_spf_choosing_memory(&config.spf, &model->config, &choosing));
        assert_int_equal(choosing, keys * sizeof(float) + counts);
    }
}

// The digest covers every place: it is the same for any number of threads, and for no two choices.
static void choices_are_repeatable(void **state)
{
    (void)state;
    unsigned char seen[12][CR_SHA256_SIZE];
    size_t count = 0;
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++)
        for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
            struct cr_tuning_config config = run_of(CR_METHOD_SPF);
            config.spf = spf_choice(criterion, granularity, 0.2);
            for (size_t threads = 1; threads <= 3; threads += 2) {
                struct cr_compute *own;
                struct cr_trainer *trainer;
                unsigned char digest[CR_SHA256_SIZE];
                assert_ok(cr_compute_new(threads, &own));
                assert_ok(cr_trainer_new(&config, own, NULL, &trainer));
                assert_ok(cr_trainer_digest(trainer, digest));
                if (threads == 1)
                    memcpy(seen[count], digest, sizeof digest);
                else
                    assert_memory_equal(seen[count], digest, sizeof digest);
                cr_trainer_free(trainer);
                cr_compute_free(own);
            }
            for (size_t i = 0; i < count; i++) assert_memory_not_equal(seen[i], seen[count], CR_SHA256_SIZE);
            count++;
        }
}

// Rows of 4 to 28 labelled tokens, looked at one by one, choose what all of them in one batch do.
static void every_token_has_the_same_weight(void **state)
{
    (void)state;
    char data[64];
    unsigned char digest[2][CR_SHA256_SIZE];
    struct cr_tuning_config config = run_of(CR_METHOD_SPF);
    FILE *file = fopen(strcpy(data, path_in("uneven.jsonl")), "w");
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        fprintf(file, "{\"text\": \"%.*s\"}\n", i < 6 ? 4 : 28, "the cut heals well by morning" + i % 2);
    fclose(file);
    config.data.train = data;
    config.spf = spf_choice(CR_SPF_GRADIENT, CR_SPF_ROW, 0.2);
    for (size_t i = 0; i < 2; i++) {
        struct cr_trainer *trainer;
        config.training.per_device_train_batch_size = i ? 8 : 1;
        config.spf.calibration_batches = i ? 1 : 8;
        assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
        assert_ok(cr_trainer_digest(trainer, digest[i]));
        cr_trainer_free(trainer);
    }
    assert_memory_equal(digest[0], digest[1], CR_SHA256_SIZE);
}

// Two choices of one shape are two things to train, with LoRA beside them as without.
static void a_digest_tells_places_of_one_shape(void **state)
{
    (void)state;
    static char *modules[] = {q_proj};
    for (int method = CR_METHOD_SPF; method <= CR_METHOD_LORA_SPF; method++)
        for (int granularity = CR_SPF_ROW; granularity <= CR_SPF_ELEMENT; granularity++) {
            struct cr_tuning_config config = run_of(method);
            unsigned char digest[2][CR_SHA256_SIZE];
            size_t count[2];
            config.spf = spf_choice(CR_SPF_RANDOM, granularity, 0.25);
            config.spf.targets = (struct cr_targets){{modules, 1}, {(size_t[]){1}, 1}};
            for (size_t i = 0; i < 2; i++) {
                struct cr_trainer *trainer;
                config.seed = 3 + i;
                assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
                assert_ok(cr_trainer_digest(trainer, digest[i]));
                count[i] = cr_trainer_parameters(trainer)->count;
                cr_trainer_free(trainer);
            }
            assert_int_equal(count[0], count[1]);
            assert_memory_not_equal(digest[0], digest[1], CR_SHA256_SIZE);
        }
}

// Two elements of one row, which the counts of rows do not tell apart.
static void a_digest_tells_columns(void **state)
{
    (void)state;
    const struct cr_spf_config choice = spf_choice(CR_SPF_RANDOM, CR_SPF_ELEMENT, 0.1);
    unsigned char digest[2][CR_SHA256_SIZE];
    for (uint32_t i = 0; i < 2; i++) {
        struct cr_spf_selection selection = {0};
        struct cr_structure *spf;
        CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
        assert_ok(cr_spf_select(&choice, model, 3, NULL, &selection));
        selection.parts[0].elements.index[0] ^= i;
        assert_ok(cr_spf_new(&choice, &selection, model, false, &spf));
        assert_ok(cr_hasher_new(&hasher));
        assert_ok(spf->kind->describe(spf, hasher));
        assert_ok(cr_hasher_finish(hasher, digest[i]));
        cr_structure_free(spf);
    }
    assert_memory_not_equal(digest[0], digest[1], CR_SHA256_SIZE);
}

static enum cr_status same_scores(void *context, size_t i, float *score)
{
    size_t out, in;
    cr_module_shape(&model->config, (enum cr_module)(CR_Q + i % 7), &out, &in); // of all-linear
    for (size_t k = 0; k < out * in; k++) score[k] = *(const float *)context;
    return CR_OK;
}

// A head for which there is no room is followed by no row that would fit.
static void what_does_not_fit_ends_the_choice(void **state)
{
    (void)state;
    const struct cr_spf_config choice = spf_choice(CR_SPF_FISHER, CR_SPF_HEAD, 0.01);
    struct cr_spf_selection selection = {0};
    float score = 1;
    const struct cr_spf_source source = {same_scores, &score};
    assert_fails(CR_INVALID, "no room for one head or row",
                 cr_spf_select(&choice, model, 3, &source, &selection));
    score = NAN;
    assert_fails(CR_INVALID, "a weight's score is NaN or infinite",
                 cr_spf_select(&choice, model, 3, &source, &selection));
}

static void a_server_cannot_calibrate(void **state)
{
    (void)state;
    struct cr_tuning_config config = run_of(CR_METHOD_SPF);
    struct cr_trainer *trainer;
    config.data.train = NULL;
    config.spf.density = 0.1;
    config.spf.criterion = CR_SPF_FISHER;
    assert_fails(CR_INVALID, "server has not when it begins",
                 cr_trainer_new(&config, compute, NULL, &trainer));
    // By the checkpoint or the seed it chooses what a silo does.
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion += CR_SPF_RANDOM) {
        static char data[] = DATA;
        unsigned char digest[2][CR_SHA256_SIZE];
        config.spf.criterion = criterion;
        for (size_t i = 0; i < 2; i++) {
            config.data.train = i ? data : NULL;
            assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
            assert_ok(cr_trainer_digest(trainer, digest[i]));
            cr_trainer_free(trainer);
        }
        assert_memory_equal(digest[0], digest[1], CR_SHA256_SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_places_are_full_tuning),
        cmocka_unit_test(first_gradients_are_full_tunings),
        cmocka_unit_test(no_place_is_none),
        cmocka_unit_test(a_run_goes_on_where_it_was),
        cmocka_unit_test(memory_is_told_before),
        cmocka_unit_test(choices_are_repeatable),
        cmocka_unit_test(a_server_cannot_calibrate),
        cmocka_unit_test(an_evaluation_drops_nothing),
        cmocka_unit_test(a_digest_tells_places_of_one_shape),
        cmocka_unit_test(a_digest_tells_columns),
        cmocka_unit_test(what_does_not_fit_ends_the_choice),
        cmocka_unit_test(every_token_has_the_same_weight),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
