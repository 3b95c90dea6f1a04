#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

size_t cr_utf8_put(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    for (size_t k = more; k > 0; k--, c >>= 6) out[k] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(lead[more] | c);
    return more + 1;
}

enum cr_status cr_utf8_append(struct cr_buffer *out, uint32_t character)
{
    unsigned char bytes[4];
    size_t size = cr_utf8_put(character, bytes);
    return cr_append(out, bytes, size);
}

// The size of the ill-formed part at the start of `bytes`: the longest prefix of a valid character, at least
// 1.
static size_t ill_formed_size(struct cr_slice bytes)
{
    size_t size = 1;
    while (size < bytes.size && size < 4) {
        // A prefix is what some continuation completes.
        unsigned char lead = bytes.data[0], next = bytes.data[size];
        size_t more = lead >= 0xc2 && lead < 0xe0 ? 1 : (lead & 0xf0) == 0xe0 ? 2 : 3;
        bool begins = lead >= 0xc2 && lead <= 0xf4 && size < more && (next & 0xc0) == 0x80;
        if (size == 1 && begins)
            begins = !(lead == 0xe0 && next < 0xa0) && !(lead == 0xed && next >= 0xa0) &&
                     !(lead == 0xf0 && next < 0x90) && !(lead == 0xf4 && next >= 0x90);
        if (!begins) break;
        size++;
    }
    return size;
}

enum cr_status cr_utf8_append_lossy(struct cr_buffer *out, struct cr_slice bytes)
{
    size_t bad_at;
    while (!cr_utf8_valid(bytes, &bad_at)) {
        struct cr_slice rest = {bytes.data + bad_at, bytes.size - bad_at};
        size_t bad = ill_formed_size(rest);
        CR_TRY(cr_append(out, bytes.data, bad_at));
        CR_TRY(cr_utf8_append(out, 0xfffd));
        bytes = (struct cr_slice){rest.data + bad, rest.size - bad};
    }
    return cr_append(out, bytes.data, bytes.size);
}

bool cr_unicode_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool cr_unicode_gap(uint32_t c)
{
    return cr_unicode_space(c) || (c >= 0x1c && c <= 0x1f);
}

struct cr_slice cr_text_strip(struct cr_slice text)
{
    const unsigned char *at = text.data, *end = text.data + text.size, *begin = NULL, *last = NULL;
    while (at < end) {
        const unsigned char *here = at;
        if (cr_unicode_gap(cr_utf8_next(&at))) continue;
        if (!begin) begin = here;
        last = at;
    }
    return begin ? (struct cr_slice){begin, (size_t)(last - begin)} : (struct cr_slice){text.data, 0};
}

bool cr_unicode_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: // joiners, and circled and squared letters, which are Alphabetic symbols
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
               (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    }
}

