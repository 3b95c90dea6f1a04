// tuning/: micro-batches that take turns while their products are computed elsewhere. Nothing of a run may
// tell that they did but rounding, and nothing at all when it did.
#include "tuning_support.h"

#include "cli/memory.h"
#include "tuning/schedule.h"
#include "tuning/session.h"
#include "tuning/trainer_parts.h"

#include <math.h>

static char all_linear[] = "all-linear";
static char *all_modules[] = {all_linear};
static const char *const texts[] = {
    "the ward is quiet", "a fever falls by morning", "he asked for water", "rest, then walk",
    "no pain since",     "her pulse is slow",        "two tablets",        "the cut heals well",
    "come back soon",    "a cough at night",         "blood is drawn now", "the child sleeps at last.",
};
enum { TEXTS = sizeof texts / sizeof *texts, STEPS = 6, MOST_PRODUCTS = 512 };

static char folder[32], data[64];

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    snprintf(data, sizeof data, "%s/data.jsonl", folder);
    char rows[4096] = "";
    for (size_t i = 0; i < TEXTS; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"text\": \"%s\"}\n", texts[i]);
    write_text(data, rows);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

// Products that are computed here, but as if elsewhere: the lane passes on before it has the answer, and once
// more after it.
static struct {
    const struct cr_linear_provider *local;
    size_t products;            // so far
    size_t fails;               // the number of the product that does; 0: none
    size_t lane[MOST_PRODUCTS]; // of the first products
} outside;

static enum cr_status ask(struct cr_lanes *lanes)
{
    if (outside.products < MOST_PRODUCTS) outside.lane[outside.products] = cr_lanes_current(lanes);
    if (++outside.products == outside.fails)
        return cr_fail(CR_PROTOCOL, "accelerator: a wrong answer in lane %zu", cr_lanes_current(lanes));
    return cr_lanes_pass_on(lanes);
}

static enum cr_status outside_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    CR_TRY(ask(self->state));
    CR_TRY(outside.local->forward(self, x, y));
    return cr_lanes_pass_on(self->state);
}

static enum cr_status outside_backward(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                                       bool accumulate)
{
    CR_TRY(ask(self->state));
    CR_TRY(outside.local->backward(self, dy, dx, accumulate));
    return cr_lanes_pass_on(self->state);
}

static void outside_release(struct cr_linear *self)
{
    outside.local->release(self);
}

static void move_outside(struct cr_linear *linear, struct cr_lanes *lanes)
{
    static const struct cr_linear_provider provider = {outside_forward, outside_backward, outside_release};
    outside.local = linear->provider;
    linear->provider = &provider;
    linear->state = lanes;
}

static struct cr_trainer *new_trainer(const struct cr_tuning_config *config, struct cr_compute *compute)
{
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    assert_int_equal(cr_lanes_count(trainer->lanes), cr_training_lanes(&config->training));
    for (size_t i = 0; i < trainer->model->config.layers; i++) {
        struct cr_layer *layer = &trainer->model->layers[i];
        move_outside(&layer->qkv, trainer->lanes);
        move_outside(&layer->o, trainer->lanes);
        move_outside(&layer->gate_up, trainer->lanes);
        move_outside(&layer->down, trainer->lanes);
    }
    move_outside(&trainer->model->head, trainer->lanes);
    outside.products = outside.fails = 0;
    return trainer;
}

static struct cr_compute *new_compute(size_t threads)
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new(threads, &compute));
    return compute;
}

// A run of the method in two lanes; LoRA with dropout, a prefix with its projection.
static struct cr_tuning_config alternating(int method, size_t batch, size_t accumulation)
{
    struct cr_tuning_config config = small_run(data, all_modules, 1);
    config.method = method;
    config.random_init = method == CR_METHOD_FULL;
    config.lora.lora_dropout = 0.1;
    config.prefix_tuning = (struct cr_prefix_config){
        .num_virtual_tokens = 6, .prefix_projection = true, .encoder_hidden_size = 12};
    config.training.max_steps = STEPS;
    config.training.per_device_train_batch_size = batch;
    config.training.gradient_accumulation_steps = accumulation;
    config.training.lanes = 2;
    return config;
}

