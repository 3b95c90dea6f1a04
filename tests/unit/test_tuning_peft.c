// tuning/: adapters written and read, what PEFT wrote, what is refused, and evaluation through a session.
#include "small_model.h"

#include "format/json.h"
#include "format/safetensors.h"
#include "tuning/peft.h"
#include "tuning/session.h"

static char all_linear[] = "all-linear";
static const struct cr_peft_config config = {
    .method = CR_METHOD_LORA,
    .lora = {.r = 3,
             .lora_alpha = 12.5,
             .lora_dropout = 0.05,
             .targets.modules = {(char *[]){all_linear}, 1},
             .targets.layers = {(size_t[]){1}, 1},
             .use_rslora = true},
};

static struct cr_structure *random_adapter(void)
{
    struct cr_structure *adapter;
    assert_ok(cr_lora_new(&config.lora, model, 0, 0, NULL, &adapter));
    struct cr_draws *stream;
    assert_ok(cr_draws_new(9, "values", &stream));
    for (size_t i = 0; i < adapter->parameters.count; i++)
        adapter->parameters.values[i] = (float)cr_draws_normal(stream);
    cr_draws_free(stream);
    return adapter;
}

static void an_adapter_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct cr_structure *written = random_adapter(), *read;
    assert_ok(
        cr_peft_write(path_in("adapter"), &config, "some \"model\"", &model->config, &written->parameters));
    assert_ok(cr_peft_open(path_in("adapter"), model, &read));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_peft_config_release) struct cr_peft_config again = {0};
    assert_ok(cr_file_read(path_in("adapter/adapter_config.json"), 1 << 16, &text));
    assert_ok(cr_peft_config_parse(cr_buffer_slice(&text), "adapter_config.json", &again));
    const struct cr_lora_config *settings = &again.lora;
    assert_int_equal(again.method, CR_METHOD_LORA);
    assert_int_equal(settings->r, 3);
    assert_true(settings->lora_alpha == 12.5 && settings->lora_dropout == 0.05 && settings->use_rslora);
    assert_int_equal(settings->targets.modules.count, 7);
    assert_int_equal(settings->targets.layers.count, 1);
    assert_int_equal(read->parameters.count, written->parameters.count);
    assert_memory_equal(read->parameters.values, written->parameters.values,
                        read->parameters.count * sizeof(float));
    assert_null(read->parameters.gradients);
    assert_null(read->tuned.layers[0].delta[CR_Q]);
    assert_non_null(read->tuned.layers[1].delta[CR_Q]);
    struct stat status;
    assert_int_equal(stat(path_in("adapter/adapter_model.safetensors"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(path_in("adapter"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    cr_structure_free(written);
    cr_structure_free(read);
}

static void what_peft_wrote_is_read(void **state)
{
    (void)state;
    struct cr_structure *read;
    assert_ok(cr_peft_open("tests/golden/lora-gqa-tied/final", model, &read));
    assert_int_equal(read->parameters.item_count, 8);
    cr_structure_free(read);
    assert_fails(CR_INVALID, "adapter_model.safetensors", // it is of the model with three heads of keys
                 cr_peft_open("tests/golden/lora-mha-untied/final", model, &read));
}

static void a_prefix_is_read_as_peft_writes_it(void **state)
{
    (void)state;
    struct cr_structure *read;
    assert_ok(cr_peft_open("tests/golden/prefix-gqa-projected/adapter", model, &read));
    assert_int_equal(read->parameters.item_count, 1);
    assert_string_equal(read->parameters.items[0].name, "prompt_embeddings");
    assert_int_equal(read->tuned.prefix, 5);
    assert_null(read->parameters.gradients);
    cr_structure_free(read);
    assert_fails(CR_INVALID,
                 "prompt_embeddings: its shape is [5, 96]", // of the model with three heads of keys
                 cr_peft_open("tests/golden/prefix-mha/adapter", model, &read));
}

// Configurations that PEFT's own experiments use, and one that PEFT saved.
// PEFT shapes the keys and values by these: heads of keys, not of queries.
static void a_prefix_says_its_shape(void **state)
{
    (void)state;
    const struct cr_peft_config prefix = {.method = CR_METHOD_PREFIX_TUNING, .prefix.num_virtual_tokens = 3};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    const struct cr_model_config *shape = &model->config;
    assert_true(shape->kv_heads != shape->heads);
    assert_ok(cr_peft_config_write(&prefix, "base", shape, &text));
    assert_ok(cr_json_parse(cr_buffer_slice(&text), "config", &root));
    assert_true(cr_json_number(cr_json_member(root, "num_attention_heads"), 0) == (double)shape->kv_heads);
    assert_true(cr_json_number(cr_json_member(root, "token_dim"), 0) ==
                (double)(shape->kv_heads * shape->head_dim));
    assert_true(cr_json_number(cr_json_member(root, "num_layers"), 0) == (double)shape->layers);
}

static void prefix_configurations_of_peft_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t tokens, layers;
    } cases[] = {
        {"prefix-tuning-gpt2-saved", 20, 12},
        {"prefix-tuning-init-prefix-50", 50, 28},
        {"prefix-tuning-lr0.001", 200, 28},
        {"prefix-tuning-zero-init", 200, 28},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/peft/configs/%s.adapter_config.json", shared_data(), cases[i].name);
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_parameters_release) struct cr_parameters parameters = {0};
        struct cr_peft_config read;
        assert_ok(cr_file_read(path, 1 << 16, &text));
        assert_ok(cr_peft_config_parse(cr_buffer_slice(&text), path, &read));
        assert_int_equal(read.method, CR_METHOD_PREFIX_TUNING);
        assert_int_equal(read.prefix.num_virtual_tokens, cases[i].tokens);
        assert_false(read.prefix.prefix_projection);
        assert_int_equal(read.num_layers, cases[i].layers);
        assert_fails(CR_INVALID, "num_layers", cr_peft_parameters(&read, &model->config, &parameters));
    }
}

#define HEAD "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\"]"

#define PREFIX "{\"peft_type\": \"PREFIX_TUNING\""

static void options_that_change_the_result_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        enum cr_status code;
    } cases[] = {
        {"[]", "must be a JSON object", CR_INVALID},
        {"{}", "peft_type", CR_UNSUPPORTED},
        {"{\"peft_type\": \"P_TUNING\"}", "peft_type", CR_UNSUPPORTED},
        {HEAD ", \"use_dora\": true}", "use_dora", CR_UNSUPPORTED},
        {HEAD ", \"bias\": \"all\"}", "bias", CR_UNSUPPORTED},
        {HEAD ", \"rank_pattern\": {\"q_proj\": 2}}", "rank_pattern", CR_UNSUPPORTED},
        {HEAD ", \"alpha_pattern\": {\"q_proj\": 2}}", "alpha_pattern", CR_UNSUPPORTED},
        {HEAD ", \"modules_to_save\": [\"lm_head\"]}", "modules_to_save", CR_UNSUPPORTED},
        {HEAD ", \"layers_pattern\": \"blocks\"}", "layers_pattern", CR_UNSUPPORTED},
        {HEAD ", \"init_lora_weights\": \"pissa\"}", "pissa", CR_UNSUPPORTED},
        {HEAD ", \"a_later_invention\": 3}", "a_later_invention", CR_UNSUPPORTED},
        {HEAD ", \"arrow_config\": {\"arrow_top_k\": 3}}", "arrow_config: not supported", CR_UNSUPPORTED},
        {HEAD ", \"kasa_config\": {\"beta\": 1}}", "kasa_config: not supported", CR_UNSUPPORTED},
        {HEAD ", \"lora_dropout\": 1}", "lora_dropout", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": -1e10}", "lora_alpha: -1e+10: out of range", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": 1e10}", "lora_alpha: 1e+10: out of range", CR_INVALID},
        {HEAD ", \"layers_to_transform\": [-1]}", "layers_to_transform", CR_INVALID},
        {HEAD ", \"use_rslora\": \"yes\"}", "use_rslora", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"r\": 0}", "r", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"r\": 2.5}", "r", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"r\": null}", "\"r\": a number is wanted, not null", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": null}", "\"lora_alpha\": a number", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"target_modules\": []}", "target_modules", CR_INVALID},
        {"{\"peft_type\": \"LORA\", \"target_modules\": [7]}", "target_modules", CR_INVALID},
        {PREFIX "}", "num_virtual_tokens", CR_INVALID},
        {PREFIX ", \"num_virtual_tokens\": 0}", "num_virtual_tokens", CR_INVALID},
        {PREFIX ", \"num_virtual_tokens\": 3, \"prefix_projection\": 1}", "prefix_projection", CR_INVALID},
        {PREFIX ", \"num_virtual_tokens\": 3, \"num_layers\": -1}", "num_layers", CR_INVALID},
        {PREFIX ", \"num_virtual_tokens\": 3, \"num_transformer_submodules\": 2}", "submodules",
         CR_UNSUPPORTED},
        {PREFIX ", \"num_virtual_tokens\": 3, \"modules_to_save\": [\"lm_head\"]}", "modules_to_save",
         CR_UNSUPPORTED},
        {PREFIX ", \"num_virtual_tokens\": 3, \"r\": 8}", "r: not supported", CR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_peft_config read;
        assert_fails(cases[i].code, cases[i].part,
                     cr_peft_config_parse(cr_slice_of_string(cases[i].text), "a.json", &read));
        assert_int_equal(strncmp(cr_error_message(), "a.json", 6), 0);
    }
}

