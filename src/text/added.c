#include "text/added.h"

#include "base/parse.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_LIMIT = 1 << 10, COUNT_LIMIT = 1 << 17 }; // bytes of a token, and tokens

struct flags {
    bool special, single_word, strip_left, strip_right, normalized;
};

struct token {
    struct flags flags, filed; // the effective flags, and those in tokenizer.json
    bool beside;               // tokenizer.json lacks it; only a file beside it names it
    bool pads, named;          // named by a file beside it: as pad_token, otherwise
    uint32_t id;
    size_t start, end; // its spelling, in `spellings`
};

// An edge of a tree of bytes; node 0 is the root, and edges lie in an open-addressing table.
struct edge {
    uint64_t key; // node << 8 | byte, plus 1; 0: empty
    uint32_t node;
};

struct tree {
    struct edge *edges;
    size_t edge_count, edge_slots;
    uint32_t *ends; // [nodes]: the token that ends there + 1, or 0
    size_t nodes, node_capacity;
    bool starts[256]; // first bytes of tokens
};

struct cr_added {
    struct cr_vocabulary vocabulary;
    struct token *tokens;
    size_t count;
    struct cr_buffer spellings;
    uint32_t *by_id;      // [vocabulary.limit]: the token + 1, or 0
    struct tree trees[2]; // of tokens matched in the original and in the normalised text
};

static struct edge *find_edge(const struct tree *tree, uint32_t node, unsigned char byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    size_t slot = (size_t)(key * 0x9e3779b97f4a7c15u >> 24) & (tree->edge_slots - 1);
    while (tree->edges[slot].key != 0 && tree->edges[slot].key != key)
        slot = (slot + 1) & (tree->edge_slots - 1);
    return &tree->edges[slot];
}

static enum cr_status grow_tree(struct tree *tree)
{
    CR_TRY(cr_grow(tree->nodes + 1, &tree->node_capacity, sizeof *tree->ends, &tree->ends));
    if (2 * (tree->edge_count + 1) <= tree->edge_slots) return CR_OK;
    struct tree grown = *tree;
    grown.edge_slots = tree->edge_slots > 0 ? 2 * tree->edge_slots : 64;
    CR_TRY(cr_allocate(grown.edge_slots, sizeof *grown.edges, &grown.edges));
    for (size_t i = 0; i < tree->edge_slots; i++) {
        const struct edge *edge = &tree->edges[i];
        if (edge->key != 0)
            *find_edge(&grown, (uint32_t)((edge->key - 1) >> 8), (unsigned char)(edge->key - 1)) = *edge;
    }
    free(tree->edges);
    *tree = grown;
    return CR_OK;
}

static enum cr_status add_to_tree(struct tree *tree, struct cr_slice content, uint32_t token)
{
    if (tree->nodes == 0) {
        CR_TRY(grow_tree(tree));
        tree->ends[tree->nodes++] = 0;
    }
    uint32_t node = 0;
    for (size_t i = 0; i < content.size; i++) {
        CR_TRY(grow_tree(tree));
        struct edge *edge = find_edge(tree, node, content.data[i]);
        if (edge->key == 0) {
            *edge = (struct edge){((uint64_t)node << 8 | content.data[i]) + 1, (uint32_t)tree->nodes};
            tree->edge_count++;
            tree->ends[tree->nodes++] = 0;
        }
        node = edge->node;
    }
    tree->starts[content.data[0]] = true;
    if (tree->ends[node] == 0) tree->ends[node] = token + 1;
    return CR_OK;
}

static enum cr_status read_flags(const struct cr_json *json, const char *name, struct flags *flags)
{
    CR_TRY(cr_json_get_bool(json, name, "special", false, &flags->special));
    CR_TRY(cr_json_get_bool(json, name, "single_word", false, &flags->single_word));
    CR_TRY(cr_json_get_bool(json, name, "lstrip", false, &flags->strip_left));
    CR_TRY(cr_json_get_bool(json, name, "rstrip", false, &flags->strip_right));
    return cr_json_get_bool(json, name, "normalized", !flags->special, &flags->normalized);
}

