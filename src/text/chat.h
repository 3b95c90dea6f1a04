// Chat templates by name, which format messages as the text that a model was, or is to be, trained on.
//
// Tokens and labels equal those of Transformers' apply_chat_template with the same template in Jinja and {%
// generation %} around what is marked here (tests/golden/make_templates.py has all six). A template's own
// tokens (<|im_start|>, <|eot_id|>, BOS, EOS, ...) become the tokenizer's added tokens if it has them, and
// text otherwise. The content of a message is always plain text: "<|im_end|>" in it is encoded as characters.
#ifndef CARREL_TEXT_CHAT_H
#define CARREL_TEXT_CHAT_H

#include "text/pieces.h"
#include "text/tokenizer.h"

enum cr_chat_template {
    CR_CHAT_DEFAULT, // chatml or llama3, by the tokenizer's tokens; for Alpaca rows, Stanford's prompt
    CR_CHAT_CHATML,
    CR_CHAT_LLAMA2,
    CR_CHAT_LLAMA3,
    CR_CHAT_ALPACA,
    CR_CHAT_VICUNA,
    CR_CHAT_PLAIN,
    CR_CHAT_TEMPLATES
};

extern const char *const cr_chat_names[CR_CHAT_TEMPLATES + 1]; // "default", "chatml", ..., NULL

// The template that CR_CHAT_DEFAULT stands for with messages: chatml or llama3, or CR_CHAT_DEFAULT itself if
// the tokenizer has the tokens of neither.
enum cr_chat_template cr_chat_by_tokens(const struct cr_tokenizer *tokenizer);

enum cr_chat_role { CR_CHAT_SYSTEM, CR_CHAT_USER, CR_CHAT_ASSISTANT };

struct cr_chat_message {
    enum cr_chat_role role;
    struct cr_slice content;
    bool given; // an assistant's message that is not to be learned: not marked
};

// Appends the messages: at most one system message, which comes first, then user and assistant in turn. In
// each assistant's turn the text to be learned is marked: the content, with the space that the template puts
// before it, and the token that ends the turn. With `prompt` the last message is the user's, and the text
// ends where the assistant's answer begins. CR_INVALID: messages in another order, or not UTF-8.
// CR_UNSUPPORTED: CR_CHAT_DEFAULT with a tokenizer that has no template's tokens, for any messages.
enum cr_status cr_chat_render(enum cr_chat_template template, const struct cr_tokenizer *tokenizer,
                              const struct cr_chat_message *messages, size_t count, bool prompt,
                              struct cr_pieces *out);

// The token that ends an assistant's turn; false if the tokenizer has no such token.
bool cr_chat_end(enum cr_chat_template template, const struct cr_tokenizer *tokenizer, uint32_t *out);

#endif
