// Chat templates by name: messages as the text that a model was, or is to be, trained on.
//
// Tokens and labelled places are those of Transformers' apply_chat_template with the same template in Jinja
// and {% generation %} around what is marked here (tests/golden/make_templates.py has the six). A template's
// own tokens (<|im_start|>, <|eot_id|>, BOS, EOS, ...) are the tokenizer's where it has them as added tokens,
// and text otherwise. What a message says is text alone: "<|im_end|>" in it is encoded as characters.
#ifndef CARREL_TEXT_CHAT_H
#define CARREL_TEXT_CHAT_H

#include "text/pieces.h"
#include "text/tokenizer.h"

enum cr_chat_template {
    CR_CHAT_DEFAULT, // chatml or llama3, by the tokenizer's tokens; of Alpaca rows, Stanford's prompt
    CR_CHAT_CHATML,
    CR_CHAT_LLAMA2,
    CR_CHAT_LLAMA3,
    CR_CHAT_ALPACA,
    CR_CHAT_VICUNA,
    CR_CHAT_PLAIN,
    CR_CHAT_TEMPLATES
};

extern const char *const cr_chat_names[CR_CHAT_TEMPLATES + 1]; // "default", "chatml", ..., NULL

// What CR_CHAT_DEFAULT is for messages: chatml or llama3, and itself where the tokenizer's tokens are of
// neither.
enum cr_chat_template cr_chat_by_tokens(const struct cr_tokenizer *tokenizer);

enum cr_chat_role { CR_CHAT_SYSTEM, CR_CHAT_USER, CR_CHAT_ASSISTANT };

struct cr_chat_message {
    enum cr_chat_role role;
    struct cr_slice content;
    bool given; // the assistant's, but not to be learned: nothing of it is marked
};

// Appends the messages: one of system at most, in front; then user and assistant by turns. In each of the
// assistant's turns what the model is to say is marked: its content, with the space that the template puts
// before it, and the token that ends the turn. With `prompt` the last message is the user's and the text ends
// where the assistant is to speak. CR_INVALID: messages in another order or not of UTF-8. CR_UNSUPPORTED:
// CR_CHAT_DEFAULT with a tokenizer whose tokens are of no template, which no message can mend.
enum cr_status cr_chat_render(enum cr_chat_template template, const struct cr_tokenizer *tokenizer,
                              const struct cr_chat_message *messages, size_t count, bool prompt,
                              struct cr_pieces *out);

// The token that ends an assistant's turn; false where the tokenizer has none.
bool cr_chat_end(enum cr_chat_template template, const struct cr_tokenizer *tokenizer, uint32_t *out);

#endif
