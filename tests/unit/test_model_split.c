// A walk cut at any layer: the front in one pass, its stream carried over, the rest in another. Loss, logits
// and gradients are those of one walk, bit for bit.
#include "model_support.h"

#include "slicing/spill.h"

#include <glob.h>

static const size_t lengths[] = {11, 1, 17};
enum { SEQUENCES = 3 };

// What is tuned is all that lies at layer `first` and above.
static struct collectors *collectors_from(const struct cr_model *model, size_t first)
{
    struct collectors *collectors = collectors_new(model);
    for (size_t i = 0; i < first; i++) collectors->tuned.layers[i] = (struct cr_layer_tuning){0};
    if (first > 0) collectors->tuned.embedding_gradient = collectors->tuned.position_gradient = NULL;
    return collectors;
}

struct outcome {
    struct collectors *collectors;
    float *logits;
    double loss;
};

// The rest of a walk in a pass that has the stream of layer `first`, or begins at the embedding.
static struct outcome finish(const struct cr_model *model, struct cr_pass *pass, const struct cr_rows *rows,
                             size_t first, size_t tuned)
{
    size_t layers = model->config.layers;
    struct outcome out = {.collectors = collectors_from(model, tuned)};
    CR_FREE uint32_t *all = NULL;
    assert_ok(cr_allocate(rows->rows, sizeof *all, &all));
    assert_ok(cr_allocate(rows->rows * model->config.vocabulary, sizeof *out.logits, &out.logits));
    for (size_t i = 0; i < rows->rows; i++) all[i] = (uint32_t)i;
    assert_ok(cr_pass_forward(pass, &out.collectors->tuned, rows, first, layers));
    assert_ok(cr_pass_logits(pass, all, rows->rows, out.logits));
    assert_ok(cr_pass_loss(pass, &out.collectors->tuned, rows, 0.1f, &out.loss, NULL));
    assert_ok(cr_pass_backward(pass, &out.collectors->tuned, rows, first, layers));
    return out;
}

static void assert_same(const struct outcome *a, const struct outcome *b, size_t logits)
{
    assert_true(a->loss == b->loss);
    assert_memory_equal(a->logits, b->logits, logits * sizeof(float));
    for (size_t i = 0; i < a->collectors->parameters; i++)
        assert_memory_equal(a->collectors->gradient[i], b->collectors->gradient[i],
                            a->collectors->count[i] * sizeof(float));
}

static void release(struct outcome *outcome)
{
    collectors_free(outcome->collectors);
    free(outcome->logits);
}

// Two batches through the same passes: the second finds nothing of the first.
static void check_split(const struct cr_model *model, size_t at, bool kept)
{
    size_t layers = model->config.layers, rows = 29 + 4;
    struct cr_spill *spill = NULL;
    struct cr_pass *whole, *front = NULL, *rest;
    const struct cr_pass_size size = {
        .rows = rows, .sequences = SEQUENCES, .first = at, .last = layers, .backward = true};
    if (kept) assert_ok(cr_spill_new(cr_compute_pool(model->compute), &spill));
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = rows, .sequences = 3, .backward = true}, NULL,
                          &whole));
    if (at > 0)
        assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = rows, .sequences = 3, .last = at}, NULL,
                              &front));
    assert_ok(cr_pass_new(model, &size, spill ? cr_spill_keep(spill) : NULL, &rest));
    assert_int_equal(cr_pass_memory(rest), cr_pass_memory_of(model, &size, kept));
    for (uint64_t batch = 0; batch < 2; batch++) {
        struct sample sample = random_sample(lengths, SEQUENCES, model->config.vocabulary, batch);
        struct cr_rows without = sample.rows;
        struct outcome a = finish(model, whole, &sample.rows, 0, at);
        if (at > 0) {
            assert_ok(cr_pass_forward(front, NULL, &sample.rows, 0, at));
            cr_copy_matrix(model->compute, cr_matrix_rows(cr_pass_stream(front), 0, without.rows),
                           cr_matrix_rows(cr_pass_stream(rest), 0, without.rows));
            without.tokens = NULL; // whoever has the rest of the model needs none
        }
        struct outcome b = finish(model, rest, &without, at, at);
        assert_same(&a, &b, without.rows * model->config.vocabulary);
        release(&a);
        release(&b);
        sample_free(&sample);
    }
    cr_pass_free(whole);
    cr_pass_free(front);
    cr_pass_free(rest);
    cr_spill_free(spill);
}