static enum cr_status add_token(struct cr_added *added, const struct cr_json *json, const char *name,
                                const struct cr_vocabulary *model)
{
    struct cr_slice content = cr_json_string(cr_json_member(json, "content"));
    if (content.size == 0 || content.size > TOKEN_LIMIT)
        return cr_fail(CR_INVALID, "%s: added_tokens: \"content\" must be 1 to %d bytes", name, TOKEN_LIMIT);
    size_t id;
    uint32_t known;
    CR_TRY(cr_json_require_size(json, name, "id", 0, CR_TOKEN_ID_LIMIT - 1, &id));
    struct cr_slice other = cr_vocabulary_token(model, (uint32_t)id);
    bool in_model = cr_vocabulary_find(model, content, &known);
    if ((in_model && known != id) || (other.data && !in_model))
        return cr_fail(CR_INVALID, "%s: added token \"%.*s\" with id %zu contradicts the model's vocabulary",
                       name, (int)cr_least(content.size, 60), content.data, id);
    // Transformers numbers new tokens from the number of existing ones, whatever id the file gives.
    size_t wanted = cr_most(model->count, added->vocabulary.limit);
    if (!in_model && id != wanted)
        return cr_fail(CR_UNSUPPORTED,
                       "%s: added token \"%.*s\" has id %zu, where Transformers gives it %zu (those that the "
                       "vocabulary lacks follow it, in the order of the list and without a gap)",
                       name, (int)cr_least(content.size, 60), content.data, id, wanted);
    CR_TRY(cr_vocabulary_add(&added->vocabulary, name, content, (uint32_t)id));
    struct token *token = &added->tokens[added->count++];
    token->id = (uint32_t)id;
    CR_TRY(read_flags(json, name, &token->flags));
    token->filed = token->flags;
    return CR_OK;
}

static enum cr_status index_tokens(struct cr_added *added)
{
    CR_TRY(cr_reallocate(added->vocabulary.limit, sizeof *added->by_id, &added->by_id));
    memset(added->by_id, 0, added->vocabulary.limit * sizeof *added->by_id);
    for (size_t i = 0; i < added->count; i++) added->by_id[added->tokens[i].id] = (uint32_t)i + 1;
    return CR_OK;
}

// A token that a file beside tokenizer.json names (bos_token, pad_token, ...) is special, and is matched in
// texts even if only the model's vocabulary has it. `value`: its name, or an object with its name.
static enum cr_status add_named(struct cr_added *added, const char *key, const struct cr_json *value,
                                const char *name, const struct cr_vocabulary *model)
{
    bool object = cr_json_kind(value) == CR_JSON_OBJECT;
    struct cr_slice content = cr_json_string(object ? cr_json_member(value, "content") : value);
    uint32_t id;
    if (!cr_vocabulary_find(&added->vocabulary, content, &id)) {
        if (content.size > TOKEN_LIMIT || !cr_vocabulary_find(model, content, &id)) return CR_OK;
        CR_TRY(cr_vocabulary_add(&added->vocabulary, name, content, id));
        CR_TRY(cr_reallocate(added->count + 1, sizeof *added->tokens, &added->tokens));
        added->tokens[added->count] = (struct token){.id = id, .beside = true};
        if (object) CR_TRY(read_flags(value, name, &added->tokens[added->count].flags));
        added->count++;
        CR_TRY(index_tokens(added));
    }
    struct token *token = &added->tokens[added->by_id[id] - 1];
    token->flags.special = true;
    *(strcmp(key, "pad_token") == 0 ? &token->pads : &token->named) = true;
    return CR_OK;
}

// A key that `over` has takes precedence.
static enum cr_status add_all_named(struct cr_added *added, const struct cr_beside_file *file,
                                    const struct cr_json *over, const struct cr_vocabulary *model)
{
    const struct cr_json *value;
    void *position = NULL;
    const char *key;
    while (cr_json_next(file->json, &position, &key, &value))
        if (cr_ends_with(key, "_token") && !cr_json_member(over, key))
            CR_TRY(add_named(added, key, value, file->path, model));
    return CR_OK;
}

// Tokens that are matched in normalised text are normalised themselves.
static enum cr_status spell(struct cr_added *added, size_t index, const struct cr_normalizer *normalizer)
{
    struct token *token = &added->tokens[index];
    struct cr_slice content = cr_vocabulary_token(&added->vocabulary, token->id);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer normal = {0};
    if (token->flags.normalized) {
        CR_TRY(cr_normalize(normalizer, content, true, &normal, NULL));
        content = cr_buffer_slice(&normal);
    }
    token->start = added->spellings.size;
    CR_TRY(cr_append(&added->spellings, content.data, content.size));
    token->end = added->spellings.size;
    return content.size > 0 ? add_to_tree(&added->trees[token->flags.normalized], content, (uint32_t)index)
                            : CR_OK;
}

