// How a tokenizer is made of a tokenizer.json and the files beside it.
#include "text/tokenizer_parts.h"

#include "base/file.h"
#include "text/beside.h"

#include <sys/stat.h>

enum { FILE_LIMIT = 256 << 20 }; // bytes of a tokenizer.json; the largest in use have some 30 MB

static bool find_token(const struct cr_tokenizer *tokenizer, struct cr_slice token, uint32_t *out)
{
    return cr_vocabulary_find(cr_added_vocabulary(tokenizer->added), token, out) ||
           cr_vocabulary_find(cr_bpe_vocabulary(tokenizer->bpe), token, out);
}

// For files that name no BOS or EOS: the first added token among the usual names.
static uint32_t usual_token(const struct cr_tokenizer *tokenizer, const char *const names[3])
{
    uint32_t id;
    for (size_t i = 0; i < 3; i++)
        if (cr_vocabulary_find(cr_added_vocabulary(tokenizer->added), cr_slice_of_string(names[i]), &id))
            return id;
    return CR_NO_TOKEN;
}

// Excludes merges that would make a special token: only a special token that is cut out of the text gives its
// id.
static enum cr_status bar_special(struct cr_tokenizer *tokenizer)
{
    size_t limit = cr_bpe_vocabulary(tokenizer->bpe)->limit;
    bool any = false;
    CR_FREE bool *barred = NULL;
    CR_TRY(cr_allocate(limit, sizeof *barred, &barred));
    for (uint32_t id = 0; id < limit; id++) any |= barred[id] = cr_added_special(tokenizer->added, id);
    if (!any) return CR_OK;
    cr_bpe_bar(tokenizer->bpe, barred);
    barred = NULL;
    return CR_OK;
}

// `metaspace`: replaces the file's normalizer, pre-tokenizer and decoder; or NULL.
static enum cr_status build(struct cr_tokenizer *tokenizer, const struct cr_json *root, const char *name,
                            const struct cr_beside *beside, const struct cr_json *metaspace)
{
    if (cr_json_kind(root) != CR_JSON_OBJECT)
        return cr_fail(CR_INVALID, "%s: a tokenizer.json must be an object", name);
    const struct cr_json *parts = metaspace ? metaspace : root;
    CR_TRY(cr_normalizer_new(cr_json_member(parts, "normalizer"), name, &tokenizer->normalizer));
    CR_TRY(cr_splitter_new(cr_json_member(parts, "pre_tokenizer"), name, &tokenizer->splitter));
    CR_TRY(cr_bpe_new(cr_json_member(root, "model"), name, &tokenizer->bpe));
    if (metaspace && cr_bpe_as_llama(tokenizer->bpe))
        CR_TRY(cr_append_format(&tokenizer->beside, "model llama\n"));
    const struct cr_vocabulary *model = cr_bpe_vocabulary(tokenizer->bpe);
    CR_TRY(cr_added_new(cr_json_member(root, "added_tokens"), name, model, tokenizer->normalizer, beside,
                        &tokenizer->beside, &tokenizer->added));
    CR_TRY(bar_special(tokenizer));
    size_t added = cr_added_vocabulary(tokenizer->added)->limit;
    tokenizer->vocabulary = cr_most(added, model->limit);
    CR_TRY(cr_template_parse(cr_json_member(root, "post_processor"), name, tokenizer->vocabulary,
                             &tokenizer->template));
    CR_TRY(cr_text_decoder_new(cr_json_member(parts, "decoder"), name, &tokenizer->decoder));
    tokenizer->bos =
        usual_token(tokenizer, (const char *const[]){"<s>", "<|begin_of_text|>", "<|endoftext|>"});
    tokenizer->eos =
        usual_token(tokenizer, (const char *const[]){"</s>", "<|end_of_text|>", "<|endoftext|>"});
    return CR_OK;
}

static enum cr_status from_json(const struct cr_json *root, const char *name, const struct cr_beside *beside,
                                const struct cr_json *metaspace, struct cr_tokenizer **out)
{
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_allocate(1, sizeof *tokenizer, &tokenizer));
    enum cr_status status = build(tokenizer, root, name, beside, metaspace);
    if (status != CR_OK)
        cr_tokenizer_free(tokenizer);
    else
        *out = tokenizer;
    return status;
}

