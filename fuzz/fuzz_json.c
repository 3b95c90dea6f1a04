// Any bytes as JSON: refused, or walked whole without a fault, and strings and numbers written read back the
// same.
#include "fuzz_support.h"

#include "format/json.h"

static void rewrite_string(struct cr_slice text)
{
    struct cr_buffer out = {0};
    struct cr_json *again = NULL;
    check(cr_json_append_string(&out, text) == CR_OK);
    check(cr_json_parse(cr_buffer_slice(&out), "again", &again) == CR_OK);
    check(cr_slice_equal(cr_json_string(again), text));
    cr_json_free(again);
    cr_buffer_release(&out);
}

static void rewrite_number(double number)
{
    struct cr_buffer out = {0};
    struct cr_json *again = NULL;
    check(cr_json_append_number(&out, number) == CR_OK);
    check(cr_json_parse(cr_buffer_slice(&out), "again", &again) == CR_OK);
    check(cr_json_number(again, number + 1) == number);
    cr_json_free(again);
    cr_buffer_release(&out);
}

static void walk(const struct cr_json *value)
{
    int64_t integer;
    size_t got_size;
    double got_number;
    bool got_bool;
    const char *got_string, *key;
    const struct cr_json *member;
    void *position = NULL;
    switch (cr_json_kind(value)) {
    case CR_JSON_STRING:
        rewrite_string(cr_json_string(value));
        break;
    case CR_JSON_NUMBER:
        if (cr_json_is_integer(value, &integer)) check((double)integer == cr_json_number(value, 0));
        rewrite_number(cr_json_number(value, 0));
        break;
    case CR_JSON_ARRAY:
        for (size_t i = 0; i < cr_json_count(value); i++) walk(cr_json_at(value, i));
        break;
    case CR_JSON_OBJECT:
        while (cr_json_next(value, &position, &key, &member)) {
            check(cr_json_member(value, key) == member);
            (void)(cr_json_get_size(value, "f", key, 1, 100, 5, &got_size) == CR_OK);
            (void)(cr_json_get_number(value, "f", key, 1, &got_number) == CR_OK);
            (void)(cr_json_get_bool(value, "f", key, false, &got_bool) == CR_OK);
            (void)(cr_json_get_string(value, "f", key, NULL, &got_string) == CR_OK);
            walk(member);
        }
        break;
    case CR_JSON_NULL:
    case CR_JSON_BOOL:
        break;
    }
}

// A member's bytes are the member again when they are read by themselves, where its key has no escape.
static void reread(struct cr_slice text, const struct cr_json *root)
{
    void *position = NULL;
    const char *key;
    const struct cr_json *member;
    if (cr_json_kind(root) != CR_JSON_OBJECT) return;
    while (cr_json_next(root, &position, &key, &member)) {
        struct cr_slice bytes;
        struct cr_json *again = NULL;
        if (!cr_json_member_text(text, key, &bytes)) continue;
        check(cr_json_parse(bytes, "member", &again) == CR_OK);
        check(cr_json_kind(again) == cr_json_kind(member) && cr_json_count(again) == cr_json_count(member));
        cr_json_free(again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_json *root = NULL;
    struct cr_slice text = {data, size};
    if (cr_json_parse(text, "fuzz", &root) == CR_OK) {
        walk(root);
        reread(text, root);
    }
    cr_json_free(root);
    return 0;
}