// Hugging Face's normal forms are those of Unicode 9.0, and utf8proc's of Unicode 15.0. Later characters that
// have a combining class or a decomposition lie in these ranges: they are left unchanged, and the text before
// and after them is normalised separately.
static bool is_later(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } later[] = {
        {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
        {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},   {0x1abf, 0x1ace},
        {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},
        {0x10781, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
        {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
        {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
        {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
        {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f},
        {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c},
        {0x1fbf0, 0x1fbf9}};
    size_t low = 0, high = sizeof later / sizeof *later;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (later[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof later / sizeof *later && c >= later[low].first;
}

static uint32_t combining_class(utf8proc_int32_t c)
{
    return is_later((uint32_t)c) ? 0 : (uint32_t)utf8proc_get_property(c)->combining_class;
}

struct mark {
    utf8proc_int32_t character;
    uint32_t key; // combining class, then position, which makes the sort stable
};

static int compare_marks(const void *a, const void *b)
{
    uint32_t x = ((const struct mark *)a)->key, y = ((const struct mark *)b)->key;
    return x < y ? -1 : x > y;
}

// Puts every run of combining marks into canonical order. utf8proc swaps neighbours for this, which is
// quadratic in the length of a run.
static enum cr_status order_marks(utf8proc_int32_t *characters, size_t count)
{
    CR_FREE struct mark *marks = NULL;
    size_t room = 0;
    for (size_t i = 0; i < count;) {
        size_t end = i;
        bool ordered = true;
        uint32_t before = 0;
        while (end < count) {
            uint32_t class = combining_class(characters[end]);
            if (class == 0) break;
            if (class < before) ordered = false;
            before = class;
            end++;
        }
        if (!ordered) {
            size_t run = end - i;
            if (run >= 1u << 24) return cr_fail(CR_INVALID, "text with %zu combining marks in a row", run);
            if (run > room) CR_TRY(cr_reallocate(run, sizeof *marks, &marks));
            if (run > room) room = run;
            for (size_t k = 0; k < run; k++) {
                uint32_t class = combining_class(characters[i + k]);
                marks[k] = (struct mark){characters[i + k], class << 24 | (uint32_t)k};
            }
            qsort(marks, run, sizeof *marks, compare_marks);
            for (size_t k = 0; k < run; k++) characters[i + k] = marks[k].character;
        }
        i = end > i ? end : i + 1;
    }
    return CR_OK;
}

// Composes the parts between later characters (is_later); *count decreases.
static enum cr_status compose_parts(utf8proc_int32_t *characters, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count;) {
        size_t end = i;
        while (end < *count && !is_later((uint32_t)characters[end])) end++;
        utf8proc_ssize_t composed = utf8proc_normalize_utf32(characters + i, (utf8proc_ssize_t)(end - i),
                                                             UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (composed < 0) return cr_fail(CR_INTERNAL, "utf8proc: %s", utf8proc_errmsg(composed));
        memmove(characters + kept, characters + i, (size_t)composed * sizeof *characters);
        kept += (size_t)composed;
        for (i = end; i < *count && is_later((uint32_t)characters[i]); i++)
            characters[kept++] = characters[i];
    }
    *count = kept;
    return CR_OK;
}

// Buffers for characters, reused for all parts of a text.
struct scratch {
    utf8proc_int32_t *characters;
    size_t room;
};

static enum cr_status normalize_part(struct cr_slice part, enum cr_normal_form form, struct scratch *scratch,
                                     struct cr_buffer *out)
{
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == CR_NFKC || form == CR_NFKD) options |= UTF8PROC_COMPAT;
    // Unicode's longest decomposition is 18 characters (U+FDFA).
    enum { LONGEST = 18 };
    size_t count = 0;
    const unsigned char *at = part.data, *end = part.data + part.size;
    while (at < end) {
        if (scratch->room - count < LONGEST) {
            size_t room = scratch->room + scratch->room / 2 + part.size + LONGEST;
            CR_TRY(cr_reallocate(room, sizeof *scratch->characters, &scratch->characters));
            scratch->room = room;
        }
        int boundary = 0;
        uint32_t c = cr_utf8_next(&at);
        if (is_later(c)) {
            scratch->characters[count++] = (utf8proc_int32_t)c;
            continue;
        }
        utf8proc_ssize_t more = utf8proc_decompose_char((utf8proc_int32_t)c, scratch->characters + count,
                                                        LONGEST, options, &boundary);
        if (more < 0 || more > LONGEST) {
            if (more > 0) more = UTF8PROC_ERROR_OVERFLOW;
            return cr_fail(CR_INTERNAL, "utf8proc: %s", utf8proc_errmsg(more));
        }
        count += (size_t)more;
    }
    CR_TRY(order_marks(scratch->characters, count));
    if (form == CR_NFC || form == CR_NFKC) CR_TRY(compose_parts(scratch->characters, &count));
    for (size_t i = 0; i < count; i++) CR_TRY(cr_utf8_append(out, (uint32_t)scratch->characters[i]));
    return CR_OK;
}

// ASCII is its own normal form, and no composition crosses the start of an ASCII character. So ASCII is
// copied, except the last character of a run, with which a following mark may combine.
static enum cr_status normalize_all(struct cr_slice text, enum cr_normal_form form, struct scratch *scratch,
                                    struct cr_buffer *out)
{
    for (size_t at = 0; at < text.size;) {
        size_t plain = at;
        while (plain < text.size && text.data[plain] < 0x80) plain++;
        size_t end = plain;
        if (plain < text.size && plain > at) plain--;
        CR_TRY(cr_append(out, text.data + at, plain - at));
        while (end < text.size && text.data[end] >= 0x80) end++;
        if (end > plain)
            CR_TRY(normalize_part((struct cr_slice){text.data + plain, end - plain}, form, scratch, out));
        at = end;
    }
    return CR_OK;
}

enum cr_status cr_unicode_normalize(struct cr_slice text, enum cr_normal_form form, struct cr_buffer *out)
{
    struct scratch scratch = {0};
    enum cr_status status = normalize_all(text, form, &scratch, out);
    free(scratch.characters);
    return status;
}

enum cr_status cr_unicode_lowercase(struct cr_slice text, struct cr_buffer *out)
{
    const unsigned char *at = text.data, *end = text.data + text.size;
    while (at < end) {
        uint32_t c = cr_utf8_next(&at);
        // U+0130 is the only character whose lower case has two characters: i and a combining dot.
        if (c == 0x130)
            CR_TRY(cr_append(out, "i\xcc\x87", 3));
        else
            CR_TRY(cr_utf8_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)));
    }
    return CR_OK;
}

enum cr_status cr_text_replace(struct cr_slice text, struct cr_slice pattern, struct cr_slice content,
                               size_t limit, struct cr_buffer *out)
{
    while (text.size > 0 && out->size <= limit) {
        const unsigned char *hit =
            pattern.size > 0 ? memmem(text.data, text.size, pattern.data, pattern.size) : NULL;
        size_t before = hit ? (size_t)(hit - text.data) : text.size;
        CR_TRY(cr_append(out, text.data, before));
        if (!hit) break;
        CR_TRY(cr_append(out, content.data, content.size));
        text = (struct cr_slice){hit + pattern.size, text.size - before - pattern.size};
    }
    return CR_OK;
}

size_t cr_text_growth_limit(size_t size)
{
    enum { FACTOR = 64, FREE = 1 << 16 };
    return FREE + (size < SIZE_MAX / FACTOR / 2 ? size * FACTOR : 0);
}
