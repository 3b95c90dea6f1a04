// tuning/: which linears target_modules and layers_to_transform name.
#include "small_model.h"

#include "format/json.h"
#include "tuning/peft.h"
#include "tuning/targets.h"

static void expressions_are_matched_as_peft_does(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        size_t count;
        const char *first, *layers;
    } cases[] = {
        {".*[.](q|v)_proj", 4, "model.layers.0.self_attn.q_proj", NULL},
        {".*\\.[qv]_proj", 4, "model.layers.0.self_attn.q_proj", NULL},
        {"model\\.layers\\.(?!0).*up_proj", 1, "model.layers.1.mlp.up_proj", NULL},
        {"model.layers.\\d+.mlp.*_proj", 6, "model.layers.0.mlp.gate_proj", NULL},
        {"(?:q|model[.]layers[.]1[.]self_attn[.]q)_proj|x", 1, "model.layers.1.self_attn.q_proj", NULL},
        {"(?:.*?text.*?q_proj.*?)|(?:\\bmodel\\.layers\\.[\\d]{1,}\\.mlp\\.(?:up|down)_proj\\b)", 4,
         "model.layers.0.mlp.up_proj", NULL},
        {".*\\b_proj|.*\\bq_proj", 2, "model.layers.0.self_attn.q_proj", NULL},
        {".*[.][qv]_proj", 2, "model.layers.1.self_attn.q_proj", "[1]"},
        // Of dots alone: PEFT 0.21.2 finds the same.
        {"model.layers...self_attn.q_proj", 2, "model.layers.0.self_attn.q_proj", NULL},
        {"model.layers.1.self_attn...proj", 4, "model.layers.1.self_attn.q_proj", NULL},
        // No more than one of the characters that make it an expression.
        {"model.layers.1.self_attn.q?_proj", 1, "model.layers.1.self_attn.q_proj", NULL},
        {"model.layers.1.mlp.up{1}_proj", 1, "model.layers.1.mlp.up_proj", NULL},
        {"model.layers.1.mlp.up+_proj", 1, "model.layers.1.mlp.up_proj", NULL},
        {"^model.layers.1.mlp.up_proj", 1, "model.layers.1.mlp.up_proj", NULL},
        {"model.layers.1.mlp.up_proj$", 1, "model.layers.1.mlp.up_proj", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_peft_config_release) struct cr_peft_config read = {0};
        CR_CLEANUP(cr_peft_config_release) struct cr_peft_config again = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer written = {0};
        assert_ok(cr_append_format(&text, "{\"peft_type\": \"LORA\", \"target_modules\": "));
        assert_ok(cr_json_append_string(&text, cr_slice_of_string(cases[i].target)));
        assert_ok(cr_append_format(&text, ", \"layers_to_transform\": %s}",
                                   cases[i].layers ? cases[i].layers : "null"));
        assert_ok(cr_peft_config_parse(cr_buffer_slice(&text), "a.json", &read));
        struct cr_module_place *places;
        size_t count;
        char name[CR_PLACE_NAME_SIZE];
        assert_ok(cr_lora_places(&read.lora, &model->config, &places, &count));
        assert_int_equal(count, cases[i].count);
        assert_true(cr_module_place_name(&model->config, places[0], name));
        assert_string_equal(name, cases[i].first);
        cr_free(&places);
        // Written are whole names, which find the same in PEFT.
        assert_ok(cr_peft_config_write(&read, "base", &model->config, &written));
        char first[128];
        snprintf(first, sizeof first, "\"target_modules\": [\"%s\"", cases[i].first);
        assert_non_null(strstr(cr_buffer_text(&written), first));
        assert_ok(cr_peft_config_parse(cr_buffer_slice(&written), "b.json", &again));
        assert_int_equal(again.lora.targets.modules.count, count);
    }
    static char nothing[] = "(q|v)_proj", all[] = ".*", lazy[] = "q_proj\\Z", open[] = "(q",
                space[] = "q[\\b]proj", name[] = "q_proj", several[] = ".*q_proj", start[] = ".*[.]q_pro",
                head[] = ".*[.]q_proj|lm_head", dotted[] = "self_attn.qproj",
                slow[] = "(.*.*.*.*.*.*.*.*.*)*.x1";
    static const struct {
        char *targets[2];
        size_t count;
        enum cr_status code;
        const char *part;
    } wrong[] = {
        {{nothing}, 1, CR_INVALID, "\"(q|v)_proj\": a regular expression that matches no linear module"},
        {{several, name},
         2,
         CR_INVALID,
         "\".*q_proj\": a regular expression that matches no linear module, or does not stand alone"},
        {{all}, 1, CR_UNSUPPORTED, "lora.target_modules: \".*\": an adapter of embeddings or lm_head is not"},
        {{head}, 1, CR_UNSUPPORTED, "an adapter of embeddings or lm_head is not supported"},
        {{dotted}, 1, CR_INVALID, "\"self_attn.qproj\": no such linear module"},
        {{start}, 1, CR_INVALID, "\".*[.]q_pro\": a regular expression that matches no linear module"},
        {{lazy}, 1, CR_UNSUPPORTED, "lora.target_modules: expression: \\Z at offset 6 is not supported"},
        {{space}, 1, CR_UNSUPPORTED, "lora.target_modules: expression: \\b at offset 2 is not supported"},
        {{open}, 1, CR_INVALID, "lora.target_modules: expression: missing"},
        {{slow}, 1, CR_INVALID, "lora.target_modules: the expression takes too long"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cr_lora_config chosen = {.r = 2};
        struct cr_module_place *places;
        size_t count;
        chosen.targets.modules =
            (struct cr_string_list){(char **)(uintptr_t)wrong[i].targets, wrong[i].count};
        assert_fails(wrong[i].code, wrong[i].part, cr_lora_places(&chosen, &model->config, &places, &count));
    }
}

