#include "format/json.h"
#include "base/file.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// A struct cr_json is a json_t under another name; reading never touches its reference count, so several
// threads may read one document.
enum {
    MAX_DEPTH = 64,
    MAX_TEXT = 256 << 20,
};

// Doubles below this hold every integer exactly.
static const double exact_integers = 9007199254740992.0;

// jansson does not check every allocation: without memory it may report a valid text as wrong, drop bytes of
// a string or read out of bounds. So a parse ends at the first allocation that fails, by longjmp, and leaks
// what it has allocated. Per thread: where to continue.
static _Thread_local jmp_buf *parsing;

static void *take(size_t size)
{
    void *block = malloc(size);
    if (!block && parsing) longjmp(*parsing, 1);
    return block;
}

__attribute__((constructor)) static void start(void)
{
    json_set_alloc_funcs(take, free);
}

static json_t *of(const struct cr_json *value)
{
    // jansson's readers are not const-correct throughout.
    return (json_t *)(uintptr_t)value;
}

static const struct cr_json *wrap(const json_t *value)
{
    return (const struct cr_json *)value;
}

// The text being parsed, and where it begins in the document.
struct source {
    struct cr_slice text;
    const char *name;
    struct cr_json_place from;
};

static enum cr_status fail_in(const struct source *source, size_t line, size_t column, const char *reason)
{
    struct cr_json_place from = source->from;
    return cr_fail(CR_INVALID, "%s:%zu:%zu: %s", source->name, from.line + line - 1,
                   line == 1 ? from.column + column - 1 : column, reason);
}

static enum cr_status fail_at(const struct source *source, size_t offset, const char *reason)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < source->text.size; i++) {
        if (source->text.data[i] == '\n') {
            line++;
            column = 1;
        } else if ((source->text.data[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return fail_in(source, line, column, reason);
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool exceeds_64_bits(const unsigned char *digits, size_t count)
{
    static const char most[] = "9223372036854775807";
    size_t length = sizeof most - 1;
    return count > length || (count == length && memcmp(digits, most, length) > 0);
}

// Checked before jansson parses the text: its depth, since jansson recurses up to a limit of its own; and
// whether an integer exceeds 64 bits, which jansson would refuse but real files contain (model_max_length is
// 10^30 in many tokenizer_config.json).
static enum cr_status scan(const struct source *source, bool *wide_integers)
{
    struct cr_slice text = source->text;
    size_t depth = 0;
    bool in_string = false, wide = false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = text.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH) return fail_at(source, i, "nested deeper than 64 levels");
        } else if (c == ']' || c == '}') {
            if (depth > 0) depth--;
        } else if (is_digit(c)) {
            size_t start = i;
            while (i + 1 < text.size && is_digit(text.data[i + 1])) i++;
            bool fraction = start > 0 && text.data[start - 1] == '.';
            if (!fraction) wide = wide || exceeds_64_bits(text.data + start, i + 1 - start);
        }
    }
    *wide_integers = wide;
    return CR_OK;
}

enum cr_status cr_json_parse(struct cr_slice text, const char *name, struct cr_json **root)
{
    return cr_json_parse_part(text, name, (struct cr_json_place){1, 1}, root);
}

enum cr_status cr_json_parse_part(struct cr_slice text, const char *name, struct cr_json_place from,
                                  struct cr_json **root)
{
    const struct source source = {text, name, from};
    if (text.size > MAX_TEXT)
        return cr_fail(CR_INVALID, "%s: %zu bytes of JSON, more than the %d allowed", name, text.size,
                       MAX_TEXT);
    size_t bad_at;
    if (!cr_utf8_valid(text, &bad_at)) return fail_at(&source, bad_at, "invalid UTF-8");
    bool wide_integers = false;
    CR_TRY(scan(&source, &wide_integers));
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    if (wide_integers) flags |= JSON_DECODE_INT_AS_REAL;
    json_error_t error;
    const char *bytes = text.size > 0 ? (const char *)text.data : "";
    jmp_buf starved;
    if (setjmp(starved) != 0) {
        parsing = NULL;
        return cr_fail(CR_NO_MEMORY, "%s: out of memory for %zu bytes of JSON", name, text.size);
    }
    parsing = &starved;
    json_t *parsed = json_loadb(bytes, text.size, flags, &error);
    parsing = NULL;
    if (!parsed) return fail_in(&source, (size_t)error.line, (size_t)error.column, error.text);
    *root = (struct cr_json *)parsed;
    return CR_OK;
}

enum cr_status cr_json_parse_file(struct cr_slice text, const char *path, struct cr_json **root)
{
    if (text.size == 0) return cr_fail(CR_INVALID, "%s: the file is empty", path);
    CR_TRY(cr_file_refuse_pointer(path, text));
    return cr_json_parse(cr_utf8_unmarked(text), path, root);
}

enum cr_status cr_json_read(const char *path, size_t limit, struct cr_json **root)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, limit, &text));
    return cr_json_parse_file(cr_buffer_slice(&text), path, root);
}