enum cr_status cr_tokenizer_parse(struct cr_slice json, const char *name, struct cr_tokenizer **out)
{
    struct cr_json *root;
    CR_TRY(cr_json_parse(json, name, &root));
    enum cr_status status = from_json(root, name, &(struct cr_beside){0}, NULL, out);
    cr_json_free(root);
    return status;
}

// A token that a file beside tokenizer.json names: a string, an object with "content", or null for none. If
// the key is absent, *out is unchanged.
static enum cr_status named_token(const struct cr_tokenizer *tokenizer, const struct cr_beside_file *file,
                                  const char *key, uint32_t *out)
{
    const struct cr_json *value = cr_json_member(file->json, key);
    if (!value) return CR_OK;
    if (cr_json_kind(value) == CR_JSON_NULL) {
        *out = CR_NO_TOKEN;
        return CR_OK;
    }
    if (cr_json_kind(value) == CR_JSON_OBJECT) value = cr_json_member(value, "content");
    struct cr_slice token = cr_json_string(value);
    if (!token.data) return cr_fail(CR_INVALID, "%s: \"%s\" must be a string", file->path, key);
    if (!find_token(tokenizer, token, out))
        return cr_fail(CR_INVALID, "%s: %s \"%.60s\" is not in the vocabulary", file->path, key, token.data);
    return CR_OK;
}

// Refuses a token that a file beside tokenizer.json lists and tokenizer.json does not: Transformers would add
// it.
static enum cr_status check_added(const struct cr_tokenizer *tokenizer, const struct cr_beside_file *file,
                                  const char *key, struct cr_slice token)
{
    uint32_t id;
    if (cr_vocabulary_find(cr_added_vocabulary(tokenizer->added), token, &id)) return CR_OK;
    return cr_fail(CR_UNSUPPORTED,
                   "%s: %s: \"%.60s\" is not one of the added_tokens of tokenizer.json (Transformers would "
                   "add it: load the tokenizer there, and save it)",
                   file->path, key, token.data);
}

static enum cr_status check_listed(const struct cr_tokenizer *tokenizer, const struct cr_beside_file *file,
                                   const char *key, const struct cr_json *value)
{
    if (cr_json_kind(value) == CR_JSON_OBJECT) value = cr_json_member(value, "content");
    struct cr_slice token = cr_json_string(value);
    if (!token.data) return cr_fail(CR_INVALID, "%s: \"%s\" must hold strings", file->path, key);
    return check_added(tokenizer, file, key, token);
}

// added_tokens.json is an object of token names and their ids.
static enum cr_status check_names(const struct cr_tokenizer *tokenizer, const struct cr_beside_file *file)
{
    const struct cr_json *id;
    void *position = NULL;
    const char *name;
    while (cr_json_next(file->json, &position, &name, &id))
        CR_TRY(check_added(tokenizer, file, "token", cr_slice_of_string(name)));
    return CR_OK;
}

// Checks a member that is an array or an object of tokens.
static enum cr_status check_list(const struct cr_tokenizer *tokenizer, const struct cr_beside_file *file,
                                 const char *key)
{
    const struct cr_json *list = cr_json_member(file->json, key), *value;
    void *position = NULL;
    const char *name;
    while (cr_json_next(list, &position, &name, &value)) CR_TRY(check_listed(tokenizer, file, key, value));
    for (size_t i = 0; cr_json_kind(list) == CR_JSON_ARRAY && i < cr_json_count(list); i++)
        CR_TRY(check_listed(tokenizer, file, key, cr_json_at(list, i)));
    return CR_OK;
}

