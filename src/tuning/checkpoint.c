#include "tuning/checkpoint.h"

#include "base/file.h"
#include "base/secret.h"
#include "format/json.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdio.h>

enum { COPY_LIMIT = 256 << 20, CONFIG_LIMIT = 16 << 20 };

static enum cr_status read_dropouts(const struct cr_json *root, const char *path, char *out, size_t size)
{
    static const char *const gpt2_keys[] = {"attn_pdrop", "embd_pdrop", "resid_pdrop", NULL};
    static const char *const llama_keys[] = {"attention_dropout", NULL};
    bool gpt2 = cr_json_is_string(cr_json_member(root, "model_type"), "gpt2");
    size_t used = 0;
    for (const char *const *key = gpt2 ? gpt2_keys : llama_keys; *key; key++) {
        double dropout;
        CR_TRY(cr_json_get_number(root, path, *key, gpt2 ? 0.1 : 0, &dropout)); // Transformers' defaults
        if (dropout > 0 && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s %.3g", used ? ", " : "", *key, dropout);
    }
    return CR_OK;
}

enum cr_status cr_checkpoint_config_read(const char *directory, struct cr_checkpoint_config *out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "config.json", &path));
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_read(path, CONFIG_LIMIT, &root));
    struct cr_checkpoint_config config = {.dtype = CR_F32};
    CR_TRY(cr_json_get_number(root, path, "initializer_range", 0.02, &config.initializer_range));
    if (!isfinite(config.initializer_range) || config.initializer_range < 0)
        return cr_fail(CR_INVALID, "%s: initializer_range: %g: must be at least 0", path,
                       config.initializer_range);
    CR_TRY(read_dropouts(root, path, config.dropouts, sizeof config.dropouts));
    const struct cr_json *dtype = cr_json_member(root, "dtype");
    if (!dtype) dtype = cr_json_member(root, "torch_dtype");
    if (cr_json_is_string(dtype, "bfloat16")) config.dtype = CR_BF16;
    if (cr_json_is_string(dtype, "float16")) config.dtype = CR_F16;
    *out = config;
    return CR_OK;
}

enum cr_status cr_checkpoint_has_template(const char *directory, bool *out)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_path_join(directory, "tokenizer_config.json", &path));
    if (cr_file_exists(path)) CR_TRY(cr_json_read(path, CONFIG_LIMIT, &root));
    *out = cr_json_kind(cr_json_member(root, "chat_template")) != CR_JSON_NULL ||
           cr_directory_has(directory, "chat_template.jinja");
    return CR_OK;
}

static enum cr_status copy_file(const char *from, const char *to, const char *name)
{
    CR_FREE char *source = NULL;
    CR_FREE char *target = NULL;
    CR_TRY(cr_path_join(from, name, &source));
    CR_TRY(cr_path_join(to, name, &target));
    if (!cr_file_exists(source)) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_file_read(source, COPY_LIMIT, &bytes));
    return cr_file_write(target, cr_buffer_slice(&bytes), true);
}

static enum cr_dtype stored_type(const struct cr_model *model, size_t i, enum cr_dtype otherwise)
{
    const struct cr_tensor_entry *entry =
        model->weights ? cr_parameter_entry(&model->parameters[i], model->weights) : NULL;
    return entry ? entry->dtype : otherwise;
}

// Trained values may be outside the range of a type that was large enough for the base's.
static enum cr_status check_range(const char *path, struct cr_compute *compute,
                                  const struct cr_tensor_entry *entry, const void *bytes, const float *values,
                                  size_t count)
{
    enum { PIECE = 1 << 16 }; // elements
    size_t size = cr_dtype_size(entry->dtype), most = cr_least(count, PIECE);
    CR_FREE float *written = NULL;
    CR_TRY(cr_allocate(most, sizeof *written, &written));
    bool finite = true;
    for (size_t at = 0; at < count && finite; at += most) {
        size_t n = cr_least(most, count - at);
        cr_convert(compute, (const unsigned char *)bytes + at * size, entry->dtype, written, CR_F32, n);
        finite = cr_all_finite(compute, written, n);
    }
    cr_wipe(written, most * sizeof *written);
    if (finite) return CR_OK;
    double largest = 0;
    for (size_t k = 0; k < count; k++) largest = fmax(largest, fabs((double)values[k]));
    return cr_fail(
        CR_INVALID,
        "%s: tensor %s: a value of %.6g is beyond %s, the type it is stored in (BF16 and F32 reach further)",
        path, entry->name, largest, cr_dtype_name(entry->dtype));
}

// A checkpoint while it is being written.
struct writing {
    const char *path;
    const struct cr_model *model;
    const struct cr_parameters *parameters;
    struct cr_tensor_entry *entries; // [parameters]; `bytes` has only sizes
    unsigned char *converted;        // [largest entry] the entry that is being written
};

// Converts an entry whose type or layout is not that of the vector.
static enum cr_status make_entry(void *context, size_t i, struct cr_slice *bytes)
{
    const struct writing *writing = context;
    const struct cr_parameter *item = &writing->parameters->items[i];
    const struct cr_model_parameter *place = &writing->model->parameters[i];
    const struct cr_tensor_entry *entry = &writing->entries[i];
    const float *values = writing->parameters->values + item->offset;
    bool same = entry->dtype == CR_F32 && !place->transposed;
    *bytes = (struct cr_slice){same ? (const void *)values : writing->converted, entry->bytes.size};
    if (same) return CR_OK;
    struct cr_compute *compute = writing->model->compute;
    CR_TRY(cr_parameter_encode(compute, place, values, entry->dtype, writing->converted));
    return check_range(writing->path, compute, entry, writing->converted, values, item->count);
}

static enum cr_status write_weights(const char *path, const struct cr_model *model, enum cr_dtype otherwise,
                                    const struct cr_parameters *parameters)
{
    size_t count = parameters->item_count, largest = 0;
    CR_FREE struct cr_tensor_entry *entries = NULL;
    CR_TRY(cr_allocate(count, sizeof *entries, &entries));
    for (size_t i = 0; i < count; i++) {
        const struct cr_parameter *item = &parameters->items[i];
        bool turned = model->parameters[i].transposed;
        enum cr_dtype dtype = stored_type(model, i, otherwise);
        entries[i] = (struct cr_tensor_entry){.name = item->name,
                                              .dtype = dtype,
                                              .rank = item->rank,
                                              .shape = {item->shape[turned], item->shape[!turned]},
                                              .bytes.size = item->count * cr_dtype_size(dtype)};
        largest = cr_most(largest, entries[i].bytes.size);
    }
    struct writing writing = {path, model, parameters, entries, NULL};
    CR_TRY(cr_secret_allocate(largest, 1, &writing.converted));
    enum cr_status status = cr_safetensors_write_made(path, entries, count, true, make_entry, &writing);
    cr_secret_free(&writing.converted);
    return status;
}

const char *const cr_checkpoint_copied[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    NULL,
};

enum cr_status cr_checkpoint_copy_files(const char *base, const char *directory)
{
    for (const char *const *name = cr_checkpoint_copied; *name; name++)
        CR_TRY(copy_file(base, directory, *name));
    return CR_OK;
}

enum cr_status cr_checkpoint_write(const char *directory, const char *base, const struct cr_model *model,
                                   const struct cr_parameters *parameters)
{
    struct cr_checkpoint_config config;
    CR_TRY(cr_checkpoint_config_read(base, &config));
    CR_TRY(cr_directory_make(directory, true));
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "model.safetensors", &path));
    CR_TRY(write_weights(path, model, config.dtype, parameters));
    return cr_checkpoint_copy_files(base, directory);
}