static enum cr_status parse(struct cr_added *added, const struct cr_json *json, const char *name,
                            const struct cr_vocabulary *model)
{
    enum cr_json_kind kind = cr_json_kind(json);
    size_t count = cr_json_count(json);
    if (kind != CR_JSON_NULL && kind != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "%s: \"added_tokens\" must be a list", name);
    if (count > COUNT_LIMIT)
        return cr_fail(CR_INVALID, "%s: %zu added tokens are over the limit of %d", name, count, COUNT_LIMIT);
    CR_TRY(cr_allocate(count, sizeof *added->tokens, &added->tokens));
    for (size_t i = 0; i < count; i++) CR_TRY(add_token(added, cr_json_at(json, i), name, model));
    return index_tokens(added);
}

// Source: TokenizersBackend of Transformers 5.24, which adds the tokens of added_tokens_decoder again. A
// token that is special in either file is special.
static enum cr_status follow_all(struct cr_added *added, const struct cr_beside_file *config)
{
    const struct cr_json *list = cr_json_member(config->json, "added_tokens_decoder"), *value;
    void *position = NULL;
    const char *key;
    uint32_t id;
    while (cr_json_next(list, &position, &key, &value)) {
        struct cr_slice content = cr_json_string(cr_json_member(value, "content"));
        if (!cr_vocabulary_find(&added->vocabulary, content, &id)) continue;
        struct token *token = &added->tokens[added->by_id[id] - 1];
        bool special = token->flags.special;
        CR_TRY(read_flags(value, config->path, &token->flags));
        token->flags.special |= special;
    }
    return CR_OK;
}

// A padding token of one character, such as "!" in some files, stays ordinary text: otherwise it could not
// occur in messages, and would be missing in generated text.
static void free_padding(struct cr_added *added)
{
    for (size_t i = 0; i < added->count; i++) {
        struct token *token = &added->tokens[i];
        struct cr_slice content = cr_vocabulary_token(&added->vocabulary, token->id);
        const unsigned char *end = content.data;
        (void)cr_utf8_next(&end);
        if (token->pads && !token->named && end == content.data + content.size) token->flags.special = false;
    }
}

// Appends a line for each token that differs from tokenizer.json, in the order of ids.
static enum cr_status note_changed(const struct cr_added *added, struct cr_buffer *changed)
{
    for (size_t id = 0; id < added->vocabulary.limit; id++) {
        const struct token *token = &added->tokens[added->by_id[id] > 0 ? added->by_id[id] - 1 : 0];
        bool same = !token->beside && memcmp(&token->filed, &token->flags, sizeof token->flags) == 0;
        if (added->by_id[id] == 0 || same) continue;
        CR_TRY(cr_append_format(
            changed, "token %zu%s%s%s%s%s\n", id, token->flags.special ? " special" : "",
            token->flags.single_word ? " single_word" : "", token->flags.strip_left ? " lstrip" : "",
            token->flags.strip_right ? " rstrip" : "", token->flags.normalized ? " normalized" : ""));
    }
    return CR_OK;
}

static enum cr_status build(struct cr_added *added, const struct cr_json *json, const char *name,
                            const struct cr_vocabulary *model, const struct cr_normalizer *normalizer,
                            const struct cr_beside *beside, struct cr_buffer *changed)
{
    CR_TRY(parse(added, json, name, model));
    CR_TRY(add_all_named(added, &beside->config, beside->map.json, model));
    CR_TRY(add_all_named(added, &beside->map, NULL, model));
    CR_TRY(follow_all(added, &beside->config));
    free_padding(added);
    CR_TRY(note_changed(added, changed));
    for (size_t i = 0; i < added->count; i++) CR_TRY(spell(added, i, normalizer));
    return CR_OK;
}

enum cr_status cr_added_new(const struct cr_json *json, const char *name, const struct cr_vocabulary *model,
                            const struct cr_normalizer *normalizer, const struct cr_beside *beside,
                            struct cr_buffer *changed, struct cr_added **out)
{
    struct cr_added *added;
    CR_TRY(cr_allocate(1, sizeof *added, &added));
    enum cr_status status = build(added, json, name, model, normalizer, beside, changed);
    if (status != CR_OK)
        cr_added_free(added);
    else
        *out = added;
    return status;
}

void cr_added_free(struct cr_added *added)
{
    if (!added) return;
    cr_vocabulary_release(&added->vocabulary);
    for (size_t i = 0; i < 2; i++) {
        free(added->trees[i].edges);
        free(added->trees[i].ends);
    }
    free(added->tokens);
    free(added->by_id);
    cr_buffer_release(&added->spellings);
    free(added);
}

