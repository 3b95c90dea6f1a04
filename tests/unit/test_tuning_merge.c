// tuning/merge.h: a module that was merged as its adapter says is told from one that was not.
#include "small_model.h"

#include "tuning/adapter.h"
#include "tuning/checkpoint.h"
#include "tuning/merge.h"

#define ADAPTER "tests/golden/lora-gqa-tied/final"

static struct cr_structure *adapter;

static int open_adapter(void **state)
{
    if (open_small_model(state) != 0) return -1;
    assert_ok(cr_adapter_open(ADAPTER, model, &adapter));
    return 0;
}

static int close_adapter(void **state)
{
    cr_structure_free(adapter);
    return close_small_model(state);
}

// One module's weight, as it was and as it is merged.
struct merged {
    struct cr_module_place place;
    const struct cr_model_parameter *parameter;
    size_t count;
    float *before, *after;
};

static struct merged merge(size_t layer, enum cr_module module)
{
    struct merged merged = {.place = {layer, module}};
    size_t index = cr_module_place_parameter(model, merged.place);
    merged.parameter = &model->parameters[index];
    merged.count = merged.parameter->rows * merged.parameter->columns;
    assert_ok(cr_allocate(merged.count, sizeof(float), &merged.before));
    assert_ok(cr_allocate(merged.count, sizeof(float), &merged.after));
    cr_model_get(model, index, merged.before);
    memcpy(merged.after, merged.before, merged.count * sizeof(float));
    assert_ok(adapter->kind->merge(
        adapter, merged.place,
        cr_matrix_of(merged.after, CR_F32, merged.parameter->rows, merged.parameter->columns)));
    return merged;
}

static void merged_free(struct merged *merged)
{
    free(merged->before);
    free(merged->after);
}

static enum cr_status check(const struct merged *merged)
{
    return cr_merge_check(&adapter->tuned, merged->place, merged->parameter, merged->before, merged->after);
}

static void what_was_merged_is_right(void **state)
{
    (void)state;
    for (size_t layer = 0; layer < model->config.layers; layer++) {
        static const enum cr_module tuned[] = {CR_Q, CR_V};
        for (size_t i = 0; i < 2; i++) {
            struct merged merged = merge(layer, tuned[i]);
            assert_ok(check(&merged));
            merged_free(&merged);
        }
    }
}

static void what_was_merged_wrongly_is_refused(void **state)
{
    (void)state;
    static const char *const sentence = "model.layers.1.self_attn.v_proj.weight: merged, its row";
    struct merged merged = merge(1, CR_V);
    CR_FREE float *right = NULL;
    assert_ok(cr_allocate(merged.count, sizeof *right, &right));
    memcpy(right, merged.after, merged.count * sizeof *right);
    // Scaled wrongly; 0: left out, -1: taken away.
    for (size_t k = 0; k < 4; k++) {
        float scale = (const float[]){0, -1, 1.001f, 2}[k];
        for (size_t i = 0; i < merged.count; i++)
            merged.after[i] = merged.before[i] + scale * (right[i] - merged.before[i]);
        assert_fails(CR_INTERNAL, sentence, check(&merged));
    }
    memcpy(merged.after, right, merged.count * sizeof *right);
    assert_ok(check(&merged));
    merged.after[merged.count / 2] *= 1.001f; // one weight
    assert_fails(CR_INTERNAL, sentence, check(&merged));
    merged.after[merged.count / 2] = NAN;
    assert_fails(CR_INTERNAL, sentence, check(&merged));
    merged_free(&merged);
}

// A model without its end tokens or its template would be another one.
static void what_stands_beside_the_weights_goes_along(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja"};
    char from[128], to[128], path[160];
    snprintf(from, sizeof from, "%s", path_in("from"));
    snprintf(to, sizeof to, "%s", path_in("to"));
    assert_ok(cr_directory_make(from, false));
    assert_ok(cr_directory_make(to, false));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", from, names[i]);
        write_text(path, names[i]);
    }
    assert_ok(cr_checkpoint_copy_files(from, to));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        snprintf(path, sizeof path, "%s/%s", to, names[i]);
        assert_ok(cr_file_read(path, 64, &text));
        assert_string_equal(cr_buffer_text(&text), names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_merged_is_right),
        cmocka_unit_test(what_was_merged_wrongly_is_refused),
        cmocka_unit_test(what_stands_beside_the_weights_goes_along),
    };
    return cmocka_run_group_tests(tests, open_adapter, close_adapter);
}
