#include "text/decoder.h"

#include "text/byte_level.h"
#include "text/component.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum kind { BYTE_LEVEL, METASPACE, REPLACE, BYTE_FALLBACK, FUSE, STRIP };

struct step {
    enum kind kind;
    struct cr_buffer pattern; // REPLACE: the string to replace; METASPACE and STRIP: one character
    struct cr_buffer content; // REPLACE: its replacement
    bool drop_first;          // METASPACE: leave out the replacement in the first token
    size_t left, right;       // STRIP: the most characters at each end
};

enum { STEP_LIMIT = 32, STRIP_LIMIT = 1 << 20 };

struct cr_text_decoder {
    struct step steps[STEP_LIMIT];
    size_t count;
    bool none; // the file has null
};

static enum cr_status parse_metaspace(struct step *step, const struct cr_json *json, const char *name)
{
    const char *scheme, *replacement;
    bool prefix; // the older form of prepend_scheme
    CR_TRY(cr_json_get_bool(json, name, "add_prefix_space", true, &prefix));
    CR_TRY(cr_json_get_string(json, name, "prepend_scheme", prefix ? "always" : "never", &scheme));
    CR_TRY(cr_json_get_string(json, name, "replacement", "\u2581", &replacement));
    step->kind = METASPACE;
    step->drop_first = strcmp(scheme, "never") != 0;
    return cr_append(&step->pattern, replacement, strlen(replacement));
}

static enum cr_status parse_strip(struct step *step, const struct cr_json *json, const char *name)
{
    step->kind = STRIP;
    CR_TRY(cr_component_string(json, name, "decoder", "content", &step->pattern));
    const unsigned char *end = step->pattern.data;
    if (step->pattern.size > 0) (void)cr_utf8_next(&end);
    if (step->pattern.size == 0 || end != step->pattern.data + step->pattern.size)
        return cr_fail(CR_INVALID, "%s: decoder: Strip: \"content\" must be one character", name);
    CR_TRY(cr_json_get_size(json, name, "start", 0, STRIP_LIMIT, 0, &step->left));
    return cr_json_get_size(json, name, "stop", 0, STRIP_LIMIT, 0, &step->right);
}

static enum cr_status parse(struct cr_text_decoder *decoder, const struct cr_json *json, const char *name,
                            size_t depth)
{
    const char *type;
    CR_TRY(cr_json_get_string(json, name, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const struct cr_json *steps;
        CR_TRY(cr_component_steps(json, name, "decoder", "decoders", depth, &steps));
        for (size_t i = 0; i < cr_json_count(steps); i++)
            CR_TRY(parse(decoder, cr_json_at(steps, i), name, depth + 1));
        return CR_OK;
    }
    if (decoder->count == STEP_LIMIT)
        return cr_fail(CR_INVALID, "%s: decoder: more than %d steps", name, STEP_LIMIT);
    struct step *step = &decoder->steps[decoder->count++];
    if (strcmp(type, "Metaspace") == 0) return parse_metaspace(step, json, name);
    if (strcmp(type, "Replace") == 0) {
        step->kind = REPLACE;
        return cr_component_replace(json, name, "decoder", &step->pattern, &step->content);
    }
    if (strcmp(type, "Strip") == 0) return parse_strip(step, json, name);
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = BYTE_LEVEL;
    } else if (strcmp(type, "ByteFallback") == 0) {
        step->kind = BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = FUSE;
    } else {
        return cr_fail(CR_UNSUPPORTED, "%s: decoder \"%s\" is not supported", name, type);
    }
    return CR_OK;
}

enum cr_status cr_text_decoder_new(const struct cr_json *json, const char *name, struct cr_text_decoder **out)
{
    struct cr_text_decoder *decoder;
    CR_TRY(cr_allocate(1, sizeof *decoder, &decoder));
    decoder->none = cr_json_kind(json) == CR_JSON_NULL;
    enum cr_status status = decoder->none ? CR_OK : parse(decoder, json, name, 0);
    if (status != CR_OK)
        cr_text_decoder_free(decoder);
    else
        *out = decoder;
    return status;
}

void cr_text_decoder_free(struct cr_text_decoder *decoder)
{
    if (!decoder) return;
    for (size_t i = 0; i < decoder->count; i++) {
        cr_buffer_release(&decoder->steps[i].pattern);
        cr_buffer_release(&decoder->steps[i].content);
    }
    free(decoder);
}

// Maps each token's characters to the bytes for which they stand; a token with any other character is taken
// literally.
static enum cr_status decode_byte_level(const struct cr_pieces *tokens, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    for (size_t i = 0; i < tokens->count; i++) {
        struct cr_slice token = cr_piece_text(tokens, i);
        size_t start = bytes.size;
        const unsigned char *at = token.data, *end = token.data + token.size;
        while (at < end) {
            int byte = cr_byte_level_byte(cr_utf8_next(&at));
            if (byte < 0) {
                bytes.size = start;
                CR_TRY(cr_append(&bytes, token.data, token.size));
                break;
            }
            CR_TRY(cr_append_u8(&bytes, (uint8_t)byte));
        }
    }
    return cr_utf8_append_lossy(out, cr_buffer_slice(&bytes));
}

