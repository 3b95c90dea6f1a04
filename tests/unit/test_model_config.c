// model/: config.json in its spellings, and what must be refused of it and of checkpoints.
#include "model_support.h"

#include <math.h>

#define PLAIN                                                                                                \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"          \
    "\"num_attention_heads\":4,\"vocab_size\":100"

static enum cr_status parse(const char *text, struct cr_model_config *out)
{
    return cr_model_config_parse(cr_slice_of_string(text), "config.json", out);
}

static void absent_values_have_the_defaults_of_transformers(void **state)
{
    (void)state;
    struct cr_model_config config;
    assert_ok(parse("{" PLAIN "}", &config));
    assert_int_equal(config.layers, 2);
    assert_int_equal(config.kv_heads, 4);
    assert_int_equal(config.head_dim, 16);
    assert_int_equal(config.context, 2048);
    assert_false(config.tied_head);
    assert_true(config.norm_epsilon == 1e-6f);
    assert_true(config.rope.theta == 10000 && config.rope.factor == 1);
    assert_ok(parse("{" PLAIN ",\"num_key_value_heads\":2,\"head_dim\":20,\"max_position_embeddings\":512,"
                    "\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-5,\"rope_theta\":500000,"
                    "\"rope_scaling\":null,\"attention_bias\":false,\"hidden_act\":\"silu\"}",
                    &config));
    assert_int_equal(config.kv_heads, 2);
    assert_int_equal(config.head_dim, 20);
    assert_int_equal(config.context, 512);
    assert_true(config.tied_head);
    assert_true(config.norm_epsilon == 1e-5f);
    assert_true(config.rope.theta == 500000);
}

static void check_llama3(const char *text)
{
    struct cr_model_config config;
    assert_ok(parse(text, &config));
    assert_true(config.rope.theta == 500000 && config.rope.factor == 32);
    assert_int_equal(config.rope.scaling, CR_ROPE_LLAMA3);
    assert_true(config.rope.low_frequency == 1 && config.rope.high_frequency == 4);
    assert_int_equal(config.rope.original_context, 8192);
}

#define LLAMA3                                                                                               \
    "\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                                      \
    "\"original_max_position_embeddings\":8192"

static void rotary_scaling_is_read_in_every_spelling(void **state)
{
    (void)state;
    check_llama3("{" PLAIN ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3
                 "}}");
    check_llama3("{" PLAIN ",\"rope_theta\":500000.0,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 "}}");
    check_llama3("{" PLAIN ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0," LLAMA3
                 "}}");
    struct cr_model_config config;
    assert_ok(
        parse("{" PLAIN ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":777}}", &config));
    assert_true(config.rope.theta == 777 && config.rope.factor == 1);

    assert_ok(parse("{" PLAIN ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.7}}", &config));
    assert_true(config.rope.factor == 2.7 && config.rope.scaling == CR_ROPE_LINEAR);

    check_llama3("{" PLAIN ",\"rope_theta\":500000.0,\"original_max_position_embeddings\":8192,"
                 "\"rope_scaling\":{\"rope_type\":\"llama3\",\"original_max_position_embeddings\":64,"
                 "\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0}}");
    check_llama3("{" PLAIN ",\"rope_theta\":500000.0,\"max_position_embeddings\":8192,"
                 "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,"
                 "\"high_freq_factor\":4.0}}");

    // Of both Transformers takes rope_scaling, and rope_theta from there or from the top.
    check_llama3("{" PLAIN ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3
                 "},\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":777}}");
    assert_ok(parse("{" PLAIN ",\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":777}}", &config));
    assert_true(config.rope.theta == 777);
}

#define YARN "\"rope_type\":\"yarn\",\"factor\":4.0"
#define FROM(context) ",\"original_max_position_embeddings\":" #context

