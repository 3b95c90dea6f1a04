// model/keep.h: a pass whose layers' traces lie in a store (slicing/spill.h) walks as one that has them all,
// bit for bit, and its own memory does not grow with the layers. A model's shape tells a pass's memory.
#include "model_support.h"

#include "slicing/spill.h"
#include "tuning/full.h"
#include "tuning/lora.h"
#include "tuning/prefix.h"

static struct cr_spill *spill_new(struct cr_compute *compute)
{
    struct cr_spill *spill;
    assert_ok(cr_spill_new(cr_compute_pool(compute), &spill));
    return spill;
}

// What a training walk makes.
struct outcome {
    double loss;
    float *logits, *gradients;
};

static struct outcome train(struct cr_pass *pass, struct cr_structure *structure, const struct cr_rows *rows,
                            uint32_t micro)
{
    const struct cr_model *model = structure->model;
    const struct cr_structure_kind *kind = structure->kind;
    size_t layers = model->config.layers, count = structure->parameters.count;
    struct outcome out = {0};
    assert_ok(kind->refresh(structure));
    cr_parameters_zero_gradients(&structure->parameters);
    if (kind->begin_training) kind->begin_training(structure, micro);
    assert_ok(cr_pass_forward(pass, &structure->tuned, rows, 0, layers));
    CR_FREE uint32_t *all = NULL;
    assert_ok(cr_allocate(rows->rows, sizeof *all, &all));
    for (size_t i = 0; i < rows->rows; i++) all[i] = (uint32_t)i;
    assert_ok(cr_allocate(rows->rows * model->config.vocabulary, sizeof(float), &out.logits));
    assert_ok(cr_pass_logits(pass, all, rows->rows, out.logits));
    assert_ok(cr_pass_loss(pass, &structure->tuned, rows, 0.1f, &out.loss, NULL));
    assert_ok(cr_pass_backward(pass, &structure->tuned, rows, 0, layers));
    if (kind->finish_gradient) assert_ok(kind->finish_gradient(structure));
    assert_ok(cr_allocate(count, sizeof(float), &out.gradients));
    memcpy(out.gradients, structure->parameters.gradients, count * sizeof(float));
    return out;
}

static void assert_same_outcome(const struct outcome *a, const struct outcome *b, size_t logits,
                                size_t gradients)
{
    bool trains = false;
    assert_true(a->loss == b->loss);
    assert_memory_equal(a->logits, b->logits, logits * sizeof(float));
    assert_memory_equal(a->gradients, b->gradients, gradients * sizeof(float));
    for (size_t i = 0; i < gradients; i++) trains = trains || a->gradients[i] != 0;
    assert_true(trains);
}

// Batches of several sizes, one after the other: none finds what another left. Returns the bytes sealed.
static uint64_t check_structure(struct cr_structure *structure)
{
    static const size_t lengths[][3] = {{9, 1, 31}, {5, 2, 3}, {20, 20, 1}};
    struct cr_model *model = structure->model;
    struct cr_spill *spill = spill_new(model->compute);
    struct cr_pass *plain, *kept;
    size_t prefix = structure->tuned.prefix;
    assert_ok(cr_pass_new(
        model, &(struct cr_pass_size){.rows = 41, .sequences = 3, .prefix = prefix, .backward = true}, NULL,
        &plain));
    assert_ok(cr_pass_new(
        model, &(struct cr_pass_size){.rows = 41, .sequences = 3, .prefix = prefix, .backward = true},
        cr_spill_keep(spill), &kept));
    for (uint32_t i = 0; i < 3; i++) {
        struct sample sample = random_sample(lengths[i], 3, model->config.vocabulary, i);
        struct outcome a = train(plain, structure, &sample.rows, i),
                       b = train(kept, structure, &sample.rows, i);
        assert_same_outcome(&a, &b, sample.rows.rows * model->config.vocabulary, structure->parameters.count);
        free(a.logits), free(a.gradients), free(b.logits), free(b.gradients);
        sample_free(&sample);
    }
    uint64_t sealed = cr_spill_tally(spill).sealed;
    assert_int_equal(cr_spill_tally(spill).opened, sealed);
    cr_pass_free(plain);
    cr_pass_free(kept);
    cr_spill_free(spill);
    return sealed;
}

static void fill(struct cr_structure *structure)
{
    uint64_t random = 3;
    for (size_t i = 0; i < structure->parameters.count; i++)
        structure->parameters.values[i] = 0.3f * next_float(&random);
}

