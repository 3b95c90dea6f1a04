// Strict JSON: valid UTF-8, no duplicate keys, bounded depth and size. Every error message names the document
// and the place in it.
#ifndef CARREL_FORMAT_JSON_H
#define CARREL_FORMAT_JSON_H

#include "base/bytes.h"

#include <stdint.h>

enum cr_json_kind {
    CR_JSON_NULL,
    CR_JSON_BOOL,
    CR_JSON_NUMBER,
    CR_JSON_STRING,
    CR_JSON_ARRAY,
    CR_JSON_OBJECT
};

// One value. Values live as long as their root.
struct cr_json;

// Parses a document. Error messages contain `name` (usually a path), line and column.
enum cr_status cr_json_parse(struct cr_slice text, const char *name, struct cr_json **root);

// The same for a part of a document; error messages give the place in the whole document. `from`: where the
// part begins, as editors count lines and characters, from 1.
struct cr_json_place {
    size_t line, column;
};
enum cr_status cr_json_parse_part(struct cr_slice text, const char *name, struct cr_json_place from,
                                  struct cr_json **root);

// The same for a file, which may begin with a byte order mark; read also reads the file, of at most `limit`
// bytes.
enum cr_status cr_json_parse_file(struct cr_slice text, const char *path, struct cr_json **root);
enum cr_status cr_json_read(const char *path, size_t limit, struct cr_json **root);
void cr_json_free(struct cr_json *root);     // NULL is allowed
void cr_json_release(struct cr_json **root); // frees *root and sets it to NULL; for CR_CLEANUP

enum cr_json_kind cr_json_kind(const struct cr_json *value);                         // CR_JSON_NULL for NULL
const struct cr_json *cr_json_member(const struct cr_json *object, const char *key); // NULL if absent
size_t cr_json_count(const struct cr_json *value);                       // of an array or object, else 0
const struct cr_json *cr_json_at(const struct cr_json *array, size_t i); // NULL past the end

// Iterates over an object's members: start with *position = NULL; false after the last.
bool cr_json_next(const struct cr_json *object, void **position, const char **key,
                  const struct cr_json **value);

// Whether the object has a member of that name which is not null.
bool cr_json_given(const struct cr_json *object, const char *key);

// The value of a string, boolean or number; a value of another kind gives the fallback.
struct cr_slice cr_json_string(const struct cr_json *value); // {NULL, 0} unless a string; zero-terminated
bool cr_json_is_string(const struct cr_json *value, const char *text);
bool cr_json_bool(const struct cr_json *value, bool fallback);
double cr_json_number(const struct cr_json *value, double fallback);

// True for a number without a fraction that double or int64_t represents exactly: 8 and 8.0, but not 8.5 or
// 1e30.
bool cr_json_is_integer(const struct cr_json *value, int64_t *out);

// Reads a member of the given type and range into *out. If it is absent or null: the fallback, or CR_INVALID
// with _require_. A wrong type or range is CR_INVALID. `context` (a path) begins the error message. Strings
// live as long as the root.
enum cr_status cr_json_get_size(const struct cr_json *object, const char *context, const char *key,
                                size_t least, size_t most, size_t fallback, size_t *out);
enum cr_status cr_json_require_size(const struct cr_json *object, const char *context, const char *key,
                                    size_t least, size_t most, size_t *out);
enum cr_status cr_json_get_number(const struct cr_json *object, const char *context, const char *key,
                                  double fallback, double *out);
enum cr_status cr_json_get_bool(const struct cr_json *object, const char *context, const char *key,
                                bool fallback, bool *out);
enum cr_status cr_json_get_string(const struct cr_json *object, const char *context, const char *key,
                                  const char *fallback, const char **out);

// Reads a member that is a string of 2·size hexadecimal digits as `size` bytes; CR_INVALID if absent.
enum cr_status cr_json_get_hex(const struct cr_json *object, const char *context, const char *key,
                               unsigned char *out, size_t size);

// Finds a member of the outermost object and sets *out to its value as written in `text` (signatures cover
// bytes, not values). `text` must have been parsed as JSON. False if it is not an object or has no such
// member; a key written with escapes is not found.
bool cr_json_member_text(struct cr_slice text, const char *key, struct cr_slice *out);

// The same for each member in turn: its name as written between the quotes, and its value. *position is 0 at
// first. False after the last member.
bool cr_json_next_text(struct cr_slice text, size_t *position, struct cr_slice *key, struct cr_slice *value);

// Writing: append `text` as a JSON string with quotes, or a double such that it reads back unchanged.
enum cr_status cr_json_append_string(struct cr_buffer *out, struct cr_slice text);
enum cr_status cr_json_append_number(struct cr_buffer *out, double number);

// The same for text that is only shown, such as a path or message: bytes that are not UTF-8 become question
// marks.
enum cr_status cr_json_append_told(struct cr_buffer *out, const char *text);

// Appends a comma and "key": "text", as a further member of an object.
enum cr_status cr_json_append_text(struct cr_buffer *out, const char *key, const char *text);

// Appends "key": "hexadecimal digits", which cr_json_get_hex reads.
enum cr_status cr_json_append_hex(struct cr_buffer *out, const char *key, struct cr_slice bytes);

// Appends item i of a list of such digits, with a comma before it unless i is 0.
enum cr_status cr_json_append_hex_item(struct cr_buffer *out, size_t i, struct cr_slice bytes);

#endif
