#include "text/trainer.h"

#include "format/json.h"
#include "text/byte_level.h"
#include "text/expression.h"
#include "text/merges.h"

#include <string.h>

// The distinct words of the texts, and how often each occurs.
struct words {
    struct cr_vocabulary seen; // ids from 0
    uint64_t *counts;
    size_t capacity;
};

static void words_release(struct words *words)
{
    cr_vocabulary_release(&words->seen);
    cr_free(&words->counts);
}

static enum cr_status count_word(struct words *words, struct cr_slice word)
{
    uint32_t id;
    if (cr_vocabulary_find(&words->seen, word, &id)) {
        words->counts[id]++;
        return CR_OK;
    }
    if (words->seen.limit == CR_TOKEN_ID_LIMIT)
        return cr_fail(CR_NO_MEMORY, "training: over %d different words", CR_TOKEN_ID_LIMIT);
    CR_TRY(cr_grow(words->seen.limit + 1, &words->capacity, sizeof *words->counts, &words->counts));
    id = (uint32_t)words->seen.limit;
    words->counts[id] = 1;
    return cr_vocabulary_add(&words->seen, "training", word, id);
}

static enum cr_status count_words(struct words *words, struct cr_search *search, struct cr_slice text)
{
    cr_search_over(search, text);
    for (;;) {
        bool found;
        size_t start, end;
        CR_TRY(cr_search_next(search, &found, &start, &end));
        if (!found) return CR_OK;
        CR_TRY(count_word(words, (struct cr_slice){text.data + start, end - start}));
    }
}

static size_t find_special(const struct cr_bpe_options *options, size_t i, struct cr_slice text, size_t at)
{
    const char *token = options->special[i];
    const unsigned char *hit = memmem(text.data + at, text.size - at, token, strlen(token));
    return hit ? (size_t)(hit - text.data) : SIZE_MAX;
}

// Finds the leftmost special token from `at` on, and the longest at that place: its offset and size, or the
// end of the text. next[i] is where token i was last found; SIZE_MAX if it does not occur any more.
static size_t next_special(const struct cr_bpe_options *options, struct cr_slice text, size_t at,
                           size_t *next, size_t *size)
{
    size_t first = text.size;
    *size = 0;
    for (size_t i = 0; i < options->special_count; i++) {
        size_t length = strlen(options->special[i]);
        if (next[i] < at) next[i] = find_special(options, i, text, at);
        if (next[i] < first || (next[i] == first && length > *size)) {
            first = next[i];
            *size = length;
        }
    }
    return first;
}

// Special tokens separate the text and are not counted as words.
static enum cr_status count_text(struct words *words, struct cr_search *search,
                                 const struct cr_bpe_options *options, struct cr_slice text, size_t *next)
{
    for (size_t i = 0; i < options->special_count; i++) next[i] = find_special(options, i, text, 0);
    for (size_t at = 0; at < text.size;) {
        size_t size, end = next_special(options, text, at, next, &size);
        CR_TRY(count_words(words, search, (struct cr_slice){text.data + at, end - at}));
        at = end + size;
    }
    return CR_OK;
}

static bool is_special(const struct cr_bpe_options *options, const char *token)
{
    for (size_t i = 0; i < options->special_count; i++)
        if (strcmp(options->special[i], token) == 0) return true;
    return false;
}

static enum cr_status check_options(const struct cr_bpe_options *options)
{
    size_t least = 256 + options->special_count;
    if (options->vocabulary < least || options->vocabulary > CR_TOKEN_ID_LIMIT)
        return cr_fail(CR_INVALID,
                       "training: a vocabulary of %zu: with %zu special tokens it must be in %zu..%d",
                       options->vocabulary, options->special_count, least, CR_TOKEN_ID_LIMIT);
    for (size_t i = 0; i < options->special_count; i++) {
        struct cr_slice token = cr_slice_of_string(options->special[i]);
        if (token.size == 0 || !cr_utf8_valid(token, NULL))
            return cr_fail(CR_INVALID, "training: special token %zu is empty or no UTF-8", i + 1);
    }
    if (options->bos && !is_special(options, options->bos))
        return cr_fail(CR_INVALID, "training: BOS \"%s\" is not among the special tokens", options->bos);
    if (options->eos && !is_special(options, options->eos))
        return cr_fail(CR_INVALID, "training: EOS \"%s\" is not among the special tokens", options->eos);
    return CR_OK;
}

// Sets `out` to all tokens as written in the file: special ones first, then those of the merges.
static enum cr_status spell_tokens(const struct cr_bpe_options *options, const struct cr_merges *merges,
                                   struct cr_vocabulary *out)
{
    uint32_t id = 0;
    for (size_t i = 0; i < options->special_count; i++)
        CR_TRY(cr_vocabulary_add(out, "training", cr_slice_of_string(options->special[i]), id++));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer token = {0};
    for (uint32_t i = 0; i < merges->tokens.limit; i++) {
        cr_buffer_clear(&token);
        CR_TRY(cr_byte_level_append(&token, cr_vocabulary_token(&merges->tokens, i)));
        CR_TRY(cr_vocabulary_add(out, "training", cr_buffer_slice(&token), id++));
    }
    return CR_OK;
}