// PEFT writes the names of a list in full where it chose them itself, and anything from a point on is a name.
static void targets_are_matched_as_peft_does(void **state)
{
    (void)state;
    static char whole[] = "model.layers.1.mlp.up_proj", tail[] = "self_attn.k_proj", part[] = "proj",
                head[] = "lm_head";
    struct cr_lora_config chosen = {.r = 2, .targets.modules = {(char *[]){whole, tail}, 2}};
    struct cr_module_place *places;
    size_t count;
    assert_ok(cr_lora_places(&chosen, &model->config, &places, &count));
    assert_int_equal(count, 3);
    assert_true(places[0].layer == 0 && places[0].module == CR_K);
    assert_true(places[1].layer == 1 && places[1].module == CR_K);
    assert_true(places[2].layer == 1 && places[2].module == CR_UP);
    cr_free(&places);
    chosen.targets.modules = (struct cr_string_list){(char *[]){part}, 1};
    assert_fails(CR_INVALID, "\"proj\"", cr_lora_places(&chosen, &model->config, &places, &count));
    chosen.targets.modules = (struct cr_string_list){(char *[]){head}, 1};
    assert_fails(CR_UNSUPPORTED, "\"lm_head\": an adapter of embeddings or lm_head is not supported",
                 cr_lora_places(&chosen, &model->config, &places, &count));
    chosen.targets.modules = (struct cr_string_list){(char *[]){whole}, 1};
    // Layers are for parts of names: PEFT's check_target_module_exists does not look at them for a whole one.
    chosen.targets.layers = (struct cr_size_list){(size_t[]){0}, 1};
    assert_ok(cr_lora_places(&chosen, &model->config, &places, &count));
    assert_int_equal(count, 1);
    assert_true(places[0].layer == 1 && places[0].module == CR_UP);
    cr_free(&places);
    chosen.targets.modules = (struct cr_string_list){(char *[]){whole, tail}, 2};
    assert_ok(cr_lora_places(&chosen, &model->config, &places, &count));
    assert_int_equal(count, 2);
    assert_true(places[0].layer == 0 && places[0].module == CR_K);
    assert_true(places[1].layer == 1 && places[1].module == CR_UP);
    cr_free(&places);
    chosen.targets.modules = (struct cr_string_list){(char *[]){&whole[6]}, 1};
    assert_fails(CR_INVALID,
                 "lora.target_modules: none lies in layers_to_transform: nothing would be adapted",
                 cr_lora_places(&chosen, &model->config, &places, &count));
}

static void gpt2_has_two_modules_of_one_name(void **state)
{
    (void)state;
    static char c_proj[] = "c_proj", of_mlp[] = "mlp.c_proj", llama[] = "q_proj", all[] = "all-linear";
    const struct cr_model_config gpt2 = {.layout = CR_LAYOUT_GPT2, .layers = 2, .gelu = true};
    struct cr_lora_config chosen = {.r = 2, .targets.modules = {(char *[]){c_proj}, 1}};
    struct cr_module_place *places;
    size_t count;
    assert_ok(cr_lora_places(&chosen, &gpt2, &places, &count));
    assert_int_equal(count, 4);
    assert_true(places[0].module == CR_O && places[1].module == CR_DOWN);
    cr_free(&places);
    chosen.targets.modules = (struct cr_string_list){(char *[]){of_mlp}, 1};
    assert_ok(cr_lora_places(&chosen, &gpt2, &places, &count));
    assert_true(count == 2 && places[1].layer == 1 && places[1].module == CR_DOWN);
    cr_free(&places);
    chosen.targets.modules = (struct cr_string_list){(char *[]){llama}, 1};
    assert_fails(CR_INVALID, "(known: c_attn, c_proj, c_fc, all-linear)",
                 cr_lora_places(&chosen, &gpt2, &places, &count));
    chosen.targets.modules = (struct cr_string_list){(char *[]){all}, 1};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_peft_config_write(&(struct cr_peft_config){.method = CR_METHOD_LORA, .lora = chosen}, "base",
                                   &gpt2, &text));
    assert_non_null(strstr(cr_buffer_text(&text), "\"target_modules\": [\"c_attn\", \"c_proj\", \"c_fc\"]"));
    assert_non_null(strstr(cr_buffer_text(&text), "\"fan_in_fan_out\": true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_matched_as_peft_does),
        cmocka_unit_test(gpt2_has_two_modules_of_one_name),
        cmocka_unit_test(expressions_are_matched_as_peft_does),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