// What a run ends with.
struct outcome {
    double loss_sum;
    size_t labelled, count;
    float *values, *gradients;
};

static struct outcome outcome_of(const struct cr_trainer *trainer, const struct cr_tally *tally)
{
    const struct cr_parameters *parameters = &trainer->structure->parameters;
    struct outcome outcome = {tally->loss_sum, tally->labelled, parameters->count, NULL, NULL};
    assert_ok(cr_allocate(outcome.count, sizeof(float), &outcome.values));
    assert_ok(cr_allocate(outcome.count, sizeof(float), &outcome.gradients));
    memcpy(outcome.values, parameters->values, outcome.count * sizeof(float));
    memcpy(outcome.gradients, parameters->gradients, outcome.count * sizeof(float));
    return outcome;
}

static struct outcome run(const struct cr_tuning_config *config, size_t threads, size_t steps)
{
    struct cr_compute *compute = new_compute(threads);
    struct cr_trainer *trainer = new_trainer(config, compute);
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, steps, &tally, NULL, NULL));
    struct outcome outcome = outcome_of(trainer, &tally);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return outcome;
}

static void release(struct outcome *outcome)
{
    free(outcome->values);
    free(outcome->gradients);
}

// Compares and releases the second.
static void assert_same(const struct outcome *a, struct outcome b)
{
    assert_int_equal(a->labelled, b.labelled);
    assert_true(a->loss_sum == b.loss_sum);
    assert_int_equal(a->count, b.count);
    assert_memory_equal(a->values, b.values, b.count * sizeof(float));
    assert_memory_equal(a->gradients, b.gradients, b.count * sizeof(float));
    release(&b);
}

static double apart(const float *a, const float *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    assert_true(size > 0);
    return sqrt(difference / size);
}

// Compares what two orders of the same sums gave, and releases the second: bits and all but for full tuning,
// where a tied head and the embedding add to one gradient in turn.
static void assert_same_but_for_order(int method, const struct outcome *a, struct outcome b)
{
    if (method != CR_METHOD_FULL) {
        assert_same(a, b);
        return;
    }
    double values = apart(a->values, b.values, b.count),
           gradients = apart(a->gradients, b.gradients, b.count);
    assert_int_equal(a->labelled, b.labelled);
    assert_true(fabs(a->loss_sum / b.loss_sum - 1) < 1e-6 && values < 1e-4 && gradients < 1e-4);
    release(&b);
}

// Batches and accumulation: two micro-batches, three, one that is halved (unequally, and at the end of an
// epoch into one pack each), one that cannot be.
static const size_t shapes[][2] = {{2, 2}, {2, 3}, {5, 1}, {1, 1}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void a_run_in_lanes_repeats_bit_for_bit(void **state)
{
    (void)state;
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++)
        for (size_t s = 0; s < SHAPES; s++) {
            struct cr_tuning_config config = alternating(method, shapes[s][0], shapes[s][1]);
            if (s % 2 == 0) config.dtype = CR_COMPUTE_BFLOAT16;
            struct outcome first = run(&config, 1, STEPS);
            for (size_t threads = 1; threads <= 3; threads++)
                assert_same(&first, run(&config, threads, STEPS));
            release(&first);
        }
}

// Where lanes do not change how a step is cut, they change nothing: each gradient is added up in the same
// order, since two walks over short batches pass on equally often.
static void turns_change_nothing_but_time(void **state)
{
    (void)state;
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++)
        for (size_t s = 0; s < 2; s++) {
            struct cr_tuning_config config = alternating(method, shapes[s][0], shapes[s][1]);
            struct outcome both = run(&config, 2, STEPS);
            config.training.lanes = 1;
            assert_same_but_for_order(method, &both, run(&config, 2, STEPS));
            release(&both);
        }
}