static enum cr_status read_beside(struct cr_tokenizer *tokenizer, const struct cr_beside *beside)
{
    const struct cr_beside_file *const files[] = {&beside->config, &beside->map};
    bool split;
    CR_TRY(cr_json_get_bool(beside->config.json, beside->config.path, "split_special_tokens", false, &split));
    if (split)
        return cr_fail(CR_UNSUPPORTED, "%s: split_special_tokens: true is not supported",
                       beside->config.path);
    CR_TRY(check_list(tokenizer, &beside->config, "added_tokens_decoder"));
    CR_TRY(check_names(tokenizer, &beside->added));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        CR_TRY(named_token(tokenizer, files[i], "bos_token", &tokenizer->bos));
        CR_TRY(named_token(tokenizer, files[i], "eos_token", &tokenizer->eos));
        CR_TRY(check_list(tokenizer, files[i], "additional_special_tokens"));
        CR_TRY(check_list(tokenizer, files[i], "extra_special_tokens"));
    }
    return CR_OK;
}

static enum cr_status note_token(const char *name, uint32_t usual, uint32_t id, struct cr_buffer *out)
{
    if (id == usual) return CR_OK;
    return id == CR_NO_TOKEN ? cr_append_format(out, "%s none\n", name)
                             : cr_append_format(out, "%s %u\n", name, (unsigned)id);
}

// Whether the file already has no normalizer and this same pre-tokenizer.
static bool is_own_metaspace(const struct cr_json *root, const struct cr_json *metaspace)
{
    const struct cr_json *own = cr_json_member(root, "pre_tokenizer");
    bool same = cr_json_kind(cr_json_member(root, "normalizer")) == CR_JSON_NULL &&
                cr_json_bool(cr_json_member(own, "split"), true) == false;
    static const char *const texts[] = {"type", "replacement", "prepend_scheme"};
    for (size_t i = 0; same && i < sizeof texts / sizeof *texts; i++)
        same = cr_slice_equal(cr_json_string(cr_json_member(own, texts[i])),
                              cr_json_string(cr_json_member(metaspace, texts[i])));
    return same;
}

// Applies the files beside the tokenizer.json to the tokenizer made from it, and records what they changed.
static enum cr_status apply_beside(struct cr_tokenizer *tokenizer, const struct cr_beside *beside,
                                   const struct cr_json *root, const struct cr_json *metaspace)
{
    uint32_t bos = tokenizer->bos, eos = tokenizer->eos;
    CR_TRY(read_beside(tokenizer, beside));
    const struct cr_json *splitter = cr_json_member(metaspace, "pre_tokenizer");
    if (metaspace && !is_own_metaspace(root, splitter))
        CR_TRY(
            cr_append_format(&tokenizer->beside, "metaspace %s\n",
                             (const char *)cr_json_string(cr_json_member(splitter, "prepend_scheme")).data));
    CR_TRY(note_token("bos", bos, tokenizer->bos, &tokenizer->beside));
    return note_token("eos", eos, tokenizer->eos, &tokenizer->beside);
}

enum cr_status cr_tokenizer_open(const char *path, struct cr_tokenizer **out)
{
    CR_FREE char *file = NULL;
    CR_FREE char *directory = NULL;
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        CR_TRY(cr_copy_string(path, &directory));
        CR_TRY(cr_path_join(path, "tokenizer.json", &file));
        if (!cr_file_exists(file))
            return cr_fail(
                CR_NOT_FOUND,
                "%s: not there (in Python, AutoTokenizer.from_pretrained(...).save_pretrained(...) "
                "makes it of a model's other tokenizer files)",
                file);
    } else {
        CR_TRY(cr_path_directory(path, &directory));
        CR_TRY(cr_copy_string(path, &file));
    }
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_CLEANUP(cr_json_release) struct cr_json *metaspace = NULL;
    CR_CLEANUP(cr_beside_release) struct cr_beside beside = {0};
    CR_CLEANUP(cr_tokenizer_release) struct cr_tokenizer *tokenizer = NULL;
    CR_TRY(cr_json_read(file, FILE_LIMIT, &root));
    CR_TRY(cr_beside_read(directory, &beside));
    CR_TRY(cr_beside_check(&beside, root));
    CR_TRY(cr_beside_metaspace(&beside, root, &metaspace));
    CR_TRY(from_json(root, file, &beside, metaspace, &tokenizer));
    CR_TRY(apply_beside(tokenizer, &beside, root, metaspace));
    *out = tokenizer;
    tokenizer = NULL;
    return CR_OK;
}