// The bounds are those that Transformers computes for 64 columns.
static void yarn_is_read_with_its_defaults(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        double first, last, amplitude, factor;
    } cases[] = {
        {YARN FROM(32768), 17, 30, 1.138629436111989, 4},
        {"\"type\":\"yarn\",\"factor\":4,\"beta_fast\":0,\"beta_slow\":null" FROM(32768), 17, 30,
         1.138629436111989, 4},
        {YARN FROM(32768) ",\"truncate\":false", 17.69696, 29.73816, 1.138629436111989, 4},
        {YARN FROM(32768) ",\"attention_factor\":0.5,\"beta_fast\":64,\"beta_slow\":2", 15, 28, 0.5, 4},
        {YARN FROM(32768) ",\"mscale\":0.707,\"mscale_all_dim\":1.0", 17, 30, 0.9643, 4},
        {YARN FROM(32768) ",\"mscale\":0.707", 17, 30, 1.138629436111989, 4},
        {"\"rope_type\":\"yarn\",\"factor\":null" FROM(32768), 17, 30, 1.0693147180559945, 2},
        {YARN FROM(1), 0, -6, 1.138629436111989, 4},
        {YARN FROM(32768) ",\"rope_theta\":10", 70, 63, 1.138629436111989, 4},
        {YARN FROM(32768) ",\"rope_theta\":13", 63, 63.001, 1.138629436111989, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct cr_model_config config;
        snprintf(text, sizeof text,
                 "{" PLAIN ",\"head_dim\":64,\"max_position_embeddings\":65536,\"rope_theta\":10000,"
                 "\"rope_scaling\":{%s}}",
                 cases[i].more);
        assert_ok(parse(text, &config));
        assert_int_equal(config.rope.scaling, CR_ROPE_YARN);
        assert_true(config.rope.factor == cases[i].factor);
        assert_true(fabs(config.rope.first_pair - cases[i].first) < 0.0005);
        assert_true(fabs(config.rope.last_pair - cases[i].last) < 0.0005);
        assert_true(fabs(config.rope.amplitude - cases[i].amplitude) < 1e-4);
    }
}

static void mistral_has_a_window_unless_it_says_null(void **state)
{
    (void)state;
    static const char shape[] = "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
                                "\"num_attention_heads\":4,\"vocab_size\":100,\"num_key_value_heads\":2";
    static const struct {
        const char *text;
        size_t window;
    } cases[] = {{",\"sliding_window\":null", 0}, {",\"sliding_window\":12", 12}, {"", 4096}};
    for (size_t i = 0; i < 3; i++) {
        char text[512];
        struct cr_model_config config;
        snprintf(text, sizeof text, "{\"model_type\":\"mistral\",%s%s}", shape, cases[i].text);
        assert_ok(parse(text, &config));
        assert_int_equal(cr_layer_window(&config, 0), cases[i].window);
        assert_int_equal(cr_layer_window(&config, 1), cases[i].window);
        snprintf(text, sizeof text,
                 "{\"model_type\":\"mistral\",%s%s,\"layer_types\":[\"full_attention\",\"%s_attention\"]}",
                 shape, cases[i].text, cases[i].window > 0 ? "sliding" : "full");
        assert_ok(parse(text, &config));
        assert_int_equal(cr_layer_window(&config, 0), 0);
        assert_int_equal(cr_layer_window(&config, 1), cases[i].window);
    }
}

static void llama_has_no_window_whatever_it_lists(void **state)
{
    (void)state;
    struct cr_model_config config;
    assert_ok(parse("{" PLAIN ",\"sliding_window\":12,\"layer_types\":[\"sliding_attention\"]}", &config));
    for (size_t i = 0; i < config.layers; i++) assert_int_equal(cr_layer_window(&config, i), 0);
}

#define GPT2 "\"model_type\":\"gpt2\",\"n_embd\":48,\"n_head\":4,\"n_layer\":2,\"vocab_size\":100"

