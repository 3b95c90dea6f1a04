// Texts from a model, one token of each at a time, with the keys and values of their pasts kept.
#ifndef CARREL_MODEL_GENERATE_H
#define CARREL_MODEL_GENERATE_H

#include "model/model.h"

struct cr_decoder;

// Rows that go through the layers together, of one text or of several.
enum { CR_DECODER_ROWS = 512 };

// Room for `texts` (1 to CR_DECODER_ROWS) of `context` tokens each (with the prefix of `tuned` at most
// config.context), through the layers of the model's part. tuned may be NULL; its prefix is taken as it is
// now.
enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              size_t texts, struct cr_decoder **out);
void cr_decoder_free(struct cr_decoder *decoder); // NULL is allowed
// Bytes that each of its texts takes.
size_t cr_decoder_memory(const struct cr_model *model, const struct cr_tuned *tuned, size_t context);

// More tokens of one of the decoder's texts: its prompt, or the token just chosen.
struct cr_feed {
    size_t text;
    const uint32_t *tokens; // [count], one at least
    size_t count;
};

// Takes more tokens of `count` different texts and gives the logits [count, V] that follow the last of each.
// They are bit for bit what each text has alone. The pointer is valid until the next call. CR_INVALID where
// they do not fit the context any more; after a failure all texts stand where they stood.
enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const struct cr_feed *feeds, size_t count,
                               const float **logits);

// The text begins anew.
void cr_decoder_clear(struct cr_decoder *decoder, size_t text);

// The two halves of it for the first text, each over its part of a model: the tokens' stream [count, d] F32,
// valid until the next call, behind the last layer of a part with the embedding, at most CR_DECODER_ROWS at a
// time; and the logits of what went through a part with the head after such a stream, of all at once. Over
// whatever distance, they give the bits of one.
enum cr_status cr_decoder_front(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream);
enum cr_status cr_decoder_tail(struct cr_decoder *decoder, struct cr_matrix stream, const float **logits);

// The keys and values of a decoder's texts, which it goes on with: others then share the rest of it.
struct cr_past;

// Of texts that have not begun, as many and as long as the decoder's.
enum cr_status cr_past_new(const struct cr_decoder *decoder, struct cr_past **out);
void cr_past_free(struct cr_past *past); // NULL is allowed; wipes

// Exchanges the decoder's texts with the other ones.
void cr_decoder_swap(struct cr_decoder *decoder, struct cr_past **past);

// The next token: the arg max (lowest id of equals) at temperature 0, otherwise drawn with `uniform` in
// [0, 1) from softmax(logits/temperature).
uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform);

#endif
