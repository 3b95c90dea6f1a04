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
    if (!cr_json_member(read.config.json, "added_tokens_decoder"))
        CR_TRY(read_file(directory, "special_tokens_map.json", &read.map));
    *out = read;
    read = (struct cr_beside){0};
    return CR_OK;
}

void cr_beside_release(struct cr_beside *beside)
{
    release_file(&beside->config);
    release_file(&beside->map);
}

static bool is_llama(const struct cr_json *json)
{
    const struct cr_json *class = cr_json_member(json, "tokenizer_class");
    return cr_json_is_string(class, "LlamaTokenizer") || cr_json_is_string(class, "LlamaTokenizerFast");
}

// Whether a component is ByteLevel, or a Sequence (whose members are in `list`) that has one.
static bool is_byte_level(const struct cr_json *component, const char *list, size_t depth)
{
    const struct cr_json *parts = cr_json_member(component, list);
    for (size_t i = 0; depth < NESTING_LIMIT && i < cr_json_count(parts); i++)
        if (is_byte_level(cr_json_at(parts, i), list, depth + 1)) return true;
    return cr_json_is_string(cr_json_member(component, "type"), "ByteLevel");
}

// Source: tokenization_auto.py and tokenization_llama.py of Transformers 5.24. Its LlamaTokenizer, but for
// models of type mistral and files that are byte-level, takes vocabulary and merges from a tokenizer.json and
// cuts the text itself: one mark before it ("legacy": before each piece between special tokens) unless it
// begins with a space. The files' own normalizers, which are older, put a mark before each piece and keep its
// space.
enum cr_status cr_beside_metaspace(const struct cr_beside *beside, const char *directory,
                                   const struct cr_json *root, struct cr_json **out)
{
    struct cr_beside_file model = {0};
    const struct cr_json *config = beside->config.json;
    enum cr_status status = read_file(directory, "config.json", &model);
    bool named = cr_json_kind(cr_json_member(config, "tokenizer_class")) != CR_JSON_NULL;
    bool llama = is_llama(named ? config : model.json) &&
                 !cr_json_is_string(cr_json_member(model.json, "model_type"), "mistral") &&
                 !is_byte_level(cr_json_member(root, "pre_tokenizer"), "pretokenizers", 0) &&
                 !is_byte_level(cr_json_member(root, "decoder"), "decoders", 0);
    release_file(&model);
    if (status != CR_OK || !llama) return status;
    bool prefix, legacy;
    CR_TRY(cr_json_get_bool(config, beside->config.path, "add_prefix_space", true, &prefix));
    CR_TRY(cr_json_get_bool(config, beside->config.path, "legacy", false, &legacy));
    char text[128];
    snprintf(text, sizeof text,
             "{\"type\": \"Metaspace\", \"replacement\": \"\u2581\", \"split\": false, \"prepend_scheme\": "
             "\"%s\"}",
             !prefix  ? "never"
             : legacy ? "always"
                      : "first");
    return cr_json_parse(cr_slice_of_string(text), "LlamaTokenizer", out);
}