void cr_json_free(struct cr_json *root)
{
    json_decref(of(root));
}

void cr_json_release(struct cr_json **root)
{
    cr_json_free(*root);
    *root = NULL;
}

enum cr_json_kind cr_json_kind(const struct cr_json *value)
{
    if (!value) return CR_JSON_NULL;
    switch (json_typeof(of(value))) {
    case JSON_OBJECT:
        return CR_JSON_OBJECT;
    case JSON_ARRAY:
        return CR_JSON_ARRAY;
    case JSON_STRING:
        return CR_JSON_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return CR_JSON_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return CR_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return CR_JSON_NULL;
}

const struct cr_json *cr_json_member(const struct cr_json *object, const char *key)
{
    return wrap(json_object_get(of(object), key));
}

size_t cr_json_count(const struct cr_json *value)
{
    return json_is_object(of(value)) ? json_object_size(of(value)) : json_array_size(of(value));
}

const struct cr_json *cr_json_at(const struct cr_json *array, size_t i)
{
    return wrap(json_array_get(of(array), i));
}

bool cr_json_next(const struct cr_json *object, void **position, const char **key,
                  const struct cr_json **value)
{
    void *next = *position ? json_object_iter_next(of(object), *position) : json_object_iter(of(object));
    if (!next) return false;
    *position = next;
    *key = json_object_iter_key(next);
    *value = wrap(json_object_iter_value(next));
    return true;
}

struct cr_slice cr_json_string(const struct cr_json *value)
{
    if (!json_is_string(of(value))) return (struct cr_slice){NULL, 0};
    return (struct cr_slice){(const unsigned char *)json_string_value(of(value)),
                             json_string_length(of(value))};
}

bool cr_json_is_string(const struct cr_json *value, const char *text)
{
    return json_is_string(of(value)) && cr_slice_equal(cr_json_string(value), cr_slice_of_string(text));
}

bool cr_json_bool(const struct cr_json *value, bool fallback)
{
    return json_is_boolean(of(value)) ? json_is_true(of(value)) : fallback;
}

double cr_json_number(const struct cr_json *value, double fallback)
{
    return json_is_number(of(value)) ? json_number_value(of(value)) : fallback;
}

bool cr_json_is_integer(const struct cr_json *value, int64_t *out)
{
    if (json_is_integer(of(value))) {
        *out = json_integer_value(of(value));
        return true;
    }
    if (!json_is_real(of(value))) return false;
    double number = json_real_value(of(value));
    if (!(fabs(number) < exact_integers) || number != trunc(number)) return false;
    *out = (int64_t)number;
    return true;
}

static const char *kind_name(const struct cr_json *value)
{
    static const char *const names[] = {
        [CR_JSON_NULL] = "null",       [CR_JSON_BOOL] = "a boolean", [CR_JSON_NUMBER] = "a number",
        [CR_JSON_STRING] = "a string", [CR_JSON_ARRAY] = "a list",   [CR_JSON_OBJECT] = "an object",
    };
    return names[cr_json_kind(value)];
}

static enum cr_status fail_kind(const char *context, const char *key, const char *wanted,
                                const struct cr_json *value)
{
    return cr_fail(CR_INVALID, "%s: \"%s\": %s is wanted, not %s", context, key, wanted, kind_name(value));
}

bool cr_json_given(const struct cr_json *object, const char *key)
{
    return cr_json_kind(cr_json_member(object, key)) != CR_JSON_NULL;
}

static bool is_absent(const struct cr_json *value)
{
    return cr_json_kind(value) == CR_JSON_NULL;
}

enum cr_status cr_json_get_size(const struct cr_json *object, const char *context, const char *key,
                                size_t least, size_t most, size_t fallback, size_t *out)
{
    if (is_absent(cr_json_member(object, key))) {
        *out = fallback;
        return CR_OK;
    }
    return cr_json_require_size(object, context, key, least, most, out);
}

enum cr_status cr_json_require_size(const struct cr_json *object, const char *context, const char *key,
                                    size_t least, size_t most, size_t *out)
{
    const struct cr_json *value = cr_json_member(object, key);
    if (is_absent(value)) return cr_fail(CR_INVALID, "%s: \"%s\" is missing", context, key);
    if (cr_json_kind(value) != CR_JSON_NUMBER) return fail_kind(context, key, "an integer", value);
    int64_t number;
    if (!cr_json_is_integer(value, &number) || number < 0 || (uint64_t)number < least ||
        (uint64_t)number > most)
        return cr_fail(CR_INVALID, "%s: \"%s\": an integer from %zu to %zu is wanted, not %.15g", context,
                       key, least, most, cr_json_number(value, 0));
    *out = (size_t)number;
    return CR_OK;
}

enum cr_status cr_json_get_number(const struct cr_json *object, const char *context, const char *key,
                                  double fallback, double *out)
{
    const struct cr_json *value = cr_json_member(object, key);
    if (!is_absent(value) && cr_json_kind(value) != CR_JSON_NUMBER)
        return fail_kind(context, key, "a number", value);
    *out = cr_json_number(value, fallback);
    return CR_OK;
}

enum cr_status cr_json_get_bool(const struct cr_json *object, const char *context, const char *key,
                                bool fallback, bool *out)
{
    const struct cr_json *value = cr_json_member(object, key);
    if (!is_absent(value) && cr_json_kind(value) != CR_JSON_BOOL)
        return fail_kind(context, key, "true or false", value);
    *out = cr_json_bool(value, fallback);
    return CR_OK;
}

enum cr_status cr_json_get_string(const struct cr_json *object, const char *context, const char *key,
                                  const char *fallback, const char **out)
{
    const struct cr_json *value = cr_json_member(object, key);
    if (is_absent(value)) {
        *out = fallback;
        return CR_OK;
    }
    if (cr_json_kind(value) != CR_JSON_STRING) return fail_kind(context, key, "a string", value);
    struct cr_slice text = cr_json_string(value);
    if (memchr(text.data, 0, text.size))
        return cr_fail(CR_INVALID, "%s: \"%s\": the string holds a zero byte", context, key);
    *out = (const char *)text.data;
    return CR_OK;
}

enum cr_status cr_json_get_hex(const struct cr_json *object, const char *context, const char *key,
                               unsigned char *out, size_t size)
{
    const char *hex;
    CR_TRY(cr_json_get_string(object, context, key, "", &hex));
    enum cr_status status = cr_hex_decode(hex, out, size);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s: \"%s\"", context, key);
}