static void gpt2_is_read_by_its_own_names(void **state)
{
    (void)state;
    struct cr_model_config config;
    assert_ok(parse("{" GPT2 ",\"n_ctx\":1024,\"n_positions\":512,\"activation_function\":\"gelu_new\","
                    "\"resid_pdrop\":0.1,\"n_inner\":null}",
                    &config));
    assert_true(config.layout == CR_LAYOUT_GPT2 && config.o_bias && config.mlp_bias && config.layer_norm &&
                config.gelu);
    assert_true(config.learned_positions && config.tied_head && config.norm_epsilon == 1e-5f);
    assert_true(config.context == 512 && config.intermediate == 192 && config.head_dim == 12);
    assert_true(config.kv_heads == 4);
    assert_ok(parse("{" GPT2 ",\"n_inner\":40,\"tie_word_embeddings\":false,\"layer_norm_epsilon\":0.001}",
                    &config));
    assert_true(config.intermediate == 40 && !config.tied_head && config.context == 1024);
    assert_true(config.norm_epsilon == 0.001f);
    assert_ok(parse("{" GPT2 ",\"num_attention_heads\":6,\"max_position_embeddings\":9}", &config));
    assert_true(config.heads == 6 && config.head_dim == 8 && config.context == 9);
    assert_ok(parse("{" GPT2 ",\"hidden_size\":24,\"num_hidden_layers\":7}", &config));
    assert_true(config.hidden == 24 && config.layers == 7);
    assert_ok(parse("{" GPT2 ",\"is_causal\":true,\"per_layer_config\":{}}", &config));
    assert_false(config.gelu_erf);
    assert_true(cr_layer_score_scale(&config, 1) == 1 / sqrt(12));
    assert_ok(parse("{" GPT2 ",\"activation_function\":\"gelu\",\"scale_attn_by_inverse_layer_idx\":true,"
                    "\"reorder_and_upcast_attn\":true}",
                    &config));
    assert_true(config.gelu && config.gelu_erf);
    assert_true(cr_layer_score_scale(&config, 1) == 1 / sqrt(12) / 2);
    assert_ok(parse("{" GPT2 ",\"scale_attn_weights\":false}", &config));
    assert_true(cr_layer_score_scale(&config, 1) == 1);
}

#define QWEN                                                                                                 \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"         \
    "\"vocab_size\":100,\"num_key_value_heads\":2"
#define QWEN2 "\"model_type\":\"qwen2\"," QWEN
#define QWEN3 "\"model_type\":\"qwen3\"," QWEN

static void qwen_is_read_as_published_and_as_transformers_writes_it(void **state)
{
    (void)state;
    struct cr_model_config config;
    assert_ok(parse("{" QWEN2 ",\"max_position_embeddings\":32768,\"max_window_layers\":24,"
                    "\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":32768,"
                    "\"tie_word_embeddings\":true,\"use_mrope\":false,\"use_sliding_window\":false}",
                    &config));
    assert_true(config.qkv_bias && !config.head_norms && config.tied_head);
    assert_true(config.rope.theta == 1000000);
    assert_int_equal(config.head_dim, 16);
    assert_ok(parse("{" QWEN2 ",\"layer_types\":[\"full_attention\",\"full_attention\"],"
                    "\"sliding_window\":null,\"use_sliding_window\":false,"
                    "\"rope_parameters\":{\"rope_theta\":777,\"rope_type\":\"default\"}}",
                    &config));
    assert_true(config.qkv_bias && !config.tied_head && config.rope.theta == 777);
    assert_int_equal(config.context, 32768);
    assert_ok(parse("{" QWEN3 ",\"head_dim\":32,\"attention_bias\":false,\"sliding_window\":null}", &config));
    assert_true(config.head_norms && !config.qkv_bias);
    assert_int_equal(config.head_dim, 32);
}

static void windows_are_where_transformers_has_them(void **state)
{
    (void)state;
    struct cr_model_config config;
    assert_ok(parse("{" QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":9,\"max_window_layers\":1}",
                    &config));
    assert_true(cr_layer_window(&config, 0) == 0 && cr_layer_window(&config, 1) == 9);
    assert_ok(parse("{" QWEN3 ",\"head_dim\":16,\"use_sliding_window\":true}", &config)); // from layer 28 on
    assert_true(cr_layer_window(&config, 0) == 0 && cr_layer_window(&config, 1) == 0);
    assert_ok(parse("{" QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":9,\"max_window_layers\":1,"
                    "\"layer_types\":[\"sliding_attention\",\"full_attention\"]}",
                    &config));
    assert_true(cr_layer_window(&config, 0) == 9 && cr_layer_window(&config, 1) == 0);
    assert_ok(parse("{" QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":null,\"max_window_layers\":0}",
                    &config));
    assert_true(cr_layer_window(&config, 0) == 0);
}

