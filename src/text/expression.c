#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/expression.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATTERN_LIMIT = 1 << 16, // bytes of an expression
    NESTING_LIMIT = 64,      // parentheses
    HEAP_LIMIT = 256 << 10,  // KiB for backtracking
    STEPS_LEAST = 1 << 20,   // limit of steps for one match: a constant, and so many for each byte of text
    STEPS_EACH = 64,
};

// Oniguruma's \w within a class, and elsewhere, where it includes the superscript digits and fractions of
// Latin-1.
#define CLASS_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD CLASS_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

struct cr_expression {
    pcre2_code *code;
};

struct reader {
    const char *name;
    struct cr_slice pattern;
    size_t at;
    bool in_class;
};

static enum cr_status unsupported(const struct reader *reader, const char *what)
{
    return cr_fail(CR_UNSUPPORTED, "%s: expression: %s at offset %zu is not supported", reader->name, what,
                   reader->at);
}

static int peek(const struct reader *reader, size_t ahead)
{
    size_t at = reader->at + ahead;
    return at < reader->pattern.size ? reader->pattern.data[at] : -1;
}

static enum cr_status copy(struct reader *reader, size_t size, struct cr_buffer *out)
{
    size_t left = reader->pattern.size - reader->at;
    if (size > left) size = left;
    CR_TRY(cr_append(out, reader->pattern.data + reader->at, size));
    reader->at += size;
    return CR_OK;
}

// Copies an escape that ends with a closing brace: \p{L}, \x{2581}.
static enum cr_status copy_braced(struct reader *reader, struct cr_buffer *out)
{
    size_t size = 3;
    while (peek(reader, size) >= 0 && peek(reader, size) != '}') size++;
    if (peek(reader, size) < 0)
        return cr_fail(CR_INVALID, "%s: expression: no \"}\" after offset %zu", reader->name, reader->at);
    return copy(reader, size + 1, out);
}

static enum cr_status translate_escape(struct reader *reader, struct cr_buffer *out)
{
    int c = peek(reader, 1);
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool digit = c >= '0' && c <= '9';
    if (c < 0) return cr_fail(CR_INVALID, "%s: expression: ends in a backslash", reader->name);
    if (!letter && !digit) return copy(reader, 2, out);
    const char *instead = NULL;
    switch (c) {
    case 'd':
    case 'D':
    case 'r':
    case 'n':
    case 't':
    case 'f':
        return copy(reader, 2, out);
    case 'A':
    case 'z':
        if (!reader->in_class) return copy(reader, 2, out);
        break;
    case 'p':
    case 'P':
        if (peek(reader, 2) == '{') return copy_braced(reader, out);
        break;
    case 'x':
        if (peek(reader, 2) == '{') return copy_braced(reader, out);
        break;
    case 'u': {
        // Four digits; PCRE2 wants them in braces.
        char digits[5] = {0};
        unsigned char bytes[2];
        for (size_t k = 0; k < 4; k++) digits[k] = (char)(peek(reader, 2 + k) > 0 ? peek(reader, 2 + k) : 0);
        if (cr_hex_decode(digits, bytes, 2) != CR_OK) break;
        reader->at += 6;
        return cr_append_format(out, "\\x{%s}", digits);
    }
    case 's': // PCRE2's \s also matches U+180E
        instead = "\\p{White_Space}";
        break;
    case 'S':
        instead = "\\P{White_Space}";
        break;
    case 'w': // PCRE2's \w lacks marks
        instead = reader->in_class ? CLASS_WORD : "[" WORD "]";
        break;
    case 'W':
        if (!reader->in_class) instead = "[^" WORD "]";
        break;
    case 'b': // a word boundary; in a class, a backspace
        if (!reader->in_class) instead = "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))";
        break;
    default:
        break;
    }
    if (!instead) {
        char what[] = "\\?";
        what[1] = (char)c;
        return unsupported(reader, what);
    }
    reader->at += 2;
    return cr_append(out, instead, strlen(instead));
}

static enum cr_status translate_class(struct reader *reader, struct cr_buffer *out)
{
    reader->in_class = true;
    CR_TRY(copy(reader, peek(reader, 1) == '^' ? 2 : 1, out));
    if (peek(reader, 0) == ']') CR_TRY(copy(reader, 1, out)); // literal in first position
    while (peek(reader, 0) >= 0 && peek(reader, 0) != ']') {
        if (peek(reader, 0) == '[') return unsupported(reader, "a class within a class");
        if (peek(reader, 0) == '&' && peek(reader, 1) == '&') return unsupported(reader, "\"&&\" in a class");
        CR_TRY(peek(reader, 0) == '\\' ? translate_escape(reader, out) : copy(reader, 1, out));
    }
    if (peek(reader, 0) < 0) return cr_fail(CR_INVALID, "%s: expression: a class has no \"]\"", reader->name);
    reader->in_class = false;
    return copy(reader, 1, out);
}

static enum cr_status translate_group(struct reader *reader, struct cr_buffer *out)
{
    if (peek(reader, 1) == '*') return unsupported(reader, "\"(*\"");
    if (peek(reader, 1) != '?') return copy(reader, 1, out);
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?i)", "(?-i:"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        size_t size = strlen(kinds[k]);
        if (size <= reader->pattern.size - reader->at &&
            memcmp(reader->pattern.data + reader->at, kinds[k], size) == 0)
            return copy(reader, size, out);
    }
    return unsupported(reader, "this kind of group");
}

