// A small model whose sums are cut into parts, forward (down) and back (gate and up): d = 4, F = 4,200, one
// layer, random weights.
#ifndef CARREL_TESTS_DEEP_SUPPORT_H
#define CARREL_TESTS_DEEP_SUPPORT_H

#include "model_support.h"
#include "temporary.h"

enum { DEEP_MOST = 2 * 4200 }; // numbers of a row

// Writes it, and returns its directory, which stays there.
static inline const char *deep_model(void)
{
    static char path[256];
    static const struct {
        const char *name;
        size_t rows, columns; // 0: a vector
    } tensors[] = {
        {"model.embed_tokens.weight", 48, 4},
        {"lm_head.weight", 48, 4},
        {"model.norm.weight", 4, 0},
        {"model.layers.0.input_layernorm.weight", 4, 0},
        {"model.layers.0.post_attention_layernorm.weight", 4, 0},
        {"model.layers.0.self_attn.q_proj.weight", 4, 4},
        {"model.layers.0.self_attn.k_proj.weight", 4, 4},
        {"model.layers.0.self_attn.v_proj.weight", 4, 4},
        {"model.layers.0.self_attn.o_proj.weight", 4, 4},
        {"model.layers.0.mlp.gate_proj.weight", DEEP_MOST / 2, 4},
        {"model.layers.0.mlp.up_proj.weight", DEEP_MOST / 2, 4},
        {"model.layers.0.mlp.down_proj.weight", 4, DEEP_MOST / 2},
    };
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0}, values = {0}, file = {0};
    uint64_t random = 11;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        size_t rows = tensors[i].rows, columns = tensors[i].columns, begin = values.size;
        for (size_t j = 0; j < rows * cr_most(1, columns); j++) {
            float value = columns ? 0.3f * next_float(&random) : 1;
            assert_ok(cr_append(&values, &value, sizeof value));
        }
        char shape[64];
        snprintf(shape, sizeof shape, columns ? "%zu,%zu" : "%zu", rows, columns);
        assert_ok(cr_append_format(&header,
                                   "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                   i ? "," : "{", tensors[i].name, shape, begin, values.size));
    }
    assert_ok(cr_append_format(&header, "}"));
    while (header.size % 8 != 0) assert_ok(cr_append_format(&header, " "));
    uint64_t size = header.size;
    assert_ok(cr_append(&file, &size, sizeof size));
    assert_ok(cr_append(&file, header.data, header.size));
    assert_ok(cr_append(&file, values.data, values.size));
    snprintf(path, sizeof path, "%s", in_directory("deep"));
    assert_ok(cr_directory_make(path, true));
    write_bytes(in_directory("deep/model.safetensors"), cr_buffer_slice(&file));
    write_text(in_directory("deep/config.json"),
               "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
               " \"hidden_size\": 4, \"intermediate_size\": 4200, \"num_hidden_layers\": 1,"
               " \"num_attention_heads\": 1, \"num_key_value_heads\": 1, \"vocab_size\": 48,"
               " \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5,"
               " \"hidden_act\": \"silu\", \"tie_word_embeddings\": false}");
    return path;
}

#endif