static void options_that_say_nothing_are_passed_over(void **state)
{
    (void)state;
    struct cr_peft_config read;
    const char *text =
        HEAD ", \"use_dora\": false, \"a_later_invention\": null, \"another\": {}, \"bias\": \"none\","
             " \"layers_to_transform\": 1, \"layers_pattern\": [\"layers\"], \"peft_version\": \"9\"}";
    assert_ok(cr_peft_config_parse(cr_slice_of_string(text), "a.json", &read));
    assert_int_equal(read.lora.targets.layers.items[0], 1);
    cr_peft_config_release(&read);
    // These leave the base as it is.
    static const char *const initial[] = {"gaussian", "orthogonal", "eva"};
    for (size_t i = 0; i < sizeof initial / sizeof *initial; i++) {
        char begun[128];
        snprintf(begun, sizeof begun, HEAD ", \"init_lora_weights\": \"%s\"}", initial[i]);
        assert_ok(cr_peft_config_parse(cr_slice_of_string(begun), "a.json", &read));
        cr_peft_config_release(&read);
    }
    // Without names PEFT takes those of the family; without numbers its defaults.
    assert_ok(
        cr_peft_config_parse(cr_slice_of_string("\xef\xbb\xbf{\"peft_type\": \"LORA\"}"), "a.json", &read));
    assert_int_equal(read.lora.r, 8);
    assert_true(read.lora.lora_alpha == 8);
    size_t count;
    const char *const *targets = cr_lora_targets(&read.lora, &model->config, &count);
    assert_int_equal(count, 2);
    assert_string_equal(targets[1], "v_proj");
    const struct cr_model_config gpt2 = {.layout = CR_LAYOUT_GPT2};
    targets = cr_lora_targets(&read.lora, &gpt2, &count);
    assert_int_equal(count, 1);
    assert_string_equal(targets[0], "c_attn");
    cr_peft_config_release(&read);
}