// The step of halves is that of the whole batch, to rounding.
static void check_halves(int method, size_t batch)
{
    for (int dtype = CR_COMPUTE_BFLOAT16; dtype <= CR_COMPUTE_FLOAT32; dtype++) {
        struct cr_tuning_config config = alternating(method, batch, 1);
        config.dtype = dtype;
        config.lora.lora_dropout = 0;
        config.data.max_length = 6; // which every text has
        config.training.warmup_steps = 0;
        struct outcome halves = run(&config, 2, 2); // LoRA's B is no longer zero in the second step
        size_t products = outside.products;
        config.training.lanes = 1;
        struct outcome whole = run(&config, 2, 2);
        double loss = fabs(halves.loss_sum / whole.loss_sum - 1);
        double gradient = apart(halves.gradients, whole.gradients, halves.count);
        assert_int_equal(products, 2 * outside.products);
        assert_int_equal(halves.labelled, whole.labelled);
        assert_true(loss < 1e-5 && gradient < (dtype == CR_COMPUTE_FLOAT32 ? 1e-6 : 1e-3));
        release(&halves);
        release(&whole);
    }
}

// Each half drops what one of two micro-batches of a plain run would.
static void a_single_batch_is_halved(void **state)
{
    (void)state;
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++) {
        struct cr_tuning_config config = alternating(method, 4, 1);
        struct outcome halves = run(&config, 2, STEPS);
        struct cr_tuning_config plain = alternating(method, 2, 2);
        plain.training.lanes = 0;
        assert_same_but_for_order(method, &halves, run(&plain, 2, STEPS));
        release(&halves);

        for (size_t batch = 2; batch <= 5; batch++) check_halves(method, batch);
    }
}

// Lane after lane asks for its product: 0, 1, 0, 1, ... of two micro-batches, and of three the last alone.
static void products_alternate(void **state)
{
    (void)state;
    struct cr_compute *compute = new_compute(1);
    struct cr_tuning_config config = alternating(CR_METHOD_LORA, 2, 3);
    config.data.eval = data;
    struct cr_trainer *trainer = new_trainer(&config, compute);
    struct cr_tally tally = {0};
    double norm;
    assert_ok(cr_trainer_do_step(trainer, &tally, &norm));
    size_t each = outside.products / 3;
    assert_true(each > 10 && outside.products == 3 * each && outside.products < MOST_PRODUCTS);
    for (size_t i = 0; i < outside.products; i++) assert_int_equal(outside.lane[i], i < 2 * each ? i % 2 : 0);
    outside.products = 0;
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    for (size_t i = 0; i < outside.products; i++) assert_int_equal(outside.lane[i], 0);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
}

static void a_run_is_taken_up_at_any_step(void **state)
{
    (void)state;
    struct cr_compute *compute = new_compute(2);
    char path[64];
    snprintf(path, sizeof path, "%s/state", folder);
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++) {
        struct cr_tuning_config config = alternating(method, 5, 1);
        struct outcome whole = run(&config, 2, STEPS);
        config.data.eval = data;
        struct cr_trainer *first = new_trainer(&config, compute);
        struct cr_tally before = {0};
        for (size_t at = 0; at < STEPS; at++) {
            assert_ok(cr_trainer_save_state(first, NULL, path));
            struct cr_trainer *second = new_trainer(&config, compute);
            struct cr_tally tally = before, evaluation = {0};
            assert_ok(cr_trainer_load_state(second, NULL, path));
            assert_ok(cr_trainer_run(second, STEPS - at, &tally, NULL, NULL));
            struct outcome resumed = outcome_of(second, &tally);
            assert_true(fabs(resumed.loss_sum / whole.loss_sum - 1) < 1e-12); // sums of sums
            resumed.loss_sum = whole.loss_sum;
            assert_same(&whole, resumed);
            cr_trainer_free(second);
            assert_ok(cr_trainer_run(first, 1, &before, NULL, NULL));
            assert_ok(cr_trainer_evaluate(first, &evaluation, NULL, NULL)); // leaves no trace
        }
        struct cr_trainer *plain;
        config.training.lanes = 1;
        assert_ok(cr_trainer_new(&config, compute, NULL, &plain));
        assert_fails(CR_INVALID, "another run", cr_trainer_load_state(plain, NULL, path));
        cr_trainer_free(plain);
        cr_trainer_free(first);
        release(&whole);
    }
    cr_compute_free(compute);
}

