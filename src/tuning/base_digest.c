#include "tuning/base_digest.h"

#include "base/file.h"
#include "base/mapping.h"
#include "text/tokenizer.h"

enum { TOKENIZER_LIMIT = 256 << 20 };

static enum cr_status add_shape(const struct cr_model_config *shape, struct cr_hasher *hasher)
{
    const struct cr_rope *rope = &shape->rope;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(
        &text,
        "carrel model 1\n%zu %zu %zu %zu %zu %zu %zu %zu %d %.9g %d %.17g %.17g %.17g %.17g %zu %.17g %.17g "
        "%.17g %d %d",
        shape->layers, shape->hidden, shape->heads, shape->kv_heads, shape->head_dim, shape->intermediate,
        shape->vocabulary, shape->context, shape->tied_head, (double)shape->norm_epsilon, rope->scaling,
        rope->theta, rope->factor, rope->low_frequency, rope->high_frequency, rope->original_context,
        rope->first_pair, rope->last_pair, rope->amplitude, shape->gelu_erf, shape->layout));
    for (size_t i = 0; i < shape->layers; i++)
        CR_TRY(
            cr_append_format(&text, " %zu %.17g", cr_layer_window(shape, i), cr_layer_score_scale(shape, i)));
    CR_TRY(cr_append_format(&text, "\n"));
    return cr_hasher_add(hasher, cr_buffer_slice(&text));
}

static enum cr_status add_tensor(const struct cr_tensor_entry *entry, struct cr_hasher *hasher)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "tensor %s %d %zu\n", entry->name, (int)entry->dtype, entry->bytes.size));
    CR_TRY(cr_hasher_add(hasher, cr_buffer_slice(&text)));
    CR_TRY(cr_hasher_add(hasher, entry->bytes));
    cr_file_drop(entry->bytes); // whoever computes with it reads it again; others need not keep it in memory
    return CR_OK;
}

static enum cr_status digest_model(const struct cr_model_config *shape, const struct cr_safetensors *weights,
                                   unsigned char out[CR_SHA256_SIZE])
{
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_TRY(cr_hasher_new(&hasher));
    CR_TRY(add_shape(shape, hasher));
    for (size_t i = 0; weights && i < cr_safetensors_count(weights); i++)
        CR_TRY(add_tensor(cr_safetensors_at(weights, i), hasher));
    return cr_hasher_finish(hasher, out);
}

static enum cr_status digest_tokenizer(const char *directory, unsigned char out[CR_SHA256_SIZE])
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_CLEANUP(cr_tokenizer_release) struct cr_tokenizer *tokenizer = NULL;
    CR_TRY(cr_tokenizer_open(directory, &tokenizer));
    CR_TRY(cr_path_join(directory, "tokenizer.json", &path));
    CR_TRY(cr_file_read(path, TOKENIZER_LIMIT, &bytes));
    struct cr_slice beside = cr_tokenizer_beside(tokenizer);
    CR_TRY(cr_append(&bytes, beside.data, beside.size));
    return cr_sha256(cr_buffer_slice(&bytes), out);
}

enum cr_status cr_base_digest_of(const char *directory, const struct cr_model_config *shape,
                                 const struct cr_safetensors *weights, struct cr_base_digest *out)
{
    struct cr_base_digest digest;
    CR_TRY(digest_model(shape, weights, digest.model));
    CR_TRY(digest_tokenizer(directory, digest.tokenizer));
    *out = digest;
    return CR_OK;
}

enum cr_status cr_base_digest_front(const struct cr_model *model, const char *directory, bool in_8bit,
                                    size_t layers, struct cr_base_digest *out)
{
    const struct cr_model_part front = cr_model_front(layers);
    struct cr_base_digest digest;
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(digest_tokenizer(directory, digest.tokenizer));
    CR_TRY(cr_append_format(&text, "carrel front 1\n%zu %d\n", layers, in_8bit));
    CR_TRY(cr_hasher_new(&hasher));
    CR_TRY(cr_hasher_add(hasher, cr_buffer_slice(&text)));
    CR_TRY(add_shape(&model->config, hasher));
    CR_TRY(cr_hasher_add(hasher, (struct cr_slice){digest.tokenizer, sizeof digest.tokenizer}));
    for (size_t i = 0; i < model->parameter_count; i++)
        if (cr_model_part_has(&front, &model->config, &model->parameters[i]))
            CR_TRY(add_tensor(cr_parameter_entry(&model->parameters[i], model->weights), hasher));
    CR_TRY(cr_hasher_finish(hasher, digest.model));
    *out = digest;
    return CR_OK;
}

enum cr_status cr_digest_examples(const struct cr_dataset *data, struct cr_hasher *hasher)
{
    for (size_t i = 0; i < cr_dataset_count(data); i++) {
        const struct cr_example example = cr_dataset_at(data, i);
        const uint64_t count = example.count;
        const struct cr_slice parts[] = {
            {(const unsigned char *)&count, sizeof count},
            {(const unsigned char *)example.tokens, example.count * sizeof *example.tokens},
            {(const unsigned char *)example.labels, example.count * sizeof *example.labels}};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) CR_TRY(cr_hasher_add(hasher, parts[k]));
    }
    return CR_OK;
}

enum cr_status cr_base_digest_read(const char *directory, bool random_init, struct cr_base_digest *out)
{
    struct cr_model_config shape;
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *weights = NULL;
    CR_TRY(cr_model_config_read(directory, &shape));
    if (!random_init) CR_TRY(cr_safetensors_open(directory, &weights));
    return cr_base_digest_of(directory, &shape, weights, out);
}