static size_t skip_space(struct cr_slice text, size_t at)
{
    while (at < text.size && memchr(" \t\r\n", text.data[at], 4)) at++;
    return at;
}

// The position after the string that begins at `at`.
static size_t skip_string(struct cr_slice text, size_t at)
{
    for (at++; at < text.size && text.data[at] != '"'; at++)
        if (text.data[at] == '\\') at++;
    return cr_least(at + 1, text.size);
}

// The position after the value that begins at `at`: of the comma or bracket that ends it, or of white space
// before that.
static size_t skip_value(struct cr_slice text, size_t at)
{
    size_t depth = 0;
    while (at < text.size) {
        unsigned char c = text.data[at];
        if (c == '"') {
            at = skip_string(text, at);
            if (depth == 0) return at;
            continue;
        }
        if (depth == 0 && memchr(",]} \t\r\n", c, 7)) return at;
        if (c == '[' || c == '{') depth++;
        at++;
        if ((c == ']' || c == '}') && --depth == 0) return at;
    }
    return at;
}

bool cr_json_next_text(struct cr_slice text, size_t *position, struct cr_slice *key, struct cr_slice *value)
{
    size_t at = *position;
    if (at == 0) {
        at = skip_space(text, 0);
        if (at >= text.size || text.data[at] != '{') return false;
        at = skip_space(text, at + 1);
    }
    if (at >= text.size || text.data[at] != '"') return false;
    size_t key_end = skip_string(text, at);
    size_t start = skip_space(text, skip_space(text, key_end) + 1); // after the colon
    size_t end = skip_value(text, start);
    if (end >= text.size) return false;
    *key = (struct cr_slice){text.data + at + 1, key_end - at - 2};
    *value = (struct cr_slice){text.data + start, end - start};
    *position = skip_space(text, skip_space(text, end) + 1); // after the comma
    return true;
}

bool cr_json_member_text(struct cr_slice text, const char *key, struct cr_slice *out)
{
    struct cr_slice wanted = cr_slice_of_string(key), name, value;
    for (size_t position = 0; cr_json_next_text(text, &position, &name, &value);) {
        // A key written with an escape differs from its text, and its text could equal another key.
        if (memchr(name.data, '\\', name.size) || !cr_slice_equal(name, wanted)) continue;
        *out = value;
        return true;
    }
    return false;
}
