#include "text/chat.h"

#include "text/template.h"
#include "text/unicode.h"

#include <string.h>

const char *const cr_chat_names[CR_CHAT_TEMPLATES + 1] = {"default", "chatml", "llama2", "llama3",
                                                          "alpaca",  "vicuna", "plain",  NULL};

// Placeholders in the text of a turn.
#define CONTENT "\1"               // the message
#define SAY "\2"                   // the start of what the assistant says, ...
#define SAID "\3"                  // ... and its end
#define BOS "\4"                   // nothing if the tokenizer has none
#define EOS "\5"                   // the same
#define TOKEN(text) "\6" text "\6" // an added token, or text
#define TURN(role) TOKEN("<|im_start|>") role "\n"
#define HEADER(role) TOKEN("<|start_header_id|>") role TOKEN("<|end_header_id|>") "\n\n"

struct form {
    bool bos;                   // begins with BOS; otherwise with what the tokenizer puts before a text
    bool trim;                  // white space around a message is removed
    bool system_in_user;        // the system's message is part of the first user's
    bool empty_system;          // an empty system's message is written too
    const char *system_without; // used if there is no system message; or NULL
    const char *turns[3], *end_of_turn; // by role; NULL: EOS
};

static const struct form forms[CR_CHAT_TEMPLATES] = {
    [CR_CHAT_CHATML] = {.empty_system = true,
                        .turns = {TURN("system") CONTENT TOKEN("<|im_end|>") "\n",
                                  TURN("user") CONTENT TOKEN("<|im_end|>") "\n",
                                  TURN("assistant") SAY CONTENT TOKEN("<|im_end|>") SAID "\n"},
                        .end_of_turn = "<|im_end|>"},
    [CR_CHAT_LLAMA2] = {.trim = true,
                        .system_in_user = true,
                        .empty_system = true,
                        .turns = {"<<SYS>>\n" CONTENT "\n<</SYS>>\n\n",
                                  BOS TOKEN("[INST]") " " CONTENT " " TOKEN("[/INST]"),
                                  SAY " " CONTENT " " EOS SAID}},
    [CR_CHAT_LLAMA3] = {.bos = true,
                        .trim = true,
                        .empty_system = true,
                        .turns = {HEADER("system") CONTENT TOKEN("<|eot_id|>"),
                                  HEADER("user") CONTENT TOKEN("<|eot_id|>"),
                                  HEADER("assistant") SAY CONTENT TOKEN("<|eot_id|>") SAID},
                        .end_of_turn = "<|eot_id|>"},
    [CR_CHAT_ALPACA] = {.system_without = "Below is an instruction that describes a task. Write a response "
                                          "that appropriately completes the request.",
                        .turns = {CONTENT "\n\n", "### Instruction:\n" CONTENT "\n\n",
                                  "### Response:\n" SAY CONTENT EOS SAID "\n\n"}},
    [CR_CHAT_VICUNA] = {.system_without = "A chat between a curious user and an artificial intelligence "
                                          "assistant. The assistant gives helpful, detailed, and polite "
                                          "answers to the user's questions.",
                        .turns = {CONTENT " ", "USER: " CONTENT " ", "ASSISTANT:" SAY " " CONTENT EOS SAID}},
    [CR_CHAT_PLAIN] = {.turns = {CONTENT "\n", CONTENT "\n", SAY CONTENT EOS SAID}},
};

enum cr_chat_template cr_chat_by_tokens(const struct cr_tokenizer *tokenizer)
{
    uint32_t id;
    if (cr_tokenizer_added(tokenizer, cr_slice_of_string("<|im_start|>"), &id)) return CR_CHAT_CHATML;
    if (cr_tokenizer_added(tokenizer, cr_slice_of_string("<|start_header_id|>"), &id)) return CR_CHAT_LLAMA3;
    return CR_CHAT_DEFAULT;
}

static enum cr_status choose(enum cr_chat_template template, const struct cr_tokenizer *tokenizer,
                             const struct form **out)
{
    if (template == CR_CHAT_DEFAULT) template = cr_chat_by_tokens(tokenizer);
    if (template == CR_CHAT_DEFAULT || template >= CR_CHAT_TEMPLATES)
        return cr_fail(CR_UNSUPPORTED, "messages need a chat template, and the tokenizer's tokens tell none "
                                       "(chat_template: chatml, llama2, llama3, alpaca, vicuna or plain)");
    *out = &forms[template];
    return CR_OK;
}

static enum cr_status append_token(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   struct cr_pieces *out)
{
    uint32_t id;
    if (cr_tokenizer_added(tokenizer, text, &id)) return cr_pieces_append_token(out, id);
    return cr_pieces_append(out, text);
}

// How much of a turn to write, and whether to mark it.
enum part { MARKED, UNMARKED, BEFORE_SPEECH };