// A member added to a good configuration (later keys of these names are not in it), or one replaced.
static void bad_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum cr_status code;
        const char *part, *text;
    } cases[] = {
        {CR_INVALID, "config.json", "["},
        {CR_INVALID, "not a JSON object", "[]"},
        {CR_INVALID, "model_type is missing", "{\"hidden_size\":64}"},
        {CR_UNSUPPORTED, "\"gpt_neox\"", "{\"model_type\":\"gpt_neox\"}"},
        {CR_INVALID, "hidden_size", "{\"model_type\":\"llama\",\"num_hidden_layers\":2}"},
        {CR_UNSUPPORTED, "\"gelu\"", "{" PLAIN ",\"hidden_act\":\"gelu\"}"},
        {CR_INVALID, "attention_bias", "{" PLAIN ",\"attention_bias\":1}"},
        {CR_INVALID, "sliding_window", "{" QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":0}"},
        {CR_UNSUPPORTED, "\"relu\" is not supported (gelu and gelu_new are)",
         "{" GPT2 ",\"activation_function\":\"relu\"}"},
        {CR_UNSUPPORTED, "add_cross_attention", "{" GPT2 ",\"add_cross_attention\":true}"},
        {CR_INVALID, "n_inner", "{" GPT2 ",\"n_inner\":-1}"},
        {CR_INVALID, "n_embd: 50 is not a multiple",
         "{\"model_type\":\"gpt2\",\"n_embd\":50,\"n_head\":4,\"n_layer\":2,\"vocab_size\":100}"},
        {CR_INVALID, "n_embd / n_head: 1025 is more than 1024",
         "{\"model_type\":\"gpt2\",\"n_embd\":2050,\"n_head\":2,\"n_layer\":2,\"vocab_size\":100}"},
        {CR_INVALID, "n_layer", "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_head\":4,\"vocab_size\":100}"},
        {CR_INVALID, "use_sliding_window", "{" QWEN2 ",\"use_sliding_window\":\"no\"}"},
        {CR_INVALID, "sliding attention without a sliding_window",
         "{" QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}"},
        {CR_UNSUPPORTED, "layer_types",
         "{" QWEN2 ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}"},
        {CR_INVALID, "layer_types is not an array of 2", "{" QWEN2 ",\"layer_types\":[\"full_attention\"]}"},
        {CR_INVALID, "layer_types is not an array", "{" QWEN2 ",\"layer_types\":\"full_attention\"}"},
        {CR_UNSUPPORTED, "mlp_bias: true is not supported for qwen3",
         "{" QWEN3 ",\"head_dim\":16,\"mlp_bias\":true}"},
        {CR_UNSUPPORTED, "attention_bias: true is not supported for mistral",
         "{\"model_type\":\"mistral\",\"num_key_value_heads\":2,\"hidden_size\":64,\"intermediate_size\":96,"
         "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":100,\"attention_bias\":true}"},
        {CR_INVALID, "head_dim is missing", "{" QWEN3 "}"},
        {CR_INVALID, "num_key_value_heads is missing",
         "{\"model_type\":\"qwen2\",\"hidden_size\":64,\"num_attention_heads\":4}"},
        {CR_UNSUPPORTED, "by kind of layer",
         "{" PLAIN ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":7e5}}}"},
        {CR_UNSUPPORTED, "is_causal", "{" PLAIN ",\"is_causal\":false}"},
        {CR_UNSUPPORTED, "is_causal", "{" GPT2 ",\"is_causal\":null}"},
        {CR_UNSUPPORTED, "per_layer_config", "{" PLAIN ",\"per_layer_config\":{\"1\":{\"head_dim\":8}}}"},
        {CR_UNSUPPORTED, "quantization_config", "{" PLAIN ",\"quantization_config\":{\"bits\":4}}"},
        {CR_UNSUPPORTED, "partial_rotary_factor", "{" PLAIN ",\"partial_rotary_factor\":0.5}"},
        {CR_INVALID, "num_key_value_heads", "{" PLAIN ",\"num_key_value_heads\":0}"},
        {CR_INVALID, "does not divide", "{" PLAIN ",\"num_key_value_heads\":3}"},
        {CR_INVALID, "head_dim", "{" PLAIN ",\"head_dim\":7}"},
        {CR_INVALID, "head_dim", "{" PLAIN ",\"head_dim\":0}"},
        {CR_INVALID, "head_dim", "{" PLAIN ",\"head_dim\":4294967296}"},
        {CR_INVALID, "tie_word_embeddings", "{" PLAIN ",\"tie_word_embeddings\":1}"},
        {CR_INVALID, "rms_norm_eps", "{" PLAIN ",\"rms_norm_eps\":0}"},
        {CR_INVALID, "rms_norm_eps", "{" PLAIN ",\"rms_norm_eps\":-1e-5}"},
        {CR_INVALID, "rms_norm_eps", "{" PLAIN ",\"rms_norm_eps\":\"small\"}"},
        {CR_INVALID, "rms_norm_eps", "{" PLAIN ",\"rms_norm_eps\":1e-60}"},
        {CR_INVALID, "rope_theta", "{" PLAIN ",\"rope_theta\":-1}"},
        {CR_INVALID, "rope_theta", "{" PLAIN ",\"rope_theta\":1e-300}"},
        {CR_INVALID, "max_position_embeddings", "{" PLAIN ",\"max_position_embeddings\":1e30}"},
        {CR_INVALID, "max_position_embeddings", "{" PLAIN ",\"max_position_embeddings\":0}"},
        {CR_INVALID, "rope_scaling is not an object", "{" PLAIN ",\"rope_scaling\":2}"},
        {CR_UNSUPPORTED, "rope_scaling: rope_type \"longrope\"",
         "{" PLAIN ",\"rope_scaling\":{\"type\":\"longrope\"},\"rope_parameters\":{\"rope_theta\":777}}"},
        {CR_INVALID, "factor is missing", "{" PLAIN ",\"rope_parameters\":{\"rope_type\":\"dynamic\"}}"},
        {CR_INVALID, "factor is missing", "{" PLAIN ",\"rope_scaling\":{\"type\":\"yarn\"}}"},
        {CR_INVALID, "factor: 0.5 is below 1",
         "{" PLAIN ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":null,"
         "\"original_max_position_embeddings\":4096}}"},
        {CR_INVALID, "rope_theta: 1 leaves yarn",
         "{" PLAIN ",\"rope_theta\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}}"},
        {CR_INVALID, "beta_fast: -1 is not", "{" PLAIN ",\"rope_scaling\":{" YARN ",\"beta_fast\":-1}}"},
        {CR_INVALID, "attention_factor", "{" PLAIN ",\"rope_scaling\":{" YARN ",\"attention_factor\":0}}"},
        {CR_INVALID, "mscale -9 and mscale_all_dim 1",
         "{" PLAIN ",\"rope_scaling\":{" YARN ",\"mscale\":-9,\"mscale_all_dim\":1}}"},
        {CR_INVALID, "factor is missing", "{" PLAIN ",\"rope_parameters\":{\"rope_type\":\"linear\"}}"},
        {CR_INVALID, "0.7 is below 1", "{" PLAIN ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.7}}"},
        {CR_INVALID, "factor is missing", "{" PLAIN ",\"rope_scaling\":{\"rope_type\":\"llama3\"}}"},
        {CR_INVALID, "is not above",
         "{" PLAIN ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
         "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}"},
        {CR_INVALID, "is not a multiple",
         "{\"model_type\":\"llama\",\"hidden_size\":65,\"intermediate_size\":96,\"num_hidden_layers\":2,"
         "\"num_attention_heads\":4,\"vocab_size\":100}"},
        {CR_INVALID, "num_attention_heads",
         "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
         "\"num_attention_heads\":0,\"vocab_size\":100}"},
        {CR_INVALID, "num_hidden_layers",
         "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":1e9,"
         "\"num_attention_heads\":4,\"vocab_size\":100}"},
        {CR_INVALID, "intermediate_size",
         "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":-3,\"num_hidden_layers\":1,"
         "\"num_attention_heads\":4,\"vocab_size\":100}"},
        {CR_INVALID, "vocab_size",
         "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":1,"
         "\"num_attention_heads\":4,\"vocab_size\":99999999999}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_model_config config = {.layers = 7};
        assert_fails(cases[i].code, cases[i].part, parse(cases[i].text, &config));
        assert_non_null(strstr(cr_error_message(), "config.json"));
        assert_int_equal(config.layers, 7);
    }
}

