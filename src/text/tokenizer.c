#include "text/tokenizer_parts.h"

#include <stdlib.h>

enum { TEXT_LIMIT = 1 << 30 }; // bytes of one text

void cr_ids_release(struct cr_ids *ids)
{
    free(ids->items);
    *ids = (struct cr_ids){0};
}

enum cr_status cr_ids_append(struct cr_ids *ids, uint32_t id)
{
    CR_TRY(cr_grow(ids->count + 1, &ids->capacity, sizeof *ids->items, &ids->items));
    ids->items[ids->count++] = id;
    return CR_OK;
}

enum cr_status cr_ids_append_all(struct cr_ids *ids, const struct cr_ids *more)
{
    for (size_t i = 0; i < more->count; i++) CR_TRY(cr_ids_append(ids, more->items[i]));
    return CR_OK;
}

void cr_tokenizer_free(struct cr_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    cr_normalizer_free(tokenizer->normalizer);
    cr_splitter_free(tokenizer->splitter);
    cr_bpe_free(tokenizer->bpe);
    cr_added_free(tokenizer->added);
    cr_template_release(&tokenizer->template);
    cr_text_decoder_free(tokenizer->decoder);
    cr_buffer_release(&tokenizer->beside);
    free(tokenizer);
}

void cr_tokenizer_release(struct cr_tokenizer **tokenizer)
{
    cr_tokenizer_free(*tokenizer);
    *tokenizer = NULL;
}

struct cr_slice cr_tokenizer_beside(const struct cr_tokenizer *tokenizer)
{
    return cr_buffer_slice(&tokenizer->beside);
}

static enum cr_status normalize(const void *context, struct cr_slice text, bool whole, bool *first,
                                struct cr_buffer *out)
{
    bool cut_front;
    CR_TRY(cr_normalize(context, text, whole, out, &cut_front));
    if (cut_front) *first = false;
    return CR_OK;
}

// All steps from text to ids. `special`: whether the text may contain special tokens.
static enum cr_status encode_pieces(const struct cr_tokenizer *tokenizer, struct cr_pieces *pieces,
                                    bool special, struct cr_ids *out, struct cr_ids *starts)
{
    CR_TRY(cr_added_cut(tokenizer->added, false, special, pieces));
    if (!cr_normalizer_idle(tokenizer->normalizer))
        CR_TRY(cr_pieces_rewrite(pieces, normalize, tokenizer->normalizer));
    CR_TRY(cr_added_cut(tokenizer->added, true, special, pieces));
    CR_TRY(cr_split(tokenizer->splitter, pieces));
    return cr_bpe_encode(tokenizer->bpe, pieces, out, starts);
}

static enum cr_status encode(const struct cr_tokenizer *tokenizer, struct cr_slice text, bool add_special,
                             struct cr_ids *out)
{
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_TRY(cr_pieces_append(&pieces, text));
    if (add_special) CR_TRY(cr_ids_append_all(out, &tokenizer->template.before));
    CR_TRY(encode_pieces(tokenizer, &pieces, true, out, NULL));
    return add_special ? cr_ids_append_all(out, &tokenizer->template.after) : CR_OK;
}

static enum cr_status check_text(struct cr_slice text)
{
    size_t bad_at;
    if (text.size > TEXT_LIMIT)
        return cr_fail(CR_NO_MEMORY, "a text of %zu bytes is over the limit of %d", text.size, TEXT_LIMIT);
    if (!cr_utf8_valid(text, &bad_at)) return cr_fail(CR_INVALID, "text is not UTF-8 at byte %zu", bad_at);
    return CR_OK;
}

enum cr_status cr_tokenizer_encode(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   bool add_special, struct cr_ids *out)
{
    size_t count = out->count;
    CR_TRY(check_text(text));
    enum cr_status status = encode(tokenizer, text, add_special, out);
    if (status != CR_OK) out->count = count;
    return status;
}

