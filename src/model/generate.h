// Generates texts with a model, one token of each text at a time, from cached keys and values.
#ifndef CARREL_MODEL_GENERATE_H
#define CARREL_MODEL_GENERATE_H

#include "model/model.h"

struct cr_decoder;

// The most rows that go through the layers together, from one text or several.
enum { CR_DECODER_ROWS = 512 };

// Makes a decoder for `texts` texts (1 to CR_DECODER_ROWS) of up to `context` tokens each, through the layers
// of the model's part. `context` plus the prefix of `tuned` is at most config.context. `model` and `tuned`
// (may be NULL) are borrowed; the prefix is copied now.
enum cr_status cr_decoder_new(const struct cr_model *model, const struct cr_tuned *tuned, size_t context,
                              size_t texts, struct cr_decoder **out);
void cr_decoder_free(struct cr_decoder *decoder); // NULL is allowed
// Bytes that each text of such a decoder takes.
size_t cr_decoder_memory(const struct cr_model *model, const struct cr_tuned *tuned, size_t context);

// Further tokens of one of the decoder's texts: its prompt, or the token just chosen.
struct cr_feed {
    size_t text;
    const uint32_t *tokens; // [count], one at least
    size_t count;
};

// Processes further tokens of `count` different texts and returns the logits [count, V] after the last token
// of each. They have the same bits as if each text were alone. *logits is valid until the next call.
// CR_INVALID if the tokens no longer fit the context; after a failure all texts are as they were before.
enum cr_status cr_decoder_feed(struct cr_decoder *decoder, const struct cr_feed *feeds, size_t count,
                               const float **logits);

// Empties the text, which then begins again.
void cr_decoder_clear(struct cr_decoder *decoder, size_t text);

// The two halves of cr_decoder_feed for text 0, each for one part of a model. With the embedding's part,
// cr_decoder_front takes up to CR_DECODER_ROWS tokens and returns the residual stream after the part's last
// layer, [count, d] F32, valid until the next call. With the head's part, cr_decoder_tail takes such a stream
// of any length and returns the logits after its last row. Together, in whatever processes, they give the
// bits of one decoder.
enum cr_status cr_decoder_front(struct cr_decoder *decoder, const uint32_t *tokens, size_t count,
                                struct cr_matrix *stream);
enum cr_status cr_decoder_tail(struct cr_decoder *decoder, struct cr_matrix stream, const float **logits);

// The keys and values of a decoder's texts, so that several sets of texts can take turns in one decoder.
struct cr_past;

// For texts that have not begun, as many and as long as the decoder's.
enum cr_status cr_past_new(const struct cr_decoder *decoder, struct cr_past **out);
void cr_past_free(struct cr_past *past); // NULL is allowed; wipes

// Exchanges the decoder's texts with those in *past.
void cr_decoder_swap(struct cr_decoder *decoder, struct cr_past **past);

// Chooses the next token: the arg max (the lowest id among equals) at temperature 0, otherwise a sample of
// softmax(logits/temperature), drawn by `uniform` in [0, 1).
uint32_t cr_choose_token(const float *logits, size_t vocabulary, double temperature, double uniform);

#endif