// Wherever a product fails, in whichever lane, the step is as if it had not been begun.
static void a_failure_leaves_the_trainer_before_the_step(void **state)
{
    (void)state;
    struct cr_compute *compute = new_compute(2);
    struct cr_tuning_config config = alternating(CR_METHOD_LORA, 2, 3);
    struct outcome undisturbed = run(&config, 2, 3);
    struct cr_trainer *trainer = new_trainer(&config, compute);
    struct cr_tally tally = {0}, none = {0};
    assert_ok(cr_trainer_run(trainer, 2, &tally, NULL, NULL));
    size_t products = outside.products / 2, failures[2] = {0};
    for (size_t at = 1; at <= products; at += 3) {
        outside.products = 0;
        outside.fails = at;
        assert_fails(CR_PROTOCOL, "training step 3: accelerator: a wrong answer in lane ",
                     cr_trainer_run(trainer, 1, &none, NULL, NULL));
        failures[cr_error_message()[strlen(cr_error_message()) - 1] - '0']++;
        assert_int_equal(outside.products, at); // nobody asked for more
        assert_int_equal(cr_trainer_step(trainer), 2);
    }
    assert_true(failures[0] > 5 && failures[1] > 5);
    outside.fails = 0;
    assert_int_equal(none.labelled, 0);
    assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    assert_same(&undisturbed, outcome_of(trainer, &tally));
    release(&undisturbed);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
}

static void receive(void *context, const struct cr_event *event)
{
    for (size_t i = 0; i < event->field_count; i++)
        if (strcmp(event->fields[i].name, "memory") == 0) *(double *)context = event->fields[i].number;
}

// Bytes that a trainer says it takes; *pass of them are a pass.
static double memory_of(const struct cr_tuning_config *config, double *pass)
{
    struct cr_compute *compute = new_compute(1);
    double memory = 0;
    struct cr_event_sink sink = {.context = &memory, .receive = receive};
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(config, compute, &sink, &trainer));
    *pass = (double)cr_pass_memory(trainer->walks[0].pass);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return memory;
}

static void memory_counts_every_lane(void **state)
{
    (void)state;
    for (int method = CR_METHOD_LORA; method <= CR_METHOD_PREFIX_TUNING; method++) {
        double pass[3];
        struct cr_tuning_config config = alternating(method, 4, 2), plain = config, halved = config;
        plain.training.lanes = 0;
        halved.training.gradient_accumulation_steps = 1;
        double more = memory_of(&config, &pass[0]) - memory_of(&plain, &pass[1]);
        (void)memory_of(&halved, &pass[2]);
        assert_true(pass[0] == pass[1] && pass[2] < 0.8 * pass[1]);
        // LoRA keeps a thin product in each lane, too.
        assert_true(method == CR_METHOD_LORA ? more > pass[0] && more < 1.2 * pass[0] : more == pass[0]);

        struct cr_compute *compute = new_compute(1);
        struct cr_model *model;
        assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_SHAPE, NULL, compute, CR_F32, &model));
        const struct cr_memory_trained trained = {.values = 100};
        struct cr_memory two = cr_memory_of(&config, model, 4, 20, 0, &trained);
        struct cr_memory one = cr_memory_of(&plain, model, 4, 20, 0, &trained);
        assert_true(two.pass == 2 * one.pass && two.weights == one.weights && two.trained == one.trained);
        cr_model_free(model);
        cr_compute_free(compute);
    }
}

