#include "cli/bench_model.h"
#include "cli/bench_directory.h"

#include "base/file.h"
#include "crypto/random.h"
#include "format/safetensors.h"
#include "text/trainer.h"

#include <stdio.h>
#include <string.h>

enum { MOST_PER_LAYER = 12, MOST_ENDS = 4, LONGEST_NAME = 80 };

double cr_bench_operations(const struct cr_bench_shape *shape)
{
    size_t wide = shape->gpt2 ? 2 : 3; // number of linears to or from `intermediate`
    size_t per_layer = 4 * shape->hidden * shape->hidden + wide * shape->hidden * shape->intermediate;
    size_t parameters = shape->layers * per_layer + shape->vocabulary * shape->hidden;
    // Forward: scores and weighted sums; backward: gradients of p, v, q and k. That is six products of 2·d
    // operations for each key.
    size_t attention = shape->layers * 6 * 2 * shape->hidden * shape->context / 2;
    return 4.0 * (double)parameters + (double)attention;
}

static enum cr_status write_config(const struct cr_bench_shape *shape, const char *directory)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (shape->gpt2) {
        CR_TRY(cr_append_format(
            &text,
            "{\"model_type\": \"gpt2\", \"architectures\": [\"GPT2LMHeadModel\"], "
            "\"n_embd\": %zu, \"n_inner\": %zu, \"n_layer\": %zu, \"n_head\": %zu, \"vocab_size\": %zu, "
            "\"n_positions\": %zu, \"layer_norm_epsilon\": 1e-05, \"activation_function\": \"gelu_new\", "
            "\"tie_word_embeddings\": true}\n",
            shape->hidden, shape->intermediate, shape->layers, shape->heads, shape->vocabulary,
            shape->context));
        return cr_directory_write(directory, "config.json", cr_buffer_slice(&text), false);
    }
    CR_TRY(cr_append_format(
        &text,
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], "
        "\"hidden_size\": %zu, \"intermediate_size\": %zu, \"num_hidden_layers\": %zu, "
        "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, \"vocab_size\": %zu, "
        "\"max_position_embeddings\": %zu, \"rms_norm_eps\": 1e-05, \"hidden_act\": \"silu\", "
        "\"rope_theta\": 10000.0, \"tie_word_embeddings\": false}\n",
        shape->hidden, shape->intermediate, shape->layers, shape->heads, shape->heads, shape->vocabulary,
        shape->context));
    return cr_directory_write(directory, "config.json", cr_buffer_slice(&text), false);
}

// Values of both signs and one order of magnitude: the time of a step does not depend on them.
static void fill_random(struct cr_draws *stream, enum cr_dtype dtype, unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += 4096) {
        uint16_t draw[4096];
        size_t part = count - i < 4096 ? count - i : 4096;
        cr_draws_bytes(stream, draw, part * sizeof *draw);
        for (size_t j = 0; j < part; j++) {
            float value = ((float)draw[j] - 32767.5f) * (0.06f / 65536);
            uint32_t word;
            memcpy(&word, &value, sizeof word);
            uint16_t high = (uint16_t)(word >> 16); // bf16 by truncation
            if (dtype == CR_BF16)
                memcpy(bytes + 2 * (i + j), &high, 2);
            else
                memcpy(bytes + 4 * (i + j), &word, 4);
        }
    }
}

static void add_tensor(struct cr_tensor_entry *entries, char (*names)[LONGEST_NAME], size_t *count,
                       enum cr_dtype dtype, size_t rows, size_t columns)
{
    struct cr_tensor_entry *entry = &entries[*count];
    *entry = (struct cr_tensor_entry){.name = names[*count], .dtype = dtype, .rank = columns > 0 ? 2 : 1};
    entry->shape[0] = rows;
    entry->shape[1] = columns;
    entry->bytes.size = rows * (columns > 0 ? columns : 1) * cr_dtype_size(dtype);
    (*count)++;
}

struct tensor {
    const char *name; // NULL at the end
    size_t rows, columns;
};

