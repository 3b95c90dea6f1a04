#include "tuning/end_tokens.h"

#include "base/file.h"
#include "format/json.h"

enum { CONFIG_LIMIT = 1 << 20, MOST_TOKENS = 64 };

static enum cr_status add_token(const struct cr_json *value, const char *path,
                                const struct cr_tokenizer *tokenizer, struct cr_ids *out)
{
    int64_t id;
    if (!cr_json_is_integer(value, &id) || id < 0)
        return cr_fail(CR_INVALID, "%s: eos_token_id: must be a token's number, or a list of them", path);
    return (uint64_t)id < cr_tokenizer_vocabulary(tokenizer) ? cr_ids_append(out, (uint32_t)id) : CR_OK;
}

// *given: the file has the key.
static enum cr_status read_file(const char *path, const struct cr_tokenizer *tokenizer, bool *given,
                                struct cr_ids *out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_read(path, CONFIG_LIMIT, &root));
    const struct cr_json *value = cr_json_member(root, "eos_token_id");
    *given = cr_json_kind(value) != CR_JSON_NULL;
    if (!*given) return CR_OK;
    if (cr_json_kind(value) != CR_JSON_ARRAY) return add_token(value, path, tokenizer, out);
    if (cr_json_count(value) > MOST_TOKENS)
        return cr_fail(CR_INVALID, "%s: eos_token_id: %zu tokens, more than %d", path, cr_json_count(value),
                       MOST_TOKENS);
    for (size_t i = 0; i < cr_json_count(value); i++)
        CR_TRY(add_token(cr_json_at(value, i), path, tokenizer, out));
    return CR_OK;
}

enum cr_status cr_end_tokens_read(const char *directory, const struct cr_tokenizer *tokenizer,
                                  struct cr_ids *out)
{
    CR_FREE char *path = NULL;
    bool given;
    CR_TRY(cr_path_join(directory, "generation_config.json", &path));
    if (!cr_file_exists(path)) {
        cr_free(&path);
        CR_TRY(cr_path_join(directory, "config.json", &path));
    }
    CR_TRY(read_file(path, tokenizer, &given, out));
    uint32_t end;
    return !given && cr_tokenizer_eos(tokenizer, &end) ? cr_ids_append(out, end) : CR_OK;
}

bool cr_end_tokens_hold(const struct cr_ids *ends, uint32_t token)
{
    for (size_t i = 0; i < ends->count; i++)
        if (ends->items[i] == token) return true;
    return false;
}