static void check_methods(struct cr_model *model)
{
    static char every[] = "all-linear";
    static char *modules[] = {every};
    struct cr_lora_config lora = {
        .r = 3, .lora_alpha = 6, .lora_dropout = 0.2, .targets.modules = {modules, 1}};
    const struct cr_prefix_config prefixes[] = {
        {.num_virtual_tokens = 4},
        {.num_virtual_tokens = 4, .prefix_projection = true, .encoder_hidden_size = 7}};
    struct cr_structure *structure;
    assert_ok(cr_lora_new(&lora, model, 1, 41, NULL, &structure));
    fill(structure);
    uint64_t all = check_structure(structure);
    assert_true(all > 0);
    cr_structure_free(structure);

    // Nothing below the last layer goes back, and the last one never leaves.
    lora.targets.layers = (struct cr_size_list){(size_t[]){model->config.layers - 1}, 1};
    assert_ok(cr_lora_new(&lora, model, 1, 41, NULL, &structure));
    fill(structure);
    assert_int_equal(check_structure(structure), 0);
    cr_structure_free(structure);

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        assert_ok(cr_prefix_new(&prefixes[i], model, true, &structure));
        fill(structure);
        assert_int_equal(check_structure(structure), all);
        cr_structure_free(structure);
    }
    assert_ok(cr_full_new(model, &structure));
    assert_ok(cr_full_load(structure));
    assert_int_equal(check_structure(structure), all);
    cr_structure_free(structure);
}

static void check_golden(enum cr_dtype act, size_t threads)
{
    static const char *const directories[] = {"tests/golden/llama-gqa", "tests/golden/gpt2",
                                              "tests/golden/qwen3", "tests/golden/mistral-window"};
    struct cr_compute *compute = compute_in(act, threads);
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        struct cr_model *model;
        assert_ok(cr_model_open(directories[i], CR_MODEL_TRAINABLE, NULL, compute, act, &model));
        check_methods(model);
        cr_model_free(model);
    }
    cr_compute_free(compute);
}

static void a_store_does_not_change_a_bit(void **state)
{
    (void)state;
    check_golden(CR_F32, 1);
    check_golden(CR_F32, 2);
}

static void a_store_does_not_change_a_bit_in_bf16(void **state)
{
    (void)state;
    check_golden(CR_BF16, 2);
}

static struct cr_model_config deep_config(size_t layers)
{
    struct cr_model_config config = small_config();
    config.layers = layers;
    config.head_norms = config.qkv_bias = true;
    return config;
}

static const size_t few[] = {9, 1, 14};

// Forward and back in parts, twice, over more layers than the pass has room for.
static void a_walk_in_parts_is_the_same_walk(void **state)
{
    (void)state;
    enum { LAYERS = 5 };
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model *model = random_model(compute, deep_config(LAYERS), CR_F32);
    struct sample sample = random_sample(few, 3, model->config.vocabulary, 5);
    const struct cr_rows *rows = &sample.rows;
    struct collectors *whole = collectors_new(model), *parts = collectors_new(model);
    struct cr_spill *spill = spill_new(compute);
    struct cr_pass *plain, *kept;
    double loss = 0, again = 0;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = rows->rows, .sequences = 3, .backward = true},
                          NULL, &plain));
    assert_ok(cr_pass_new(model,
                          &(struct cr_pass_size){.rows = rows->rows + 9, .sequences = 3, .backward = true},
                          cr_spill_keep(spill), &kept));
    for (int i = 0; i < 2; i++) {
        assert_ok(cr_pass_forward(plain, &whole->tuned, rows, 0, LAYERS));
        assert_ok(cr_pass_loss(plain, &whole->tuned, rows, 1, &loss, NULL));
        assert_ok(cr_pass_backward(plain, &whole->tuned, rows, 0, LAYERS));
        assert_ok(cr_pass_forward(kept, &parts->tuned, rows, 0, 2));
        assert_ok(cr_pass_forward(kept, &parts->tuned, rows, 2, LAYERS));
        assert_ok(cr_pass_loss(kept, &parts->tuned, rows, 1, &again, NULL));
        assert_ok(cr_pass_backward(kept, &parts->tuned, rows, 3, LAYERS));
        assert_ok(cr_pass_backward(kept, &parts->tuned, rows, 0, 3));
    }
    assert_true(loss == again);
    for (size_t i = 0; i < whole->parameters; i++)
        assert_memory_equal(whole->gradient[i], parts->gradient[i], whole->count[i] * sizeof(float));

    // The way back was where the stream had been; and one that nothing was kept for is refused.
    assert_fails(CR_INTERNAL, "after its backward pass",
                 cr_pass_loss(kept, &parts->tuned, rows, 1, &again, NULL));
    assert_ok(cr_pass_forward(kept, NULL, rows, 0, LAYERS));
    assert_ok(cr_pass_loss(kept, &parts->tuned, rows, 1, &again, NULL));
    assert_fails(CR_INTERNAL, "kept nothing", cr_pass_backward(kept, &parts->tuned, rows, 0, LAYERS));
    struct cr_pass *none;
    assert_fails(
        CR_INTERNAL, "without backward",
        cr_pass_new(model, &(struct cr_pass_size){.rows = 8, .sequences = 1}, cr_spill_keep(spill), &none));
    assert_fails(CR_INTERNAL, "two passes",
                 cr_pass_new(model, &(struct cr_pass_size){.rows = 8, .sequences = 1, .backward = true},
                             cr_spill_keep(spill), &none));
    cr_pass_free(plain);
    cr_pass_free(kept);
    cr_spill_free(spill);
    collectors_free(whole);
    collectors_free(parts);
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