int cr_byte_of_token(struct cr_slice token)
{
    if (token.size != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>') return -1;
    const char digits[] = {(char)token.data[3], (char)token.data[4], 0};
    unsigned char byte;
    return cr_hex_decode(digits, &byte, 1) == CR_OK ? byte : -1;
}

static enum cr_status add_piece(struct cr_pieces *out, size_t start)
{
    // A token number keeps an empty piece in the list: it may separate two runs of byte tokens.
    return cr_pieces_add(out, (struct cr_piece){.start = start, .end = out->text.size, .token = 0});
}

// A run of byte tokens becomes one piece if it is valid UTF-8, else one U+FFFD for each byte.
static enum cr_status flush_bytes(struct cr_buffer *bytes, struct cr_pieces *out)
{
    size_t start = out->text.size;
    if (cr_utf8_valid(cr_buffer_slice(bytes), NULL)) {
        CR_TRY(cr_append(&out->text, bytes->data, bytes->size));
    } else {
        for (size_t i = 0; i < bytes->size; i++) CR_TRY(cr_utf8_append(&out->text, 0xfffd));
    }
    cr_buffer_clear(bytes);
    return add_piece(out, start);
}

static enum cr_status decode_byte_fallback(const struct cr_pieces *tokens, struct cr_pieces *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    for (size_t i = 0; i < tokens->count; i++) {
        int byte = cr_byte_of_token(cr_piece_text(tokens, i));
        if (byte >= 0) {
            CR_TRY(cr_append_u8(&bytes, (uint8_t)byte));
            continue;
        }
        if (bytes.size > 0) CR_TRY(flush_bytes(&bytes, out));
        CR_TRY(cr_pieces_copy(out, tokens, i));
    }
    return bytes.size > 0 ? flush_bytes(&bytes, out) : CR_OK;
}

static struct cr_slice strip(const struct step *step, struct cr_slice token)
{
    size_t size = step->pattern.size;
    for (size_t i = 0; i < step->left; i++) {
        if (token.size < size || memcmp(token.data, step->pattern.data, size) != 0) break;
        token = (struct cr_slice){token.data + size, token.size - size};
    }
    for (size_t i = 0; i < step->right; i++) {
        if (token.size < size || memcmp(token.data + token.size - size, step->pattern.data, size) != 0) break;
        token.size -= size;
    }
    return token;
}

static enum cr_status apply(const struct step *step, const struct cr_pieces *tokens, size_t limit,
                            struct cr_pieces *out)
{
    if (step->kind == BYTE_FALLBACK) return decode_byte_fallback(tokens, out);
    if (step->kind == BYTE_LEVEL) {
        CR_TRY(decode_byte_level(tokens, &out->text));
        return add_piece(out, 0);
    }
    for (size_t i = 0; i < tokens->count; i++) {
        struct cr_slice token = cr_piece_text(tokens, i), content = {(const unsigned char *)" ", 1};
        size_t start = out->text.size;
        if (step->kind == REPLACE) content = (struct cr_slice){step->content.data, step->content.size};
        if (step->kind == METASPACE && i == 0 && step->drop_first) content.size = 0;
        if (step->kind == STRIP) token = strip(step, token);
        if (step->kind == REPLACE || step->kind == METASPACE)
            CR_TRY(cr_text_replace(token, cr_buffer_slice(&step->pattern), content, limit, &out->text));
        else
            CR_TRY(cr_append(&out->text, token.data, token.size));
        if (out->text.size > limit)
            return cr_fail(CR_INVALID, "the tokenizer's decoder makes over %zu bytes of %zu", limit,
                           tokens->text.size);
        if (step->kind != FUSE) CR_TRY(add_piece(out, start));
    }
    return step->kind == FUSE ? add_piece(out, 0) : CR_OK;
}

enum cr_status cr_decode(const struct cr_text_decoder *decoder, struct cr_pieces *tokens,
                         struct cr_buffer *out)
{
    size_t limit = cr_text_growth_limit(tokens->text.size);
    for (size_t i = 0; i < decoder->count; i++) {
        CR_CLEANUP(cr_pieces_release) struct cr_pieces next = {0};
        CR_TRY(apply(&decoder->steps[i], tokens, limit, &next));
        cr_pieces_take(tokens, &next);
    }
    for (size_t i = 0; i < tokens->count; i++) {
        struct cr_slice token = cr_piece_text(tokens, i);
        if (decoder->none && i > 0) CR_TRY(cr_append(out, " ", 1));
        CR_TRY(cr_append(out, token.data, token.size));
    }
    return CR_OK;
}