// Appends for each token, which begins at starts[i], whether it contains a character between a mark and the
// next one, for marks 0, 2, ...
static enum cr_status tell_marked(const struct cr_pieces *pieces, const struct cr_ids *starts,
                                  struct cr_ids *marked)
{
    size_t mark = 0;
    for (size_t i = 0; i < starts->count; i++) {
        size_t start = starts->items[i];
        size_t end = i + 1 < starts->count ? starts->items[i + 1] : pieces->text.size;
        while (mark + 1 < pieces->mark_count && pieces->marks[mark + 1] <= start) mark += 2;
        bool within = mark + 1 < pieces->mark_count && pieces->marks[mark] < pieces->marks[mark + 1] &&
                      pieces->marks[mark] < end;
        CR_TRY(cr_ids_append(marked, within));
    }
    return CR_OK;
}

enum cr_status cr_tokenizer_encode_pieces(const struct cr_tokenizer *tokenizer, struct cr_pieces *pieces,
                                          struct cr_ids *out, struct cr_ids *marked)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids starts = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids flags = {0};
    CR_TRY(check_text(cr_buffer_slice(&pieces->text)));
    CR_TRY(encode_pieces(tokenizer, pieces, false, &ids, &starts));
    CR_TRY(tell_marked(pieces, &starts, &flags));
    size_t count = out->count, marked_count = marked->count;
    enum cr_status status = cr_ids_append_all(out, &ids);
    if (status == CR_OK) status = cr_ids_append_all(marked, &flags);
    if (status != CR_OK) {
        out->count = count;
        marked->count = marked_count;
    }
    return status;
}

enum cr_status cr_tokenizer_decode(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count,
                                   bool skip_special, struct cr_buffer *out)
{
    CR_CLEANUP(cr_pieces_release) struct cr_pieces tokens = {0};
    for (size_t i = 0; i < count; i++) {
        if (skip_special && cr_added_special(tokenizer->added, ids[i])) continue;
        struct cr_slice token = cr_tokenizer_token(tokenizer, ids[i]);
        if (!token.data) continue;
        size_t start = tokens.text.size;
        CR_TRY(cr_append(&tokens.text, token.data, token.size));
        CR_TRY(cr_pieces_add(&tokens,
                             (struct cr_piece){.start = start, .end = tokens.text.size, .token = ids[i]}));
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_decode(tokenizer->decoder, &tokens, &text));
    return cr_append(out, text.data, text.size);
}

size_t cr_tokenizer_settled(const struct cr_tokenizer *tokenizer, const uint32_t *ids, size_t count)
{
    for (; count > 0; count--) {
        struct cr_slice token = cr_tokenizer_token(tokenizer, ids[count - 1]);
        bool silent = !token.data || cr_added_special(tokenizer->added, ids[count - 1]);
        if (!silent && cr_byte_of_token(token) < 0) return count;
    }
    return 0;
}

struct cr_slice cr_tokenizer_token(const struct cr_tokenizer *tokenizer, uint32_t id)
{
    struct cr_slice token = cr_added_spelling(tokenizer->added, id);
    return token.data ? token : cr_vocabulary_token(cr_bpe_vocabulary(tokenizer->bpe), id);
}

const struct cr_template *cr_tokenizer_template(const struct cr_tokenizer *tokenizer)
{
    return &tokenizer->template;
}

bool cr_tokenizer_added(const struct cr_tokenizer *tokenizer, struct cr_slice text, uint32_t *out)
{
    return cr_vocabulary_find(cr_added_vocabulary(tokenizer->added), text, out);
}

size_t cr_tokenizer_vocabulary(const struct cr_tokenizer *tokenizer)
{
    return tokenizer->vocabulary;
}

bool cr_tokenizer_bos(const struct cr_tokenizer *tokenizer, uint32_t *out)
{
    if (tokenizer->bos == CR_NO_TOKEN) return false;
    *out = tokenizer->bos;
    return true;
}

bool cr_tokenizer_eos(const struct cr_tokenizer *tokenizer, uint32_t *out)
{
    if (tokenizer->eos == CR_NO_TOKEN) return false;
    *out = tokenizer->eos;
    return true;
}