static void list_tensors(const struct cr_bench_shape *shape, enum cr_dtype dtype,
                         struct cr_tensor_entry *entries, char (*names)[LONGEST_NAME], size_t *count)
{
    size_t d = shape->hidden, f = shape->intermediate, v = shape->vocabulary;
    const struct tensor llama_layer[MOST_PER_LAYER] = {
        {"self_attn.q_proj", d, d}, {"self_attn.k_proj", d, d}, {"self_attn.v_proj", d, d},
        {"self_attn.o_proj", d, d}, {"mlp.gate_proj", f, d},    {"mlp.up_proj", f, d},
        {"mlp.down_proj", d, f},    {"input_layernorm", d, 0},  {"post_attention_layernorm", d, 0},
    };
    const struct tensor gpt2_layer[MOST_PER_LAYER] = {
        {"ln_1.weight", d, 0},          {"ln_1.bias", d, 0},          {"attn.c_attn.weight", d, 3 * d},
        {"attn.c_attn.bias", 3 * d, 0}, {"attn.c_proj.weight", d, d}, {"attn.c_proj.bias", d, 0},
        {"ln_2.weight", d, 0},          {"ln_2.bias", d, 0},          {"mlp.c_fc.weight", d, f},
        {"mlp.c_fc.bias", f, 0},        {"mlp.c_proj.weight", f, d},  {"mlp.c_proj.bias", d, 0},
    };
    const struct tensor llama_ends[MOST_ENDS] = {
        {"model.embed_tokens.weight", v, d}, {"model.norm.weight", d, 0}, {"lm_head.weight", v, d}};
    const struct tensor gpt2_ends[MOST_ENDS] = {{"transformer.wte.weight", v, d},
                                                {"transformer.wpe.weight", shape->context, d},
                                                {"transformer.ln_f.weight", d, 0},
                                                {"transformer.ln_f.bias", d, 0}};
    const struct tensor *layer = shape->gpt2 ? gpt2_layer : llama_layer;
    const struct tensor *ends = shape->gpt2 ? gpt2_ends : llama_ends;
    *count = 0;
    for (size_t l = 0; l < shape->layers; l++) {
        for (size_t t = 0; t < MOST_PER_LAYER && layer[t].name; t++) {
            if (shape->gpt2)
                snprintf(names[*count], LONGEST_NAME, "transformer.h.%zu.%s", l, layer[t].name);
            else
                snprintf(names[*count], LONGEST_NAME, "model.layers.%zu.%s.weight", l, layer[t].name);
            add_tensor(entries, names, count, dtype, layer[t].rows, layer[t].columns);
        }
    }
    for (size_t t = 0; t < MOST_ENDS && ends[t].name; t++) {
        snprintf(names[*count], LONGEST_NAME, "%s", ends[t].name);
        add_tensor(entries, names, count, dtype, ends[t].rows, ends[t].columns);
    }
}

static enum cr_status write_weights(const struct cr_bench_shape *shape, enum cr_dtype dtype,
                                    const char *directory)
{
    size_t most = shape->layers * MOST_PER_LAYER + MOST_ENDS, count;
    CR_FREE struct cr_tensor_entry *entries = NULL;
    CR_FREE char(*names)[LONGEST_NAME] = NULL;
    CR_TRY(cr_allocate(most, sizeof *entries, &entries));
    CR_TRY(cr_allocate(most, sizeof *names, &names));
    list_tensors(shape, dtype, entries, names, &count);

    // All tensors use a part of the same random bytes: repeated weights do not change the cost of a product.
    size_t largest = 0;
    for (size_t i = 0; i < count; i++)
        if (entries[i].bytes.size > largest) largest = entries[i].bytes.size;
    CR_FREE unsigned char *bytes = NULL;
    CR_TRY(cr_allocate(largest, 1, &bytes));
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(1, "bench weights", &stream));
    fill_random(stream, dtype, bytes, largest / cr_dtype_size(dtype));
    cr_draws_free(stream);
    for (size_t i = 0; i < count; i++) entries[i].bytes.data = bytes;

    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "model.safetensors", &path));
    return cr_safetensors_write(path, entries, count, false);
}

// Every byte is a token, so a text of more than `context` letters fills a row.
static enum cr_status write_text(const struct cr_bench_shape *shape, size_t rows, const char *directory)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    const struct cr_bpe_options options = {.vocabulary = 256};
    struct cr_slice sample = cr_slice_of_string("a");
    CR_TRY(cr_bpe_train(&sample, 1, &options, &json));
    CR_TRY(cr_directory_write(directory, "tokenizer.json", cr_buffer_slice(&json), false));

    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(2, "bench text", &stream));
    enum cr_status status = CR_OK;
    for (size_t i = 0; i < rows && status == CR_OK; i++) {
        status = cr_append_format(&text, "{\"text\": \"");
        for (size_t j = 0; j <= shape->context && status == CR_OK; j++)
            status = cr_append_u8(&text, (uint8_t)('a' + cr_draws_below(stream, 26)));
        if (status == CR_OK) status = cr_append_format(&text, "\"}\n");
    }
    cr_draws_free(stream);
    CR_TRY(status);
    return cr_directory_write(directory, "train.jsonl", cr_buffer_slice(&text), false);
}

enum cr_status cr_bench_model_make(const struct cr_bench_shape *shape, enum cr_dtype dtype, size_t rows,
                                   char **directory)
{
    CR_FREE char *made = NULL;
    CR_TRY(cr_bench_directory_make(&made));
    enum cr_status status = write_config(shape, made);
    if (status == CR_OK) status = write_weights(shape, dtype, made);
    if (status == CR_OK) status = write_text(shape, rows, made);
    if (status != CR_OK) {
        cr_bench_directory_remove(made);
        return status;
    }
    *directory = made;
    made = NULL;
    return CR_OK;
}