// Writes the adapter with entry 1 as `change` leaves it, and one entry fewer or more.
static void write_changed(const struct cr_structure *adapter, const struct cr_tensor_entry *change, int more)
{
    struct cr_tensor_entry entries[32];
    size_t count = adapter->parameters.item_count;
    for (size_t i = 0; i < count; i++) {
        const struct cr_parameter *item = &adapter->parameters.items[i];
        entries[i] = (struct cr_tensor_entry){
            .name = item->name,
            .dtype = CR_F32,
            .rank = 2,
            .shape = {item->shape[0], item->shape[1]},
            .bytes = {(unsigned char *)(adapter->parameters.values + item->offset),
                      item->count * sizeof(float)},
        };
    }
    entries[count] = entries[0];
    entries[count].name = "base_model.model.lm_head.weight";
    if (change) entries[1] = *change;
    assert_ok(cr_safetensors_write(path_in("adapter/adapter_model.safetensors"), entries,
                                   (size_t)((int)count + more), true));
}

static void wrong_tensors_are_named(void **state)
{
    (void)state;
    struct cr_structure *adapter = random_adapter(), *read;
    const struct cr_parameter *item = &adapter->parameters.items[1];
    assert_ok(cr_peft_write(path_in("adapter"), &config, "base", &model->config, &adapter->parameters));
    write_changed(adapter, NULL, -1);
    assert_fails(CR_INVALID, "down_proj.lora_B.weight: missing",
                 cr_peft_open(path_in("adapter"), model, &read));
    write_changed(adapter, NULL, 1);
    assert_fails(CR_INVALID, "lm_head.weight", cr_peft_open(path_in("adapter"), model, &read));
    struct cr_tensor_entry change = {
        .name = item->name,
        .dtype = CR_F32,
        .rank = 2,
        .shape = {item->shape[1], item->shape[0]},
        .bytes = {(unsigned char *)(adapter->parameters.values + item->offset), item->count * sizeof(float)},
    };
    write_changed(adapter, &change, 0);
    assert_fails(CR_INVALID, "k_proj.lora_A.weight: its shape",
                 cr_peft_open(path_in("adapter"), model, &read));
    change.rank = 3;
    change.shape[0] = item->shape[0];
    change.shape[1] = item->shape[1];
    change.shape[2] = 1;
    write_changed(adapter, &change, 0);
    assert_fails(CR_INVALID, "k_proj.lora_A.weight: its shape",
                 cr_peft_open(path_in("adapter"), model, &read));
    change.rank = 2;
    change.dtype = CR_I32;
    write_changed(adapter, &change, 0);
    assert_fails(CR_UNSUPPORTED, "k_proj.lora_A.weight: only F32",
                 cr_peft_open(path_in("adapter"), model, &read));
    change.rank = 1;
    change.shape[0] = item->count;
    write_changed(adapter, &change, 0);
    assert_fails(CR_INVALID, "of rank 1", cr_peft_open(path_in("adapter"), model, &read));
    adapter->parameters.values[item->offset] = NAN;
    write_changed(adapter, NULL, 0);
    assert_fails(CR_INVALID, "NaN", cr_peft_open(path_in("adapter"), model, &read));
    cr_structure_free(adapter);
}