static enum cr_status write_special(const struct cr_bpe_options *options, struct cr_buffer *json)
{
    CR_TRY(cr_append_format(json, "  \"added_tokens\": ["));
    for (size_t i = 0; i < options->special_count; i++) {
        CR_TRY(cr_append_format(json, "%s\n    {\"id\": %zu, \"content\": ", i > 0 ? "," : "", i));
        CR_TRY(cr_json_append_string(json, cr_slice_of_string(options->special[i])));
        CR_TRY(cr_append_format(json, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                                      "\"normalized\": false, \"special\": true}"));
    }
    return cr_append_format(json, "%s],\n", options->special_count > 0 ? "\n  " : "");
}

static enum cr_status write_template(const struct cr_bpe_options *options, struct cr_buffer *json)
{
    if (!options->bos)
        return cr_append_format(json,
                                "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                                "\"trim_offsets\": false, \"use_regex\": true},\n");
    size_t id = 0;
    while (strcmp(options->special[id], options->bos) != 0) id++;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bos = {0};
    CR_TRY(cr_json_append_string(&bos, cr_slice_of_string(options->bos)));
    const char *name = cr_buffer_text(&bos);
    return cr_append_format(
        json,
        "  \"post_processor\": {\"type\": \"TemplateProcessing\",\n"
        "    \"single\": [{\"SpecialToken\": {\"id\": %s, \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
        "\"type_id\": 0}}],\n"
        "    \"pair\": [{\"SpecialToken\": {\"id\": %s, \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
        "\"type_id\": 0}},\n"
        "      {\"SpecialToken\": {\"id\": %s, \"type_id\": 1}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": "
        "1}}],\n"
        "    \"special_tokens\": {%s: {\"id\": %s, \"ids\": [%zu], \"tokens\": [%s]}}},\n",
        name, name, name, name, name, id, name);
}

static enum cr_status write_model(const struct cr_bpe_options *options, const struct cr_merges *merges,
                                  struct cr_buffer *json)
{
    CR_CLEANUP(cr_vocabulary_release) struct cr_vocabulary tokens = {0};
    CR_TRY(spell_tokens(options, merges, &tokens));
    CR_TRY(cr_append_format(json, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                                  "\"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null, "
                                  "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n"
                                  "    \"vocab\": {"));
    for (uint32_t id = 0; id < tokens.limit; id++) {
        CR_TRY(cr_append_format(json, "%s\n      ", id > 0 ? "," : ""));
        CR_TRY(cr_json_append_string(json, cr_vocabulary_token(&tokens, id)));
        CR_TRY(cr_append_format(json, ": %u", id));
    }
    CR_TRY(cr_append_format(json, "\n    },\n    \"merges\": ["));
    uint32_t first = (uint32_t)options->special_count;
    for (size_t i = 0; i < merges->count; i++) {
        CR_TRY(cr_append_format(json, "%s\n      [", i > 0 ? "," : ""));
        CR_TRY(cr_json_append_string(json, cr_vocabulary_token(&tokens, first + merges->items[i].left)));
        CR_TRY(cr_append_format(json, ", "));
        CR_TRY(cr_json_append_string(json, cr_vocabulary_token(&tokens, first + merges->items[i].right)));
        CR_TRY(cr_append_format(json, "]"));
    }
    return cr_append_format(json, "%s]\n  }\n", merges->count > 0 ? "\n    " : "");
}

static enum cr_status write_tokenizer(const struct cr_bpe_options *options, const struct cr_merges *merges,
                                      struct cr_buffer *json)
{
    CR_TRY(cr_append_format(json,
                            "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"));
    CR_TRY(write_special(options, json));
    CR_TRY(cr_append_format(json,
                            "  \"normalizer\": null,\n"
                            "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                            "\"trim_offsets\": true, \"use_regex\": true},\n"));
    CR_TRY(write_template(options, json));
    CR_TRY(cr_append_format(json, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                                  "\"trim_offsets\": true, \"use_regex\": true},\n"));
    CR_TRY(write_model(options, merges, json));
    return cr_append_format(json, "}\n");
}

static enum cr_status count_texts(struct words *words, const struct cr_slice *texts, size_t text_count,
                                  const struct cr_bpe_options *options)
{
    struct cr_expression *expression;
    CR_TRY(cr_expression_new(cr_slice_of_string(CR_BYTE_LEVEL_EXPRESSION), "training", &expression));
    CR_FREE size_t *next = NULL;
    CR_CLEANUP(cr_search_release) struct cr_search search = {0};
    enum cr_status status = cr_allocate(options->special_count, sizeof *next, &next);
    if (status == CR_OK) status = cr_search_init(&search, expression);
    for (size_t i = 0; status == CR_OK && i < text_count; i++) {
        size_t bad_at;
        if (cr_utf8_valid(texts[i], &bad_at))
            status = count_text(words, &search, options, texts[i], next);
        else
            status = cr_fail(CR_INVALID, "training: text %zu is not UTF-8 at byte %zu", i + 1, bad_at);
    }
    cr_expression_free(expression);
    return status;
}

enum cr_status cr_bpe_train(const struct cr_slice *texts, size_t text_count,
                            const struct cr_bpe_options *options, struct cr_buffer *json)
{
    CR_TRY(check_options(options));
    CR_CLEANUP(words_release) struct words words = {0};
    CR_TRY(count_texts(&words, texts, text_count, options));
    if (words.seen.count == 0) return cr_fail(CR_INVALID, "training: the texts are empty");
    CR_CLEANUP(cr_merges_release) struct cr_merges merges = {0};
    CR_TRY(cr_merges_learn(&words.seen, words.counts, options->vocabulary - options->special_count, &merges));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer written = {0};
    CR_TRY(write_tokenizer(options, &merges, &written));
    return cr_append(json, written.data, written.size);
}