// Appends one turn.
static enum cr_status append_turn(const struct cr_tokenizer *tokenizer, const char *turn,
                                  struct cr_slice content, enum part part, struct cr_pieces *out)
{
    while (*turn != 0) {
        size_t text = strcspn(turn, CONTENT SAY SAID BOS EOS TOKEN(""));
        if (text > 0) CR_TRY(cr_pieces_append(out, (struct cr_slice){(const unsigned char *)turn, text}));
        turn += text;
        char sign = *turn;
        uint32_t id;
        if (sign == 0) break;
        turn++;
        if (sign == *CONTENT) {
            CR_TRY(cr_pieces_append(out, content));
        } else if (sign == *SAY || sign == *SAID) {
            if (part == BEFORE_SPEECH) return CR_OK;
            if (part == MARKED) CR_TRY(cr_pieces_mark(out));
        } else if (sign == *BOS || sign == *EOS) {
            bool has = sign == *BOS ? cr_tokenizer_bos(tokenizer, &id) : cr_tokenizer_eos(tokenizer, &id);
            if (has) CR_TRY(cr_pieces_append_token(out, id));
        } else {
            size_t size = strcspn(turn, TOKEN(""));
            CR_TRY(append_token(tokenizer, (struct cr_slice){(const unsigned char *)turn, size}, out));
            turn += size + 1;
        }
    }
    return CR_OK;
}

static enum cr_status check_messages(const struct cr_chat_message *messages, size_t count, bool prompt)
{
    size_t bad_at;
    for (size_t i = 0; i < count; i++)
        if (!cr_utf8_valid(messages[i].content, &bad_at))
            return cr_fail(CR_INVALID, "message %zu is not UTF-8 at byte %zu", i + 1, bad_at);
    static const char *const names[] = {"system", "user", "assistant"};
    size_t first = count > 0 && messages[0].role == CR_CHAT_SYSTEM;
    for (size_t i = first; i < count; i++) {
        enum cr_chat_role wanted = (i - first) % 2 == 0 ? CR_CHAT_USER : CR_CHAT_ASSISTANT;
        if (messages[i].role != wanted)
            return cr_fail(CR_INVALID, "message %zu is of %s where %s is to speak", i + 1,
                           names[messages[i].role], names[wanted]);
    }
    if (count == first) return cr_fail(CR_INVALID, "there is no message of a user");
    if (prompt && messages[count - 1].role != CR_CHAT_USER)
        return cr_fail(CR_INVALID, "the last message is not the user's");
    return CR_OK;
}

static enum cr_status begin(const struct form *form, const struct cr_tokenizer *tokenizer,
                            struct cr_pieces *out)
{
    // If turns begin with BOS, the first one brings it.
    if (form->bos) return append_turn(tokenizer, BOS, (struct cr_slice){NULL, 0}, UNMARKED, out);
    if (form->turns[CR_CHAT_USER][0] == *BOS) return CR_OK;
    const struct cr_ids *before = &cr_tokenizer_template(tokenizer)->before;
    for (size_t i = 0; i < before->count; i++) CR_TRY(cr_pieces_append_token(out, before->items[i]));
    return CR_OK;
}

// Joins the system message into the first user message.
static enum cr_status join_system(const struct form *form, struct cr_slice system, struct cr_slice user,
                                  struct cr_buffer *out)
{
    const char *turn = form->turns[CR_CHAT_SYSTEM];
    size_t before = strcspn(turn, CONTENT);
    CR_TRY(cr_append(out, turn, before));
    CR_TRY(cr_append(out, system.data, system.size));
    CR_TRY(cr_append(out, turn + before + 1, strlen(turn + before + 1)));
    return cr_append(out, user.data, user.size);
}

enum cr_status cr_chat_render(enum cr_chat_template template, const struct cr_tokenizer *tokenizer,
                              const struct cr_chat_message *messages, size_t count, bool prompt,
                              struct cr_pieces *out)
{
    const struct form *form = NULL;
    CR_TRY(choose(template, tokenizer, &form));
    CR_TRY(check_messages(messages, count, prompt));
    CR_TRY(begin(form, tokenizer, out));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer joined = {0};
    size_t first = messages[0].role == CR_CHAT_SYSTEM;
    bool said = first == 1 && (messages[0].content.size > 0 || form->empty_system);
    struct cr_slice system = first == 1 ? messages[0].content : (struct cr_slice){NULL, 0};
    if (first == 0 && form->system_without) {
        system = cr_slice_of_string(form->system_without);
        said = true;
    }
    if (said && !form->system_in_user)
        CR_TRY(append_turn(tokenizer, form->turns[CR_CHAT_SYSTEM],
                           form->trim ? cr_text_strip(system) : system, UNMARKED, out));
    for (size_t i = first; i < count; i++) {
        struct cr_slice content = messages[i].content;
        if (i == first && said && form->system_in_user) {
            CR_TRY(join_system(form, system, content, &joined));
            content = cr_buffer_slice(&joined);
        }
        if (form->trim) content = cr_text_strip(content);
        CR_TRY(append_turn(tokenizer, form->turns[messages[i].role], content,
                           messages[i].given ? UNMARKED : MARKED, out));
    }
    if (!prompt) return CR_OK;
    return append_turn(tokenizer, form->turns[CR_CHAT_ASSISTANT], (struct cr_slice){NULL, 0}, BEFORE_SPEECH,
                       out);
}

bool cr_chat_end(enum cr_chat_template template, const struct cr_tokenizer *tokenizer, uint32_t *out)
{
    const struct form *form = NULL;
    if (choose(template, tokenizer, &form) == CR_OK && form->end_of_turn)
        return cr_tokenizer_added(tokenizer, cr_slice_of_string(form->end_of_turn), out);
    return cr_tokenizer_eos(tokenizer, out);
}
