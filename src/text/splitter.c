#include "text/splitter.h"

#include "text/byte_level.h"
#include "text/component.h"
#include "text/expression.h"

#include <stdlib.h>
#include <string.h>

enum kind { SPLIT, BYTES, METASPACE };
enum behaviour { ISOLATED, REMOVED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum scheme { ALWAYS, FIRST, NEVER };

struct step {
    enum kind kind;
    struct cr_expression *expression; // SPLIT, and METASPACE if it splits
    enum behaviour behaviour;
    bool invert;
    enum scheme scheme;           // METASPACE
    unsigned char replacement[5]; // METASPACE: one character
    size_t replacement_size;
};

enum { STEP_LIMIT = 32 };

// Whitespace is the only step whose expression Hugging Face runs with Rust's regex engine; this is that
// engine's \w.
#define RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"

struct cr_splitter {
    struct step steps[STEP_LIMIT];
    size_t count;
};

static enum cr_status new_step(struct cr_splitter *splitter, const char *name, struct step **out)
{
    if (splitter->count == STEP_LIMIT)
        return cr_fail(CR_INVALID, "%s: pre_tokenizer: more than %d steps", name, STEP_LIMIT);
    *out = &splitter->steps[splitter->count++];
    return CR_OK;
}

static enum cr_status add_split(struct cr_splitter *splitter, const char *name, const char *pattern,
                                enum behaviour behaviour, bool invert)
{
    struct step *step = NULL;
    CR_TRY(new_step(splitter, name, &step));
    step->kind = SPLIT;
    step->behaviour = behaviour;
    step->invert = invert;
    return cr_expression_new(cr_slice_of_string(pattern), name, &step->expression);
}

static enum cr_status parse_byte_level(struct cr_splitter *splitter, const struct cr_json *json,
                                       const char *name)
{
    bool prefix_space, use_regex;
    CR_TRY(cr_json_get_bool(json, name, "add_prefix_space", true, &prefix_space));
    CR_TRY(cr_json_get_bool(json, name, "use_regex", true, &use_regex));
    struct step *step = NULL;
    // The space is prepended before the text is cut; the bytes are mapped to characters afterwards.
    if (prefix_space) {
        CR_TRY(new_step(splitter, name, &step));
        step->kind = METASPACE;
        step->scheme = ALWAYS;
        step->replacement[0] = ' ';
        step->replacement_size = 1;
    }
    if (use_regex) CR_TRY(add_split(splitter, name, CR_BYTE_LEVEL_EXPRESSION, ISOLATED, false));
    CR_TRY(new_step(splitter, name, &step));
    step->kind = BYTES;
    return CR_OK;
}

static enum cr_status parse_split(struct cr_splitter *splitter, const struct cr_json *json, const char *name)
{
    static const char *const behaviours[] = {[ISOLATED] = "Isolated",
                                             [REMOVED] = "Removed",
                                             [MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                             [MERGED_WITH_NEXT] = "MergedWithNext",
                                             [CONTIGUOUS] = "Contiguous"};
    struct step *step = NULL;
    CR_TRY(new_step(splitter, name, &step));
    step->kind = SPLIT;
    CR_TRY(cr_json_get_bool(json, name, "invert", false, &step->invert));
    const char *behaviour;
    CR_TRY(cr_json_get_string(json, name, "behavior", "", &behaviour));
    size_t found = 0, known = sizeof behaviours / sizeof *behaviours;
    while (found < known && strcmp(behaviour, behaviours[found]) != 0) found++;
    if (found == known)
        return cr_fail(CR_UNSUPPORTED, "%s: Split behavior \"%s\" is not supported", name, behaviour);
    step->behaviour = (enum behaviour)found;
    const struct cr_json *pattern = cr_json_member(json, "pattern");
    const struct cr_json *regex = cr_json_member(pattern, "Regex"),
                         *string = cr_json_member(pattern, "String");
    if (cr_json_kind(regex) == CR_JSON_STRING)
        return cr_expression_new(cr_json_string(regex), name, &step->expression);
    if (cr_json_kind(string) == CR_JSON_STRING)
        return cr_expression_new_literal(cr_json_string(string), name, &step->expression);
    return cr_fail(CR_INVALID, "%s: Split without a pattern", name);
}

static enum cr_status parse_scheme(const struct cr_json *json, const char *name, enum scheme *out)
{
    static const char *const schemes[] = {[ALWAYS] = "always", [FIRST] = "first", [NEVER] = "never"};
    const char *scheme;
    bool prefix; // the older form of "always" and "never"
    CR_TRY(cr_json_get_bool(json, name, "add_prefix_space", true, &prefix));
    CR_TRY(cr_json_get_string(json, name, "prepend_scheme", prefix ? "always" : "never", &scheme));
    size_t found = 0, known = sizeof schemes / sizeof *schemes;
    while (found < known && strcmp(scheme, schemes[found]) != 0) found++;
    if (found == known)
        return cr_fail(CR_UNSUPPORTED, "%s: prepend_scheme \"%s\" is not supported", name, scheme);
    *out = (enum scheme)found;
    return CR_OK;
}

static enum cr_status parse_metaspace(struct cr_splitter *splitter, const struct cr_json *json,
                                      const char *name)
{
    struct step *step = NULL;
    CR_TRY(new_step(splitter, name, &step));
    step->kind = METASPACE;
    step->behaviour = MERGED_WITH_NEXT;
    CR_TRY(parse_scheme(json, name, &step->scheme));
    const char *replacement;
    CR_TRY(cr_json_get_string(json, name, "replacement", "\u2581", &replacement));
    struct cr_slice text = cr_slice_of_string(replacement);
    const unsigned char *end = text.data;
    if (text.size > 0) (void)cr_utf8_next(&end);
    if (text.size == 0 || end != text.data + text.size)
        return cr_fail(CR_INVALID, "%s: Metaspace: replacement must be one character", name);
    memcpy(step->replacement, text.data, text.size);
    step->replacement_size = text.size;
    bool split;
    CR_TRY(cr_json_get_bool(json, name, "split", true, &split));
    return split ? cr_expression_new_literal(text, name, &step->expression) : CR_OK;
}

static enum cr_status parse(struct cr_splitter *splitter, const struct cr_json *json, const char *name,
                            size_t depth)
{
    if (cr_json_kind(json) == CR_JSON_NULL) return CR_OK;
    const char *type;
    CR_TRY(cr_json_get_string(json, name, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const struct cr_json *steps;
        CR_TRY(cr_component_steps(json, name, "pre_tokenizer", "pretokenizers", depth, &steps));
        for (size_t i = 0; i < cr_json_count(steps); i++)
            CR_TRY(parse(splitter, cr_json_at(steps, i), name, depth + 1));
        return CR_OK;
    }
    if (strcmp(type, "ByteLevel") == 0) return parse_byte_level(splitter, json, name);
    if (strcmp(type, "Split") == 0) return parse_split(splitter, json, name);
    if (strcmp(type, "Metaspace") == 0) return parse_metaspace(splitter, json, name);
    if (strcmp(type, "WhitespaceSplit") == 0) return add_split(splitter, name, "\\s", REMOVED, false);
    if (strcmp(type, "Whitespace") == 0)
        return add_split(splitter, name, "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+", REMOVED, true);
    if (strcmp(type, "Digits") == 0) {
        bool individual;
        CR_TRY(cr_json_get_bool(json, name, "individual_digits", false, &individual));
        return add_split(splitter, name, "\\p{N}", individual ? ISOLATED : CONTIGUOUS, false);
    }
    return cr_fail(CR_UNSUPPORTED, "%s: pre_tokenizer \"%s\" is not supported", name, type);
}

enum cr_status cr_splitter_new(const struct cr_json *json, const char *name, struct cr_splitter **out)
{
    struct cr_splitter *splitter;
    CR_TRY(cr_allocate(1, sizeof *splitter, &splitter));
    enum cr_status status = parse(splitter, json, name, 0);
    if (status != CR_OK)
        cr_splitter_free(splitter);
    else
        *out = splitter;
    return status;
}

void cr_splitter_free(struct cr_splitter *splitter)
{
    if (!splitter) return;
    for (size_t i = 0; i < splitter->count; i++) cr_expression_free(splitter->steps[i].expression);
    free(splitter);
}

// Collects the parts of one piece in order: matches and the text between them. Neighbours may be joined, so
// the last part is held back until it is complete.
struct joiner {
    const struct step *step;
    struct cr_pieces *cut;
    const struct cr_pieces *pieces;
    size_t piece;
    size_t start, end;
    bool waiting, was_match;
};

static enum cr_status join_flush(struct joiner *joiner)
{
    if (!joiner->waiting) return CR_OK;
    joiner->waiting = false;
    return cr_pieces_cut(joiner->cut, joiner->pieces, joiner->piece, joiner->start, joiner->end, CR_NO_TOKEN);
}

static enum cr_status join_part(struct joiner *joiner, size_t start, size_t end, bool match)
{
    if (joiner->step->invert) match = !match;
    bool joins = false;
    switch (joiner->step->behaviour) {
    case ISOLATED:
        break;
    case REMOVED:
        if (match) return join_flush(joiner);
        break;
    case CONTIGUOUS:
        joins = joiner->waiting && match == joiner->was_match;
        break;
    case MERGED_WITH_PREVIOUS:
        joins = joiner->waiting && match && !joiner->was_match;
        break;
    case MERGED_WITH_NEXT:
        joins = joiner->waiting && joiner->was_match && !match;
        break;
    }
    if (!joins) {
        CR_TRY(join_flush(joiner));
        joiner->start = start;
    }
    joiner->end = end;
    joiner->waiting = true;
    joiner->was_match = match;
    return CR_OK;
}

static enum cr_status split_pieces(const struct step *step, struct cr_pieces *pieces)
{
    CR_CLEANUP(cr_search_release) struct cr_search search = {0};
    CR_TRY(cr_search_init(&search, step->expression));
    CR_CLEANUP(cr_pieces_release) struct cr_pieces cut = {0};
    for (size_t i = 0; i < pieces->count; i++) {
        struct cr_slice text = cr_piece_text(pieces, i);
        if (pieces->items[i].token != CR_NO_TOKEN) {
            CR_TRY(cr_pieces_add(&cut, pieces->items[i]));
            continue;
        }
        struct joiner joiner = {.step = step, .cut = &cut, .pieces = pieces, .piece = i};
        cr_search_over(&search, text);
        for (size_t before = 0;;) {
            bool found;
            size_t start = text.size, end = text.size;
            CR_TRY(cr_search_next(&search, &found, &start, &end));
            if (before < start) CR_TRY(join_part(&joiner, before, start, false));
            if (!found) break;
            CR_TRY(join_part(&joiner, start, end, true));
            before = end;
        }
        CR_TRY(join_flush(&joiner));
    }
    cr_pieces_take_items(pieces, &cut);
    return CR_OK;
}

// Appends the text with each space replaced, and with the replacement in front if the scheme puts it there.
static enum cr_status rewrite_spaces(const struct step *step, struct cr_slice text, bool first,
                                     struct cr_buffer *out)
{
    const unsigned char *replacement = step->replacement;
    size_t size = step->replacement_size;
    bool led = text.data[0] == ' ' || (text.size >= size && memcmp(text.data, replacement, size) == 0);
    if (!led && (step->scheme == ALWAYS || (step->scheme == FIRST && first)))
        CR_TRY(cr_append(out, replacement, size));
    size_t done = 0;
    for (size_t k = 0; k < text.size; k++) {
        if (text.data[k] != ' ') continue;
        CR_TRY(cr_append(out, text.data + done, k - done));
        CR_TRY(cr_append(out, replacement, size));
        done = k + 1;
    }
    return cr_append(out, text.data + done, text.size - done);
}

static enum cr_status rewrite(const void *context, struct cr_slice text, bool whole, bool *first,
                              struct cr_buffer *out)
{
    (void)whole;
    const struct step *step = context;
    return step->kind == BYTES ? cr_byte_level_append(out, text) : rewrite_spaces(step, text, *first, out);
}

enum cr_status cr_split(const struct cr_splitter *splitter, struct cr_pieces *pieces)
{
    for (size_t i = 0; i < splitter->count; i++) {
        const struct step *step = &splitter->steps[i];
        if (step->kind != SPLIT) CR_TRY(cr_pieces_rewrite(pieces, rewrite, step));
        if (step->expression) CR_TRY(split_pieces(step, pieces));
    }
    return CR_OK;
}
