// cli/memory.h: what is told of a base's weights is what a model takes for them.
#include "support.h"

#include "cli/memory.h"

#include <stdio.h>

// Of all matrices and vectors that the model has, in its files or beside them, but for scales.
static double weights_of(const struct cr_model *model)
{
    double bytes = 0;
    for (size_t i = 0; i < model->parameter_count; i++) {
        const struct cr_matrix *place = &model->parameters[i].place;
        if (place->data) bytes += (double)(place->rows * place->columns * cr_dtype_size(place->dtype));
    }
    if (model->in_8bit && model->config.tied_head && model->part.head)
        bytes += (double)(model->head.weight.rows * model->head.weight.columns);
    return bytes;
}

// `filed` is what is looked at before a run, `taken` what the run has.
static void check_told(const char *directory, const struct cr_tuning_config *config, const char *form,
                       struct cr_model *filed, struct cr_model *taken)
{
    const struct cr_memory_trained trained = {0};
    double told = cr_memory_of(config, filed, 1, 4, 0, &trained).weights, size = weights_of(taken);
    if (told != size) fail_msg("%s %s: %.0f bytes are told, %.0f taken", directory, form, told, size);
    if (filed != taken) cr_model_free(filed);
    cr_model_free(taken);
}

static void check_model(const char *directory, struct cr_compute *compute, enum cr_dtype act)
{
    const struct cr_model_part front = cr_model_front(1), tail = cr_model_tail(1);
    struct cr_tuning_config config = {.method = CR_METHOD_LORA, .training.lanes = 1};
    config.data.max_length = 4;
    struct cr_model *model, *trained;
    for (int in_8bit = 0; in_8bit < 2; in_8bit++) {
        config.load_in_8bit = in_8bit;
        assert_ok(cr_model_open(directory, cr_model_form_of(in_8bit), NULL, compute, act, &model));
        check_told(directory, &config, in_8bit ? "in 8 bits" : "whole", model, model);
        assert_ok(cr_model_open(directory, cr_model_form_of(in_8bit), &front, compute, act, &model));
        check_told(directory, &config, in_8bit ? "front in 8 bits" : "front", model, model);
        assert_ok(cr_model_open(directory, cr_model_form_of(in_8bit), &tail, compute, act, &model));
        check_told(directory, &config, in_8bit ? "tail in 8 bits" : "tail", model, model);
    }
    config.load_in_8bit = false;
    config.method = CR_METHOD_FULL;
    assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, act, &model));
    assert_ok(cr_model_open(directory, CR_MODEL_TRAINABLE, NULL, compute, act, &trained));
    check_told(directory, &config, "trained", model, trained);
}

static void weights_told_are_weights_taken(void **state)
{
    (void)state;
    static const char *const models[] = {
        "llama-mha-tied", "llama-bf16-shards", "llama-f16-shards", "qwen2-tied", "gpt2", "gpt2-untied"};
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char directory[64];
        snprintf(directory, sizeof directory, "tests/golden/%s", models[i]);
        check_model(directory, compute, CR_F32);
        if (cr_compute_has_bf16(compute)) check_model(directory, compute, CR_BF16);
    }
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_told_are_weights_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