// PEFT saves target_modules as they were given, with names that other families of models have.
static void names_of_other_families_are_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *names, *part;
        enum cr_status code; // CR_OK: it opens
    } cases[] = {
        {"\"q_proj\", \"query_key_value\", \"k_proj\", \".*v_proj\", \"c_attn\"", NULL, CR_OK},
        {"\"q_proj\", \"query_key_value\"", "k_proj.lora_A.weight: adapter_config.json names no such tensor",
         CR_INVALID},
        {"\"query_key_value\", \"c_attn\"", "\"query_key_value\": no such linear module (known: q_proj",
         CR_INVALID},
        {"\"q_proj\", \"k_proj\", \"lm_head\"", "\"lm_head\": an adapter of embeddings", CR_UNSUPPORTED},
    };
    char *modules[] = {(char[]){"q_proj"}, (char[]){"k_proj"}};
    const struct cr_peft_config two = {.method = CR_METHOD_LORA,
                                       .lora = {.r = 2, .targets.modules = {modules, 2}}};
    struct cr_structure *adapter, *read;
    assert_ok(cr_lora_new(&two.lora, model, 0, 0, NULL, &adapter));
    assert_ok(cr_peft_write(path_in("adapter"), &two, "base", &model->config, &adapter->parameters));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(cr_append_format(&text, "{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [%s]}",
                                   cases[i].names));
        assert_ok(cr_file_write(path_in("adapter/adapter_config.json"), cr_buffer_slice(&text), true));
        enum cr_status status = cr_peft_open(path_in("adapter"), model, &read);
        if (cases[i].code != CR_OK) {
            assert_fails(cases[i].code, cases[i].part, status);
            continue;
        }
        assert_ok(status);
        assert_int_equal(read->parameters.count, adapter->parameters.count);
        cr_structure_free(read);
    }
    cr_structure_free(adapter);
}

static void sixteen_bit_adapters_are_read(void **state)
{
    (void)state;
    struct cr_structure *adapter = random_adapter(), *read;
    const struct cr_parameter *item = &adapter->parameters.items[1];
    assert_ok(cr_peft_write(path_in("adapter"), &config, "base", &model->config, &adapter->parameters));
    uint16_t *halves;
    assert_ok(cr_allocate(item->count, sizeof *halves, &halves));
    struct cr_tensor_entry change = {
        .name = item->name,
        .rank = 2,
        .shape = {item->shape[0], item->shape[1]},
        .bytes = {(unsigned char *)halves, item->count * sizeof *halves},
    };
    for (int kind = 0; kind < 2; kind++) {
        change.dtype = kind == 0 ? CR_F16 : CR_BF16;
        for (size_t i = 0; i < item->count; i++) halves[i] = kind == 0 ? 0x3e00 : 0x3fc0; // 1.5
        write_changed(adapter, &change, 0);
        assert_ok(cr_peft_open(path_in("adapter"), model, &read));
        for (size_t i = 0; i < item->count; i++)
            assert_true(read->parameters.values[item->offset + i] == 1.5f);
        cr_structure_free(read);
    }
    free(halves);
    cr_structure_free(adapter);
}