// Writes a good directory, of zeros, or one whose tensor `victim` was left out, renamed, reshaped, retyped or
// is not zero.
enum damage { NONE, MISSING, RENAMED, RESHAPED, FLATTENED, RETYPED, OTHER, SURPLUS, HARMLESS };

static void write_checkpoint(const char *directory, const struct cr_model *model, const char *victim,
                             enum damage damage)
{
    static const float zeros[4096], others[4096] = {1};
    struct cr_tensor_entry entries[64];
    size_t count = 0;
    for (size_t i = 0; i < model->parameter_count; i++) {
        const struct cr_model_parameter *p = &model->parameters[i];
        struct cr_tensor_entry entry = {
            .name = p->name, .rank = p->columns ? 2 : 1, .shape = {p->rows, p->columns}};
        if (strcmp(p->name, victim) == 0) {
            if (damage == MISSING) continue;
            if (damage == RENAMED) entry.name = "model.surprise.weight";
            if (damage == RESHAPED) entry.shape[0] += 1;
            if (damage == FLATTENED) entry.rank = 3, entry.shape[2] = 1;
            if (damage == RETYPED) entry.dtype = CR_I32;
        }
        size_t elements = entry.shape[0] * (entry.rank > 1 ? entry.shape[1] : 1);
        bool other = damage == OTHER && strcmp(p->name, victim) == 0;
        entry.bytes =
            (struct cr_slice){(const unsigned char *)(other ? others : zeros), elements * sizeof(float)};
        assert_true(entry.bytes.size <= sizeof zeros);
        entries[count++] = entry;
    }
    struct cr_tensor_entry more = {.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .rank = 1};
    if (damage == SURPLUS) more.name = "model.layers.9.mlp.up_proj.weight";
    more.shape[0] = 3;
    more.bytes = (struct cr_slice){(const unsigned char *)zeros, 12};
    if (damage == SURPLUS || damage == HARMLESS) entries[count++] = more;
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(directory, "model.safetensors", &path));
    assert_ok(cr_safetensors_write(path, entries, count, false));
}