static void check_models(enum cr_dtype act, bool kept)
{
    glob_t found;
    struct cr_compute *compute = compute_in(act, 2);
    assert_int_equal(glob("tests/golden/llama-*", GLOB_ERR, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/qwen*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/mistral*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/gpt2*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc >= 14);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct cr_model *model;
        assert_ok(cr_model_open(found.gl_pathv[i], CR_MODEL_AS_FILED, NULL, compute, act, &model));
        for (size_t at = 0; at <= model->config.layers; at++) check_split(model, at, kept);
        cr_model_free(model);
    }
    globfree(&found);
    cr_compute_free(compute);
}

static void a_walk_cut_at_any_layer_is_the_same_walk(void **state)
{
    (void)state;
    check_models(CR_F32, false);
    check_models(CR_F32, true);
}

static void a_walk_cut_at_any_layer_is_the_same_walk_in_bf16(void **state)
{
    (void)state;
    check_models(CR_BF16, false);
}

// A part of a model has the memory of its layers, and no room for logits unless it ends with the model.
static void a_part_has_the_memory_of_its_layers(void **state)
{
    (void)state;
    enum { LAYERS = 12, FIRST = 9 };
    struct cr_compute *compute;
    struct cr_model_config config = small_config();
    config.layers = LAYERS;
    config.vocabulary = 5000;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *model = random_model(compute, config, CR_F32);
    struct cr_pass_size size = {.rows = 40, .sequences = 2, .backward = true};
    size_t whole = cr_pass_memory_of(model, &size, false);
    size.first = FIRST;
    size_t rest = cr_pass_memory_of(model, &size, false);
    size.first = LAYERS;
    size_t head = cr_pass_memory_of(model, &size, false);
    size.first = 0;
    size.last = FIRST;
    size.backward = false;
    assert_true(4 * (rest - head) < whole - head + 4096 && rest > head);
    assert_true(cr_pass_memory_of(model, &size, false) < 40 * sizeof(float) * config.vocabulary);
    cr_model_free(model);
    cr_compute_free(compute);
}

static void other_layers_than_a_pass_has_are_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *model = random_model(compute, small_config(), CR_F32);
    struct sample sample = random_sample(lengths, SEQUENCES, model->config.vocabulary, 1);
    struct cr_pass_size size = {.rows = 29, .sequences = 3, .first = 1, .last = 2};
    struct cr_pass *pass;
    double loss = 0;
    assert_ok(cr_pass_new(model, &size, NULL, &pass));
    assert_fails(CR_INVALID, "layers 0 to 2 are not among those from 1 to 2",
                 cr_pass_forward(pass, NULL, &sample.rows, 0, 2));
    assert_fails(CR_INVALID, "layers 1 to 3 are not", cr_pass_forward(pass, NULL, &sample.rows, 1, 3));
    assert_ok(cr_pass_forward(pass, NULL, &sample.rows, 1, 2));
    assert_fails(CR_INTERNAL, "all layers", cr_pass_loss(pass, NULL, &sample.rows, 0, &loss, NULL));
    cr_pass_free(pass);
    size.last = 4;
    assert_fails(CR_INVALID, "layers 1 to 4 are not among those from 0 to 3",
                 cr_pass_new(model, &size, NULL, &pass));
    size.first = 3;
    size.last = 2;
    assert_fails(CR_INVALID, "layers 3 to 2 are not", cr_pass_new(model, &size, NULL, &pass));
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_cut_at_any_layer_is_the_same_walk),
        cmocka_unit_test(a_walk_cut_at_any_layer_is_the_same_walk_in_bf16),
        cmocka_unit_test(a_part_has_the_memory_of_its_layers),
        cmocka_unit_test(other_layers_than_a_pass_has_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