static void a_session_measures_what_a_trainer_measures(void **state)
{
    (void)state;
    char *modules[] = {all_linear}, train[] = "tests/golden/lora-gqa-tied/data.jsonl";
    struct cr_tuning_config run = small_run(train, modules, 1);
    run.data.eval = train;
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(&run, compute, NULL, &trainer));
    struct cr_tally tally = {0}, base = {0}, tuned = {0}, alone = {0};
    assert_ok(cr_trainer_run(trainer, 12, &tally, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &tuned, NULL, NULL));
    assert_ok(cr_trainer_save(trainer, path_in("tuned")));
    cr_trainer_free(trainer);

    struct cr_dataset_options options = {.max_length = 48};
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    assert_ok(
        cr_session_open(SMALL_MODEL, path_in("tuned"), CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    assert_ok(cr_session_evaluate(&session, train, &options, NULL, &alone));
    assert_true(fabs(alone.loss_sum / tuned.loss_sum - 1) < 1e-6);
    assert_int_equal(alone.labelled, tuned.labelled);
    assert_int_equal(alone.correct, tuned.correct);
    cr_session_release(&session);
    assert_ok(cr_session_open(SMALL_MODEL, NULL, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    assert_null(cr_session_tuned(&session));
    assert_ok(cr_session_evaluate(&session, train, &options, NULL, &base));
    assert_true(tuned.loss_sum < 0.98 * base.loss_sum);
    options.max_length = 65;
    assert_fails(CR_INVALID, "context is 64", cr_session_evaluate(&session, train, &options, NULL, &base));
}

static void note_warning(void *context, const struct cr_event *event)
{
    if (event->level == CR_EVENT_WARNING) (*(size_t *)context)++;
}

// A processor without products of bfloat16 computes in float32, and says so.
static void the_processor_decides_on_bfloat16(void **state)
{
    (void)state;
    size_t warnings = 0;
    const struct cr_event_sink sink = {note_warning, &warnings};
    struct cr_compute *scalar;
    struct cr_model *opened;
    assert_ok(cr_compute_new_with(1, CR_ISA_SCALAR, &scalar));
    assert_int_equal(cr_activation_type(scalar, CR_COMPUTE_FLOAT32, &sink), CR_F32);
    assert_int_equal(warnings, 0);
    assert_false(cr_compute_has_bf16(scalar));
    assert_int_equal(cr_activation_type(scalar, CR_COMPUTE_BFLOAT16, &sink), CR_F32);
    assert_int_equal(warnings, 1);
    assert_int_equal(cr_activation_type(scalar, CR_COMPUTE_BFLOAT16, NULL), CR_F32);
    assert_fails(CR_UNSUPPORTED, "no bfloat16 products (use float32)",
                 cr_model_open(SMALL_MODEL, CR_MODEL_AS_FILED, NULL, scalar, CR_BF16, &opened));
    cr_compute_free(scalar);
}

// The first 20 stories as rows of JSONL.
static const char *write_stories(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/datasets/tinystories/tinystories_first500.json", shared_data());
    struct cr_json *stories;
    assert_ok(cr_json_read(path, 1 << 24, &stories));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer rows = {0};
    for (size_t i = 0; i < 20; i++) {
        assert_ok(cr_append_format(&rows, "{\"text\": "));
        assert_ok(cr_json_append_string(&rows, cr_json_string(cr_json_at(stories, i))));
        assert_ok(cr_append_format(&rows, "}\n"));
    }
    cr_json_free(stories);
    const char *data = path_in("stories.jsonl");
    write_bytes(data, cr_buffer_slice(&rows));
    return data;
}

// Loss of an independent implementation (../shared/data/README.md): 1.334 nats per token, without EOS.
static void stories260k_has_its_reference_loss(void **state)
{
    (void)state;
    char stories[512];
    snprintf(stories, sizeof stories, "%s/models/stories260K", shared_data());
    const char *data = write_stories();
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    assert_ok(cr_session_open(stories, NULL, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    struct cr_dataset_options options = {.max_length = 512};
    struct cr_tally tally = {0};
    assert_ok(cr_session_evaluate(&session, data, &options, NULL, &tally));
    double loss = tally.loss_sum / (double)tally.labelled;
    print_message("stories260K: %.4f nats over %zu tokens\n", loss, tally.labelled);
    assert_true(fabs(loss - 1.334) < 0.002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adapter_is_read_as_it_was_written),
        cmocka_unit_test(what_peft_wrote_is_read),
        cmocka_unit_test(a_prefix_is_read_as_peft_writes_it),
        cmocka_unit_test(a_prefix_says_its_shape),
        cmocka_unit_test(prefix_configurations_of_peft_are_read),
        cmocka_unit_test(options_that_change_the_result_are_refused_by_name),
        cmocka_unit_test(options_that_say_nothing_are_passed_over),
        cmocka_unit_test(wrong_tensors_are_named),
        cmocka_unit_test(names_of_other_families_are_left_out),
        cmocka_unit_test(sixteen_bit_adapters_are_read),
        cmocka_unit_test(a_session_measures_what_a_trainer_measures),
        cmocka_unit_test(stories260k_has_its_reference_loss),
        cmocka_unit_test(the_processor_decides_on_bfloat16),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
