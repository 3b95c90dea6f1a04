// Text from a model, one token at a time, with the keys and values of the past kept.
#ifndef CARREL_MODEL_GENERATE_H
#define CARREL_MODEL_GENERATE_H

#include "model/model.h"

struct cr_decoder;

// Room for `context` tokens (with the prefix of `tuned` at most config.context). tuned may be NULL; its
// prefix is taken as it is now.
enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              struct cr_decoder **out);
void cr_decoder_free(struct cr_decoder *decoder); // NULL is allowed

// Takes `count` more tokens (a prompt, or the token just chosen) and gives the logits [V] that follow the
// last. The pointer is valid until the next call. CR_INVALID where they do not fit the context any more;
// after a failure the decoder stands where it stood.
enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                               const float **logits);

// The next token: the arg max (lowest id of equals) at temperature 0, otherwise drawn with `uniform` in
// [0, 1) from softmax(logits/temperature).
uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform);

#endif