static void write_config(const char *directory, const struct cr_model_config *config)
{
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(directory, "config.json", &path));
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"model_type\":\"llama\",\"hidden_size\":%zu,\"intermediate_size\":%zu,"
        "\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,"
        "\"head_dim\":%zu,\"vocab_size\":%zu,\"max_position_embeddings\":%zu,\"tie_word_embeddings\":%s}",
        config->hidden, config->intermediate, config->layers, config->heads, config->kv_heads,
        config->head_dim, config->vocabulary, config->context, config->tied_head ? "true" : "false");
    write_text(path, text);
}

static void remove_directory(const char *directory)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        CR_FREE char *path = NULL;
        assert_ok(cr_path_join(directory, names[i], &path));
        (void)unlink(path);
    }
    assert_int_equal(rmdir(directory), 0);
}

static void end(const char *directory, struct cr_model *shape, struct cr_compute *compute)
{
    remove_directory(directory);
    cr_model_free(shape);
    cr_compute_free(compute);
}

static void bad_checkpoints_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum damage damage;
        const char *victim;
        enum cr_status code;
        const char *part;
    } cases[] = {
        {NONE, "", CR_OK, ""},
        {HARMLESS, "", CR_OK, ""},
        {MISSING, "model.norm.weight", CR_INVALID, "tensor model.norm.weight is missing"},
        {MISSING, "lm_head.weight", CR_INVALID, "lm_head.weight"},
        {RENAMED, "model.layers.1.mlp.up_proj.weight", CR_INVALID, "mlp.up_proj.weight is missing"},
        {SURPLUS, "", CR_INVALID, "model.layers.9.mlp.up_proj.weight has no place"},
        {RESHAPED, "model.layers.2.self_attn.k_proj.weight", CR_INVALID,
         "shape [13, 20], config.json says [12, 20]"},
        {RESHAPED, "model.layers.0.input_layernorm.weight", CR_INVALID, "shape [21], config.json says [20]"},
        {FLATTENED, "model.layers.0.mlp.down_proj.weight", CR_INVALID, "shape [20, 28, 1]"},
        {RETYPED, "model.embed_tokens.weight", CR_UNSUPPORTED, "model.embed_tokens.weight"},
    };
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *shape = random_model(compute, small_config(), CR_F32);
    char directory[] = "/tmp/carrel-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    write_config(directory, &shape->config);
    struct cr_model *model = NULL;
    assert_fails(CR_NOT_FOUND, directory,
                 cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_checkpoint(directory, shape, cases[i].victim, cases[i].damage);
        if (cases[i].code == CR_OK) {
            assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
            cr_model_free(model);
            model = NULL;
        } else {
            assert_fails(cases[i].code, cases[i].part,
                         cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
            assert_null(model);
        }
    }
    end(directory, shape, compute);
}

