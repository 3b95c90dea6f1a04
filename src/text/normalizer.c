#include "text/normalizer.h"

#include "text/component.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum kind { FORM, LOWERCASE, STRIP, PREPEND, REPLACE };

struct step {
    enum kind kind;
    enum cr_normal_form form;
    bool left, right;                  // STRIP
    struct cr_buffer pattern, content; // REPLACE; PREPEND uses only `content`
};

enum { STEP_LIMIT = 32 };

struct cr_normalizer {
    struct step steps[STEP_LIMIT];
    size_t count;
};

static enum cr_status parse(struct cr_normalizer *normalizer, const struct cr_json *json, const char *name,
                            size_t depth)
{
    if (cr_json_kind(json) == CR_JSON_NULL) return CR_OK;
    const char *type;
    CR_TRY(cr_json_get_string(json, name, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const struct cr_json *steps;
        CR_TRY(cr_component_steps(json, name, "normalizer", "normalizers", depth, &steps));
        for (size_t i = 0; i < cr_json_count(steps); i++)
            CR_TRY(parse(normalizer, cr_json_at(steps, i), name, depth + 1));
        return CR_OK;
    }
    if (normalizer->count == STEP_LIMIT)
        return cr_fail(CR_INVALID, "%s: normalizer: more than %d steps", name, STEP_LIMIT);
    struct step *step = &normalizer->steps[normalizer->count++];
    static const char *const forms[] = {
        [CR_NFC] = "NFC", [CR_NFD] = "NFD", [CR_NFKC] = "NFKC", [CR_NFKD] = "NFKD"};
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++)
        if (strcmp(type, forms[form]) == 0) {
            *step = (struct step){.kind = FORM, .form = (enum cr_normal_form)form};
            return CR_OK;
        }
    if (strcmp(type, "Replace") == 0) {
        step->kind = REPLACE;
        return cr_component_replace(json, name, "normalizer", &step->pattern, &step->content);
    }
    if (strcmp(type, "Lowercase") == 0) {
        step->kind = LOWERCASE;
    } else if (strcmp(type, "Prepend") == 0) {
        step->kind = PREPEND;
        CR_TRY(cr_component_string(json, name, "normalizer", "prepend", &step->content));
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = STRIP;
        CR_TRY(cr_json_get_bool(json, name, "strip_left", true, &step->left));
        CR_TRY(cr_json_get_bool(json, name, "strip_right", true, &step->right));
    } else {
        return cr_fail(CR_UNSUPPORTED, "%s: normalizer \"%s\" is not supported", name, type);
    }
    return CR_OK;
}

enum cr_status cr_normalizer_new(const struct cr_json *json, const char *name, struct cr_normalizer **out)
{
    struct cr_normalizer *normalizer;
    CR_TRY(cr_allocate(1, sizeof *normalizer, &normalizer));
    enum cr_status status = parse(normalizer, json, name, 0);
    if (status != CR_OK)
        cr_normalizer_free(normalizer);
    else
        *out = normalizer;
    return status;
}

void cr_normalizer_free(struct cr_normalizer *normalizer)
{
    if (!normalizer) return;
    for (size_t i = 0; i < normalizer->count; i++) {
        cr_buffer_release(&normalizer->steps[i].pattern);
        cr_buffer_release(&normalizer->steps[i].content);
    }
    free(normalizer);
}

bool cr_normalizer_idle(const struct cr_normalizer *normalizer)
{
    return normalizer->count == 0;
}

static struct cr_slice strip(const struct step *step, struct cr_slice text, bool whole)
{
    const unsigned char *front = text.data, *end = text.data + text.size;
    while (step->left && front < end) {
        const unsigned char *next = front;
        if (!cr_unicode_space(cr_utf8_next(&next))) break;
        front = next;
    }
    while (step->right && whole && end > front) {
        const unsigned char *last = end - 1;
        while ((*last & 0xc0) == 0x80) last--;
        const unsigned char *next = last;
        if (!cr_unicode_space(cr_utf8_next(&next))) break;
        end = last;
    }
    return (struct cr_slice){front, (size_t)(end - front)};
}

static enum cr_status apply(const struct step *step, struct cr_slice text, bool whole, size_t limit,
                            struct cr_buffer *out, bool *cut_front)
{
    switch (step->kind) {
    case FORM:
        return cr_unicode_normalize(text, step->form, out);
    case LOWERCASE:
        return cr_unicode_lowercase(text, out);
    case REPLACE:
        return cr_text_replace(text, cr_buffer_slice(&step->pattern), cr_buffer_slice(&step->content), limit,
                               out);
    case PREPEND:
        if (text.size > 0) CR_TRY(cr_append(out, step->content.data, step->content.size));
        return cr_append(out, text.data, text.size);
    case STRIP: {
        struct cr_slice kept = strip(step, text, whole);
        if (cut_front && kept.data != text.data) *cut_front = true;
        return cr_append(out, kept.data, kept.size);
    }
    }
    return cr_fail(CR_INTERNAL, "unknown step of a normalizer");
}

enum cr_status cr_normalize(const struct cr_normalizer *normalizer, struct cr_slice text, bool whole,
                            struct cr_buffer *out, bool *cut_front)
{
    if (cut_front) *cut_front = false;
    size_t limit = cr_text_growth_limit(text.size);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer a = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer b = {0};
    for (size_t i = 0; i < normalizer->count; i++) {
        cr_buffer_clear(&b);
        CR_TRY(apply(&normalizer->steps[i], text, whole, limit, &b, cut_front));
        if (b.size > limit)
            return cr_fail(CR_INVALID, "the tokenizer's normalizer makes %zu bytes of a text of %zu", b.size,
                           text.size);
        struct cr_buffer swapped = a;
        a = b;
        b = swapped;
        text = (struct cr_slice){(const unsigned char *)cr_buffer_text(&a), a.size};
    }
    return cr_append(out, text.data, text.size);
}