const struct cr_vocabulary *cr_added_vocabulary(const struct cr_added *added)
{
    return &added->vocabulary;
}

struct cr_slice cr_added_spelling(const struct cr_added *added, uint32_t id)
{
    if (id >= added->vocabulary.limit || added->by_id[id] == 0) return (struct cr_slice){NULL, 0};
    const struct token *token = &added->tokens[added->by_id[id] - 1];
    return (struct cr_slice){added->spellings.data + token->start, token->end - token->start};
}

bool cr_added_special(const struct cr_added *added, uint32_t id)
{
    struct cr_slice spelling = cr_added_spelling(added, id);
    uint32_t owner;
    return spelling.data && cr_vocabulary_find(&added->vocabulary, spelling, &owner) &&
           added->tokens[added->by_id[owner] - 1].flags.special;
}

// The end of the longest token at `start`, or 0.
static size_t longest_at(const struct cr_added *added, const struct tree *tree, struct cr_slice text,
                         size_t start, bool special, uint32_t *token)
{
    size_t end = 0;
    uint32_t node = 0;
    for (size_t i = start; i < text.size; i++) {
        const struct edge *edge = find_edge(tree, node, text.data[i]);
        if (edge->key == 0) break;
        node = edge->node;
        if (tree->ends[node] == 0) continue;
        uint32_t index = tree->ends[node] - 1;
        if (!special && cr_added_special(added, added->tokens[index].id)) continue;
        *token = index;
        end = i + 1;
    }
    return end;
}

// The start of the character that ends at `end` (which is not 0).
static size_t character_before(struct cr_slice text, size_t end)
{
    while (end > 0 && (text.data[--end] & 0xc0) == 0x80) continue;
    return end;
}

static uint32_t character_at(struct cr_slice text, size_t at, size_t *next)
{
    const unsigned char *p = text.data + at;
    uint32_t character = cr_utf8_next(&p);
    *next = (size_t)(p - text.data);
    return character;
}

static bool stands_alone(struct cr_slice text, size_t start, size_t end)
{
    size_t next;
    if (start > 0 && cr_unicode_word(character_at(text, character_before(text, start), &next))) return false;
    return end == text.size || !cr_unicode_word(character_at(text, end, &next));
}

static enum cr_status cut_piece(const struct cr_added *added, const struct tree *tree, bool special,
                                const struct cr_pieces *pieces, size_t piece, struct cr_pieces *cut)
{
    struct cr_slice text = cr_piece_text(pieces, piece);
    size_t done = 0; // where the part after the last token begins
    for (size_t at = 0; at < text.size;) {
        uint32_t index = 0;
        size_t end = tree->starts[text.data[at]] ? longest_at(added, tree, text, at, special, &index) : 0;
        if (end == 0) {
            at++;
            continue;
        }
        const struct token *token = &added->tokens[index];
        size_t start = at, next;
        at = end; // the search continues after the token itself, whatever it strips
        if (token->flags.single_word && !stands_alone(text, start, end)) continue;
        while (token->flags.strip_left && start > done) {
            size_t previous = character_before(text, start);
            if (!cr_unicode_space(character_at(text, previous, &next))) break;
            start = previous;
        }
        if (start < done) start = done;
        if (token->flags.strip_left && start >= end) continue; // the previous token stripped all of it
        while (token->flags.strip_right && end < text.size &&
               cr_unicode_space(character_at(text, end, &next)))
            end = next;
        if (done < start) CR_TRY(cr_pieces_cut(cut, pieces, piece, done, start, CR_NO_TOKEN));
        CR_TRY(cr_pieces_cut(cut, pieces, piece, start, end > start ? end : start, token->id));
        done = end; // even if the previous token stripped more
    }
    return cr_pieces_cut(cut, pieces, piece, done, text.size, CR_NO_TOKEN);
}

enum cr_status cr_added_cut(const struct cr_added *added, bool normalized, bool special,
                            struct cr_pieces *pieces)
{
    const struct tree *tree = &added->trees[normalized];
    if (tree->nodes == 0) return CR_OK;
    CR_CLEANUP(cr_pieces_release) struct cr_pieces cut = {0};
    for (size_t i = 0; i < pieces->count; i++) {
        if (pieces->items[i].token != CR_NO_TOKEN)
            CR_TRY(cr_pieces_add(&cut, pieces->items[i]));
        else
            CR_TRY(cut_piece(added, tree, special, pieces, i, &cut));
    }
    cr_pieces_take_items(pieces, &cut);
    return CR_OK;
}