// The head takes fewer rows at a time then, which nothing but its own gradient depends on.
static void a_large_vocabulary_changes_no_bit(void **state)
{
    (void)state;
    static char every[] = "all-linear";
    static char *modules[] = {every};
    const struct cr_lora_config lora = {.r = 3, .lora_alpha = 6, .targets.modules = {modules, 1}};
    const size_t lengths[] = {60, 60, 60};
    struct cr_model_config config = small_config();
    config.vocabulary = 40000;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model *model = random_model(compute, config, CR_F32);
    struct sample sample = random_sample(lengths, 3, config.vocabulary, 5);
    struct cr_spill *spill = spill_new(compute);
    struct cr_structure *structure;
    struct cr_pass *plain, *kept;
    assert_ok(cr_lora_new(&lora, model, 1, 180, NULL, &structure));
    fill(structure);
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 180, .sequences = 3, .backward = true}, NULL,
                          &plain));
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 180, .sequences = 3, .backward = true},
                          cr_spill_keep(spill), &kept));
    struct outcome a = train(plain, structure, &sample.rows, 0), b = train(kept, structure, &sample.rows, 0);
    assert_same_outcome(&a, &b, 180 * config.vocabulary, structure->parameters.count);
    free(a.logits), free(a.gradients), free(b.logits), free(b.gradients);
    cr_pass_free(plain);
    cr_pass_free(kept);
    cr_structure_free(structure);
    cr_spill_free(spill);
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

static void memory_does_not_grow_with_layers(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    size_t own[2][2], outside[2];
    for (int deep = 0; deep < 2; deep++) {
        struct cr_model *model = random_model(compute, deep_config(deep ? 24 : 2), CR_F32);
        for (int kept = 0; kept < 2; kept++) {
            struct cr_spill *spill = kept ? spill_new(compute) : NULL;
            struct cr_pass *pass;
            assert_ok(cr_pass_new(
                model, &(struct cr_pass_size){.rows = 100, .sequences = 3, .prefix = 2, .backward = true},
                spill ? cr_spill_keep(spill) : NULL, &pass));
            own[kept][deep] = cr_pass_memory(pass);
            assert_int_equal(
                own[kept][deep],
                cr_pass_memory_of(
                    model, &(struct cr_pass_size){.rows = 100, .sequences = 3, .prefix = 2, .backward = true},
                    kept));
            cr_pass_free(pass);
            if (kept) outside[deep] = cr_spill_tally(spill).outside;
            cr_spill_free(spill);
        }
        cr_model_free(model);
    }
    assert_true(own[0][1] > 5 * own[0][0]);
    assert_int_equal(own[1][0], own[1][1]);
    assert_int_equal(outside[1], 12 * outside[0]);
    cr_compute_free(compute);
}

static void a_shape_tells_what_a_model_takes(void **state)
{
    (void)state;
    static const char *const directories[] = {"tests/golden/llama-gqa", "tests/golden/gpt2"};
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        struct cr_model *shape, *model;
        assert_ok(cr_model_open(directories[i], CR_MODEL_SHAPE, NULL, compute, CR_F32, &shape));
        assert_ok(cr_model_open(directories[i], CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
        assert_null(shape->memory.base);
        assert_int_equal(shape->parameter_count, model->parameter_count);
        struct cr_pass *pass;
        assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 30, .sequences = 3, .backward = true},
                              NULL, &pass));
        assert_int_equal(
            cr_pass_memory_of(shape, &(struct cr_pass_size){.rows = 30, .sequences = 3, .backward = true},
                              false),
            cr_pass_memory(pass));
        cr_pass_free(pass);
        cr_model_free(model);
        cr_model_free(shape);
    }
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_does_not_change_a_bit),
        cmocka_unit_test(a_store_does_not_change_a_bit_in_bf16),
        cmocka_unit_test(a_walk_in_parts_is_the_same_walk),
        cmocka_unit_test(a_large_vocabulary_changes_no_bit),
        cmocka_unit_test(memory_does_not_grow_with_layers),
        cmocka_unit_test(a_shape_tells_what_a_model_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
