#include "text/beside.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 64 << 20, NESTING_LIMIT = 8 };

static enum cr_status read_file(const char *directory, const char *name, struct cr_beside_file *out)
{
    CR_TRY(cr_path_join(directory, name, &out->path));
    if (!cr_file_exists(out->path)) return CR_OK;
    CR_TRY(cr_json_read(out->path, FILE_LIMIT, &out->json));
    if (cr_json_kind(out->json) == CR_JSON_OBJECT) return CR_OK;
    return cr_fail(CR_INVALID, "%s: not a JSON object", out->path);
}

static void release_file(struct cr_beside_file *file)
{
    free(file->path);
    cr_json_free(file->json);
    *file = (struct cr_beside_file){0};
}

enum cr_status cr_beside_read(const char *directory, struct cr_beside *out)
{
    CR_CLEANUP(cr_beside_release) struct cr_beside read = {0};
    CR_TRY(read_file(directory, "tokenizer_config.json", &read.config));
    if (!cr_json_member(read.config.json, "added_tokens_decoder")) {
        CR_TRY(read_file(directory, "special_tokens_map.json", &read.map));
        CR_TRY(read_file(directory, "added_tokens.json", &read.added));
    }
    CR_TRY(read_file(directory, "config.json", &read.model));
    *out = read;
    read = (struct cr_beside){0};
    return CR_OK;
}

void cr_beside_release(struct cr_beside *beside)
{
    release_file(&beside->config);
    release_file(&beside->map);
    release_file(&beside->added);
    release_file(&beside->model);
}

// The tokenizer's class without "Fast": as named, or else by the model's type. {NULL, 0} for the class that
// follows the tokenizer.json, which is always used for mistral models.
static struct cr_slice class_of(const struct cr_beside *beside)
{
    static const char *const classes[][2] = {
        {"gpt2", "GPT2Tokenizer"}, {"qwen2", "Qwen2Tokenizer"}, {"qwen3", "Qwen2Tokenizer"}};
    const struct cr_json *const files[] = {beside->config.json, beside->model.json};
    const struct cr_json *type = cr_json_member(beside->model.json, "model_type");
    if (cr_json_is_string(type, "mistral")) return (struct cr_slice){NULL, 0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct cr_slice class = cr_json_string(cr_json_member(files[i], "tokenizer_class"));
        if (class.size > 4 && memcmp(class.data + class.size - 4, "Fast", 4) == 0) class.size -= 4;
        if (class.data) return class;
    }
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (cr_json_is_string(type, classes[i][0])) return cr_slice_of_string(classes[i][1]);
    return (struct cr_slice){NULL, 0};
}

// The component itself if it is a ByteLevel, or the first ByteLevel of a Sequence, whose members are in
// `list`; or NULL.
static const struct cr_json *byte_level_of(const struct cr_json *component, const char *list, size_t depth)
{
    const struct cr_json *parts = cr_json_member(component, list), *found = NULL;
    if (cr_json_is_string(cr_json_member(component, "type"), "ByteLevel")) return component;
    for (size_t i = 0; !found && depth < NESTING_LIMIT && i < cr_json_count(parts); i++)
        found = byte_level_of(cr_json_at(parts, i), list, depth + 1);
    return found;
}

enum cr_status cr_beside_check(const struct cr_beside *beside, const struct cr_json *root)
{
    const struct cr_json *own = byte_level_of(cr_json_member(root, "pre_tokenizer"), "pretokenizers", 0);
    struct cr_slice class = class_of(beside);
    bool prefix = cr_json_bool(cr_json_member(beside->config.json, "add_prefix_space"), false);
    bool followed = cr_slice_equal(class, cr_slice_of_string("GPT2Tokenizer")) ||
                    cr_slice_equal(class, cr_slice_of_string("Qwen2Tokenizer"));
    if (!prefix || !followed || (own && cr_json_bool(cr_json_member(own, "add_prefix_space"), true)))
        return CR_OK;
    return cr_fail(CR_UNSUPPORTED,
                   "%s: add_prefix_space: true, which the ByteLevel of tokenizer.json does not have, is not "
                   "supported (a %.*s of Transformers puts a space before a text then)",
                   beside->config.path, (int)class.size, (const char *)class.data);
}

// Source: tokenization_auto.py and tokenization_llama.py of Transformers 5.24. Except for models of type
// mistral and byte-level files, its LlamaTokenizer takes only vocabulary and merges from a tokenizer.json,
// and cuts the text itself: it puts one mark before the text ("legacy": before each piece between special
// tokens) unless it begins with a space. Decoding drops a leading space only if encoding puts a mark. The
// files' own, older normalizers put a mark before each piece and keep its space.
enum cr_status cr_beside_metaspace(const struct cr_beside *beside, const struct cr_json *root,
                                   struct cr_json **out)
{
    const struct cr_json *config = beside->config.json;
    if (!cr_slice_equal(class_of(beside), cr_slice_of_string("LlamaTokenizer")) ||
        byte_level_of(cr_json_member(root, "pre_tokenizer"), "pretokenizers", 0) ||
        byte_level_of(cr_json_member(root, "decoder"), "decoders", 0) ||
        byte_level_of(cr_json_member(root, "post_processor"), "processors", 0))
        return CR_OK;
    bool prefix, legacy;
    CR_TRY(cr_json_get_bool(config, beside->config.path, "add_prefix_space", true, &prefix));
    CR_TRY(cr_json_get_bool(config, beside->config.path, "legacy", false, &legacy));
    char text[512];
    snprintf(text, sizeof text,
             "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\u2581\", \"split\": false, "
             "\"prepend_scheme\": \"%s\"}, \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
             "\"Replace\", \"pattern\": {\"String\": \"\u2581\"}, \"content\": \" \"}, {\"type\": "
             "\"ByteFallback\"}, {\"type\": \"Fuse\"}%s]}}",
             !prefix  ? "never"
             : legacy ? "always"
                      : "first",
             prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
    return cr_json_parse(cr_slice_of_string(text), "LlamaTokenizer", out);
}
