// Text from a model, one token at a time, with the keys and values of the past kept.
#ifndef CARREL_MODEL_GENERATE_H
#define CARREL_MODEL_GENERATE_H

#include "model/model.h"

struct cr_decoder;

// Room for `context` tokens (with the prefix of `tuned` at most config.context), through the layers of the
// model's part. tuned may be NULL; its prefix is taken as it is now.
enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              struct cr_decoder **out);
void cr_decoder_free(struct cr_decoder *decoder); // NULL is allowed

// Takes `count` more tokens (a prompt, or the token just chosen) and gives the logits [V] that follow the
// last. The pointer is valid until the next call. CR_INVALID where they do not fit the context any more;
// after a failure the decoder stands where it stood.
enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                               const float **logits);

// The two halves of it, each over its part of a model: the tokens' stream [count, d] F32, valid until the
// next call, behind the last layer of a part with the embedding, at most CR_DECODER_ROWS at a time; and the
// logits of what went through a part with the head after such a stream, of all at once. Over whatever
// distance, they give the bits of one.
enum { CR_DECODER_ROWS = 512 };
enum cr_status cr_decoder_front(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream);
enum cr_status cr_decoder_tail(struct cr_decoder *decoder, struct cr_matrix stream, const float **logits);

// The keys and values of one text, which a decoder goes on with: several texts then share the rest of it.
struct cr_past;

// Of a text that has not begun, for a decoder over that model with that context.
enum cr_status cr_past_new(const struct cr_decoder *decoder, struct cr_past **out);
void cr_past_free(struct cr_past *past); // NULL is allowed; wipes

// Exchanges the decoder's text with the other one.
void cr_decoder_swap(struct cr_decoder *decoder, struct cr_past **past);

// The next token: the arg max (lowest id of equals) at temperature 0, otherwise drawn with `uniform` in
// [0, 1) from softmax(logits/temperature).
uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform);

#endif