// What is told before a run is what the run's trainer says that it takes, but for LoRA's blocks.
static void memory_told_is_memory_taken(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct cr_tuning_config config = alternating(CR_METHOD_LORA, 4, 2);
        config.lora.r = 64;
        config.lora.lora_dropout = 0;
        config.data.max_length = 6; // which every text has
        config.training.lanes = i % 2 ? 2 : 0;
        config.dtype = i < 2 ? CR_COMPUTE_FLOAT32 : CR_COMPUTE_BFLOAT16;
        double pass, taken = memory_of(&config, &pass);
        if (config.training.lanes > 0) pass *= 2;

        struct cr_compute *compute = new_compute(1);
        struct cr_model *model;
        enum cr_dtype act = cr_activation_type(compute, config.dtype, NULL);
        assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_SHAPE, NULL, compute, act, &model));
        struct cr_memory_trained trained;
        assert_ok(cr_memory_trained(&config, model, &trained));
        double told = cr_memory_of(&config, model, 4, config.data.max_length, 0, &trained).trained;
        double blocks = 512 * 3 * 64 * (act == CR_F32 ? sizeof(float) : sizeof(float) + sizeof(uint16_t));
        assert_true(fabs(told + blocks - (taken - pass)) < 0.01 * taken);
        cr_model_free(model);
        cr_compute_free(compute);
    }
}

static void steps_are_cut_for_all_lanes(void **state)
{
    (void)state;
    static const struct {
        size_t batch, accumulation, lanes, left, step, micro, most;
    } cases[] = {
        {4, 1, 0, 100, 4, 4, 1},      {4, 3, 1, 100, 12, 4, 3},     {4, 3, 1, 7, 7, 4, 3},
        {4, 3, 1, 3, 3, 3, 3},        {4, 1, 2, 100, 4, 2, 2},      {5, 1, 2, 100, 5, 3, 2},
        {5, 1, 2, 1, 1, 1, 2},        {4, 3, 2, 100, 12, 4, 3},     {4, 3, 2, 5, 5, 4, 3},
        {4, 3, 2, 4, 4, 2, 3},        {1, 1, 2, 100, 1, 1, 2},      {1, 2, 2, 100, 2, 1, 2},
        {SIZE_MAX, 2, 1, 9, 9, 9, 2}, {SIZE_MAX, 2, 2, 9, 9, 5, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cr_training_config training = {.per_device_train_batch_size = cases[i].batch,
                                                    .gradient_accumulation_steps = cases[i].accumulation,
                                                    .lanes = cases[i].lanes};
        assert_int_equal(cr_step_examples(&training, cases[i].left), cases[i].step);
        assert_int_equal(cr_micro_batch_examples(&training, cases[i].left), cases[i].micro);
        assert_int_equal(cr_micro_batches(&training), cases[i].most);
    }

    // Micro-batches are numbered in 32 bits.
    struct cr_compute *compute = new_compute(1);
    struct cr_tuning_config config = alternating(CR_METHOD_LORA, 4, 1);
    config.training.max_steps = (size_t)UINT32_MAX / 2 + 1;
    struct cr_trainer *trainer;
    assert_fails(CR_UNSUPPORTED, "2^32 micro-batches", cr_trainer_new(&config, compute, NULL, &trainer));
    config.training.lanes = 1;
    assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
    cr_trainer_free(trainer);
    // What trains nothing has no lanes.
    config.training.lanes = 2;
    config.data.train = NULL;
    assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
    assert_null(trainer->lanes);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_in_lanes_repeats_bit_for_bit),
        cmocka_unit_test(turns_change_nothing_but_time),
        cmocka_unit_test(a_single_batch_is_halved),
        cmocka_unit_test(products_alternate),
        cmocka_unit_test(a_run_is_taken_up_at_any_step),
        cmocka_unit_test(a_failure_leaves_the_trainer_before_the_step),
        cmocka_unit_test(memory_counts_every_lane),
        cmocka_unit_test(memory_told_is_memory_taken),
        cmocka_unit_test(steps_are_cut_for_all_lanes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