static void a_tied_head_is_the_embedding(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *shape = random_model(compute, small_config(), CR_F32), *model = NULL;
    char directory[] = "/tmp/carrel-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    struct cr_model_config tied = shape->config;
    tied.tied_head = true;
    write_config(directory, &tied);
    write_checkpoint(directory, shape, "", NONE);
    assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    cr_model_free(model);
    model = NULL;
    write_checkpoint(directory, shape, "lm_head.weight", OTHER);
    assert_fails(CR_INVALID, "lm_head.weight is not the embedding",
                 cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    assert_non_null(strstr(cr_error_message(), directory));
    assert_null(model);
    // safetensors' save_model writes the head alone.
    write_checkpoint(directory, shape, "model.embed_tokens.weight", MISSING);
    assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    const struct cr_tensor_entry *head = cr_safetensors_find(model->weights, "lm_head.weight");
    assert_memory_equal(model->embedding.data, head->bytes.data, head->bytes.size);
    cr_model_free(model);
    model = NULL;
    write_config(directory, &shape->config); // not tied
    assert_fails(CR_INVALID, "tensor model.embed_tokens.weight is missing",
                 cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    assert_null(model);
    end(directory, shape, compute);
}

static void weights_stay_in_the_mapping_unless_trainable(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct cr_model *shape = random_model(compute, small_config(), CR_F32), *model;
    char directory[] = "/tmp/carrel-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    write_config(directory, &shape->config);
    write_checkpoint(directory, shape, "", NONE);
    float one[20 * 28] = {1};
    for (int trainable = 0; trainable < 2; trainable++) {
        if (trainable)
            assert_ok(cr_model_open(directory, CR_MODEL_TRAINABLE, NULL, compute, CR_F32, &model));
        else
            assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
        const struct cr_model_parameter *down = cr_model_find(model, "model.layers.0.mlp.down_proj.weight");
        const struct cr_tensor_entry *entry = cr_safetensors_find(model->weights, down->name);
        size_t index = (size_t)(down - model->parameters);
        if (trainable) {
            assert_ok(cr_model_set(model, index, one));
            float back[20 * 28];
            cr_model_get(model, index, back);
            assert_memory_equal(back, one, sizeof one);
        } else {
            assert_ptr_equal(down->place.data, entry->bytes.data);
            assert_fails(CR_INVALID, "down_proj.weight cannot be set", cr_model_set(model, index, one));
        }
        cr_model_free(model);
    }
    end(directory, shape, compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_values_have_the_defaults_of_transformers),
        cmocka_unit_test(rotary_scaling_is_read_in_every_spelling),
        cmocka_unit_test(yarn_is_read_with_its_defaults),
        cmocka_unit_test(mistral_has_a_window_unless_it_says_null),
        cmocka_unit_test(llama_has_no_window_whatever_it_lists),
        cmocka_unit_test(gpt2_is_read_by_its_own_names),
        cmocka_unit_test(windows_are_where_transformers_has_them),
        cmocka_unit_test(qwen_is_read_as_published_and_as_transformers_writes_it),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(bad_checkpoints_are_refused),
        cmocka_unit_test(a_tied_head_is_the_embedding),
        cmocka_unit_test(weights_stay_in_the_mapping_unless_trainable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