static enum cr_status translate_brace(struct reader *reader, struct cr_buffer *out)
{
    size_t size = 1;
    while ((peek(reader, size) >= '0' && peek(reader, size) <= '9') || peek(reader, size) == ',') size++;
    if (peek(reader, size) == '}') {
        // PCRE2 reads {1,3}+ as possessive, but Ruby repeats the repetition; PCRE2 reads {,3} as literal
        // text.
        if (peek(reader, 1) == ',' || size == 1) return unsupported(reader, "\"{\" without a lower bound");
        if (peek(reader, size + 1) == '+') return unsupported(reader, "\"+\" after \"}\"");
    }
    return copy(reader, 1, out);
}

static enum cr_status translate(struct cr_slice pattern, const char *name, struct cr_buffer *out)
{
    struct reader reader = {.name = name, .pattern = pattern};
    while (reader.at < pattern.size) {
        switch (pattern.data[reader.at]) {
        case '\\':
            CR_TRY(translate_escape(&reader, out));
            break;
        case '[':
            CR_TRY(translate_class(&reader, out));
            break;
        case '(':
            CR_TRY(translate_group(&reader, out));
            break;
        case '{':
            CR_TRY(translate_brace(&reader, out));
            break;
        default:
            CR_TRY(copy(&reader, 1, out));
        }
    }
    return CR_OK;
}

static enum cr_status compile(struct cr_slice pattern, uint32_t options, const char *name,
                              struct cr_expression **out)
{
    if (pattern.size > PATTERN_LIMIT)
        return cr_fail(CR_INVALID, "%s: expression: longer than %d bytes", name, PATTERN_LIMIT);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return cr_fail(CR_NO_MEMORY, "out of memory: an expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, NESTING_LIMIT);
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile(pattern.data, pattern.size, PCRE2_UTF | options, &error, &at, context);
    pcre2_compile_context_free(context);
    if (!code && error == PCRE2_ERROR_HEAP_FAILED)
        return cr_fail(CR_NO_MEMORY, "out of memory: an expression");
    if (!code) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(error, reason, sizeof reason);
        return cr_fail(CR_INVALID, "%s: expression: %s", name, (const char *)reason);
    }
    struct cr_expression *expression;
    enum cr_status status = cr_allocate(1, sizeof *expression, &expression);
    if (status != CR_OK) {
        pcre2_code_free(code);
        return status;
    }
    expression->code = code;
    *out = expression;
    return CR_OK;
}

static enum cr_status compile_translated(struct cr_slice pattern, uint32_t options, const char *name,
                                         struct cr_expression **out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer translated = {0};
    CR_TRY(translate(pattern, name, &translated));
    return compile((struct cr_slice){(const unsigned char *)cr_buffer_text(&translated), translated.size},
                   PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | options, name, out);
}

enum cr_status cr_expression_new(struct cr_slice pattern, const char *name, struct cr_expression **out)
{
    return compile_translated(pattern, PCRE2_MULTILINE, name, out);
}

enum cr_status cr_expression_new_whole(struct cr_slice pattern, const char *name, struct cr_expression **out)
{
    return compile_translated(pattern, PCRE2_ANCHORED | PCRE2_ENDANCHORED, name, out);
}

enum cr_status cr_expression_new_literal(struct cr_slice text, const char *name, struct cr_expression **out)
{
    return compile(text, PCRE2_LITERAL, name, out);
}

void cr_expression_free(struct cr_expression *expression)
{
    if (!expression) return;
    pcre2_code_free(expression->code);
    free(expression);
}

enum cr_status cr_search_init(struct cr_search *search, const struct cr_expression *expression)
{
    pcre2_match_data *matched = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!matched || !limits) {
        pcre2_match_data_free(matched);
        pcre2_match_context_free(limits);
        return cr_fail(CR_NO_MEMORY, "out of memory: a search");
    }
    pcre2_set_heap_limit(limits, HEAP_LIMIT);
    *search = (struct cr_search){
        .expression = expression, .matched = matched, .limits = limits, .last_end = SIZE_MAX};
    return CR_OK;
}

void cr_search_release(struct cr_search *search)
{
    pcre2_match_data_free(search->matched);
    pcre2_match_context_free(search->limits);
    *search = (struct cr_search){0};
}

void cr_search_over(struct cr_search *search, struct cr_slice text)
{
    search->text = text;
    search->at = 0;
    search->last_end = SIZE_MAX;
    size_t steps = STEPS_LEAST + STEPS_EACH * text.size;
    pcre2_set_match_limit(search->limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
}

enum cr_status cr_search_next(struct cr_search *search, bool *found, size_t *start, size_t *end)
{
    while (search->at <= search->text.size) {
        int result = pcre2_match(search->expression->code, search->text.data, search->text.size, search->at,
                                 PCRE2_NO_UTF_CHECK, search->matched, search->limits);
        if (result == PCRE2_ERROR_NOMATCH) break;
        if (result == PCRE2_ERROR_NOMEMORY) return cr_fail(CR_NO_MEMORY, "out of memory: a search");
        if (result < 0) {
            PCRE2_UCHAR reason[128];
            pcre2_get_error_message(result, reason, sizeof reason);
            return cr_fail(CR_INVALID, "the expression takes too long on this text at offset %zu: %s",
                           search->at, (const char *)reason);
        }
        const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(search->matched);
        if (bounds[0] == bounds[1] && bounds[0] == search->last_end) {
            // An empty match right after the last one would be found again and again: move on by one
            // character.
            size_t next = search->at + 1;
            while (next < search->text.size && (search->text.data[next] & 0xc0) == 0x80) next++;
            search->at = next;
            continue;
        }
        search->at = search->last_end = bounds[1];
        *found = true;
        *start = bounds[0];
        *end = bounds[1];
        return CR_OK;
    }
    search->at = search->text.size + 1;
    *found = false;
    return CR_OK;
}
