#include "text/row.h"

#include <stdlib.h>
#include <string.h>

void cr_row_parser_release(struct cr_row_parser *parser)
{
    cr_json_free(parser->json);
    cr_buffer_release(&parser->joined);
    free(parser->messages);
    *parser = (struct cr_row_parser){0};
}

static enum cr_status take_string(const struct cr_row_parser *parser, const char *key, bool may_lack,
                                  struct cr_slice *out)
{
    const struct cr_json *value = cr_json_member(parser->json, key);
    enum cr_json_kind kind = cr_json_kind(value);
    *out = (struct cr_slice){(const unsigned char *)"", 0};
    if (kind == CR_JSON_NULL && may_lack) return CR_OK;
    if (kind != CR_JSON_STRING)
        return cr_fail(CR_INVALID, "\"%s\" %s", key, value ? "must be a string" : "is missing");
    *out = cr_json_string(value);
    return CR_OK;
}

static enum cr_status add_message(struct cr_row_parser *parser, enum cr_chat_role role,
                                  struct cr_slice content)
{
    CR_TRY(cr_grow(parser->message_count + 1, &parser->message_capacity, sizeof *parser->messages,
                   &parser->messages));
    parser->messages[parser->message_count++] = (struct cr_chat_message){role, content, false};
    return CR_OK;
}

// Adds a "system" beside the conversation, unless the conversation has its own system message.
static enum cr_status add_system(struct cr_row_parser *parser, const struct cr_json *list,
                                 const char *role_key)
{
    struct cr_slice system;
    CR_TRY(take_string(parser, "system", true, &system));
    if (system.size == 0 || cr_json_is_string(cr_json_member(cr_json_at(list, 0), role_key), "system"))
        return CR_OK;
    return add_message(parser, CR_CHAT_SYSTEM, system);
}

// Whether a member has any content: null, "", [] and {} count as none, and so does the string "[]" for a
// list.
static bool is_filled(const struct cr_json *value)
{
    struct cr_slice text = cr_json_string(value);
    enum cr_json_kind kind = cr_json_kind(value);
    if (kind == CR_JSON_STRING) return text.size > 0 && !cr_slice_equal(text, cr_slice_of_string("[]"));
    if (kind == CR_JSON_ARRAY || kind == CR_JSON_OBJECT) return cr_json_count(value) > 0;
    return kind != CR_JSON_NULL;
}

// A message may state whether it is to be learned; some of the assistant's messages may be excluded.
static enum cr_status take_learned(const struct cr_json *turn, size_t place, struct cr_chat_message *message)
{
    static const char *const keys[] = {"train", "training"};
    const struct cr_json *weight = cr_json_member(turn, "weight");
    bool speaks = message->role == CR_CHAT_ASSISTANT;
    if (speaks && is_filled(weight)) {
        double value = cr_json_number(weight, -1);
        if (value != 0 && value != 1)
            return cr_fail(CR_INVALID,
                           "message %zu: \"weight\" must be 0 or 1: what is learned is learned alike", place);
        message->given = value == 0;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct cr_json *train = cr_json_member(turn, keys[i]);
        if (!is_filled(train)) continue;
        if (cr_json_kind(train) != CR_JSON_BOOL)
            return cr_fail(CR_INVALID, "message %zu: \"%s\" must be true or false", place, keys[i]);
        bool learned = cr_json_bool(train, false);
        if (learned && !speaks)
            return cr_fail(CR_INVALID,
                           "message %zu: \"%s\" must be false: of what the assistant does not say nothing is "
                           "learned",
                           place, keys[i]);
        if (!learned) message->given = true;
    }
    return CR_OK;
}

// Refuses members of a row or message that would otherwise be ignored silently.
static enum cr_status refuse_more(const struct cr_json *object)
{
    static const char *const keys[][2] = {
        {"tools", "calls of tools are not learned"},
        {"tool_calls", "calls of tools are not learned"},
        {"function_call", "calls of tools are not learned"},
        {"reasoning_content", "thoughts apart from the answer are not learned"},
        {"thinking", "thoughts apart from the answer are not learned"},
        {"images", "text alone is learned"},
        {"videos", "text alone is learned"},
        {"audios", "text alone is learned"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_filled(cr_json_member(object, keys[i][0])))
            return cr_fail(CR_INVALID, "\"%s\": %s", keys[i][0], keys[i][1]);
    return CR_OK;
}

static enum cr_status add_turn(struct cr_row_parser *parser, const struct cr_json *turn, const char *role_key,
                               const char *content_key)
{
    static const struct {
        const char *name;
        enum cr_chat_role role;
    } roles[] = {{"system", CR_CHAT_SYSTEM}, {"user", CR_CHAT_USER},
                 {"human", CR_CHAT_USER},    {"assistant", CR_CHAT_ASSISTANT},
                 {"gpt", CR_CHAT_ASSISTANT}, {"chatgpt", CR_CHAT_ASSISTANT}};
    struct cr_slice role = cr_json_string(cr_json_member(turn, role_key));
    struct cr_slice content = cr_json_string(cr_json_member(turn, content_key));
    size_t place = parser->message_count + 1;
    enum cr_status status = refuse_more(turn);
    if (status != CR_OK) return cr_fail_within(status, "message %zu", place);
    if (!role.data || !content.data)
        return cr_fail(CR_INVALID, "message %zu: \"%s\" and \"%s\" must be strings", place, role_key,
                       content_key);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!cr_slice_equal(role, cr_slice_of_string(roles[i].name))) continue;
        CR_TRY(add_message(parser, roles[i].role, content));
        return take_learned(turn, place, &parser->messages[place - 1]);
    }
    return cr_fail(CR_INVALID,
                   "message %zu: \"%s\" is \"%.40s\": system, user (human) or assistant (gpt) is wanted",
                   place, role_key, (const char *)role.data);
}

// A conversation cut out of a longer one may begin with an answer to a message that is missing. It is
// dropped, as other programs do.
static void drop_leading_answer(struct cr_row_parser *parser)
{
    struct cr_chat_message *messages = parser->messages;
    size_t first = parser->message_count > 0 && messages[0].role == CR_CHAT_SYSTEM;
    if (first == parser->message_count || messages[first].role != CR_CHAT_ASSISTANT) return;
    parser->message_count--;
    memmove(messages + first, messages + first + 1, (parser->message_count - first) * sizeof *messages);
}

// TRL's {"prompt", "completion"}: all of the completion is learned, and nothing of the prompt.
static enum cr_status read_parts(struct cr_row_parser *parser)
{
    static const char *const keys[] = {"prompt", "completion"};
    for (size_t k = 0; k < 2; k++) {
        const struct cr_json *list = cr_json_member(parser->json, keys[k]);
        if (cr_json_kind(list) != CR_JSON_ARRAY || cr_json_count(list) == 0)
            return cr_fail(CR_INVALID, "\"%s\" must be a list of messages, as \"%s\" is", keys[k], keys[!k]);
        for (size_t i = 0; i < cr_json_count(list); i++) {
            CR_TRY(add_turn(parser, cr_json_at(list, i), "role", "content"));
            struct cr_chat_message *last = &parser->messages[parser->message_count - 1];
            if (k == 0)
                last->given = true;
            else if (last->role != CR_CHAT_ASSISTANT)
                return cr_fail(CR_INVALID,
                               "message %zu: all of a \"completion\" is learned, and of what the assistant "
                               "does not say nothing is",
                               parser->message_count);
        }
    }
    return CR_OK;
}

static enum cr_status read_completion(struct cr_row_parser *parser, struct cr_row *row)
{
    CR_TRY(take_string(parser, "prompt", false, &row->text));
    CR_TRY(take_string(parser, "completion", false, &row->output));
    CR_TRY(add_message(parser, CR_CHAT_USER, row->text));
    return add_message(parser, CR_CHAT_ASSISTANT, row->output);
}

static enum cr_status read_chat(struct cr_row_parser *parser)
{
    bool messages = cr_json_member(parser->json, "messages") != NULL;
    const char *key = messages ? "messages" : "conversations";
    const struct cr_json *list = cr_json_member(parser->json, key);
    if (!list && cr_json_member(parser->json, "prompt")) return read_parts(parser);
    if (!list) return cr_fail(CR_INVALID, "\"messages\" (or \"conversations\") is missing");
    if (cr_json_kind(list) != CR_JSON_ARRAY || cr_json_count(list) == 0)
        return cr_fail(CR_INVALID, "\"%s\" %s", key,
                       cr_json_kind(list) == CR_JSON_ARRAY ? "holds no message"
                                                           : "must be a list of messages");
    bool from = cr_json_member(cr_json_at(list, 0), "from") != NULL;
    CR_TRY(add_system(parser, list, from ? "from" : "role"));
    for (size_t i = 0; i < cr_json_count(list); i++)
        CR_TRY(add_turn(parser, cr_json_at(list, i), from ? "from" : "role", from ? "value" : "content"));
    if (!messages) drop_leading_answer(parser);
    return CR_OK;
}

static enum cr_status add_history(struct cr_row_parser *parser)
{
    const struct cr_json *history = cr_json_member(parser->json, "history");
    if (cr_json_kind(history) != CR_JSON_NULL && cr_json_kind(history) != CR_JSON_ARRAY)
        return cr_fail(CR_INVALID, "\"history\" must be a list");
    for (size_t i = 0; i < cr_json_count(history); i++) {
        const struct cr_json *pair = cr_json_at(history, i);
        struct cr_slice asked = cr_json_string(cr_json_at(pair, 0));
        struct cr_slice answered = cr_json_string(cr_json_at(pair, 1));
        if (cr_json_count(pair) != 2 || !asked.data || !answered.data)
            return cr_fail(CR_INVALID, "\"history\" must be a list of pairs of strings");
        CR_TRY(add_message(parser, CR_CHAT_USER, asked));
        CR_TRY(add_message(parser, CR_CHAT_ASSISTANT, answered));
    }
    return CR_OK;
}

// Refuses other names of the input, without which the question would be learned by half.
static enum cr_status refuse_other_inputs(const struct cr_json *row)
{
    static const char *const keys[][2] = {{"context", "what a question or an instruction is about"},
                                          {"choices", "what there is to choose from"},
                                          {"options", "what there is to choose from"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_filled(cr_json_member(row, keys[i][0])))
            return cr_fail(CR_INVALID, "\"%s\": %s is read by the name of \"input\", as a string", keys[i][0],
                           keys[i][1]);
    return CR_OK;
}

static enum cr_status read_alpaca(struct cr_row_parser *parser, struct cr_row *row)
{
    bool question = !cr_json_member(parser->json, "instruction") && cr_json_member(parser->json, "question");
    CR_TRY(refuse_other_inputs(parser->json));
    CR_TRY(take_string(parser, question ? "question" : "instruction", false, &row->instruction));
    CR_TRY(take_string(parser, "input", true, &row->input));
    CR_TRY(take_string(parser, question ? "answer" : "output", false, &row->output));
    struct cr_slice user = row->instruction;
    if (row->input.size > 0) {
        cr_buffer_clear(&parser->joined);
        CR_TRY(cr_append(&parser->joined, user.data, user.size));
        if (user.size > 0) CR_TRY(cr_append(&parser->joined, "\n", 1));
        CR_TRY(cr_append(&parser->joined, row->input.data, row->input.size));
        user = cr_buffer_slice(&parser->joined);
    }
    CR_TRY(add_system(parser, NULL, ""));
    CR_TRY(add_history(parser));
    CR_TRY(add_message(parser, CR_CHAT_USER, user));
    return add_message(parser, CR_CHAT_ASSISTANT, row->output);
}

enum cr_row_kind cr_row_kind_of(const struct cr_json *row)
{
    if (cr_json_member(row, "messages") || cr_json_member(row, "conversations")) return CR_ROW_CHAT;
    if (cr_json_member(row, "instruction")) return CR_ROW_ALPACA;
    if (cr_json_member(row, "text")) return CR_ROW_TEXT;
    if (cr_json_member(row, "question")) return CR_ROW_ALPACA;
    if (!cr_json_member(row, "prompt") || !cr_json_member(row, "completion")) return CR_ROW_UNKNOWN;
    return cr_json_kind(cr_json_member(row, "prompt")) == CR_JSON_ARRAY ? CR_ROW_CHAT : CR_ROW_COMPLETION;
}

static enum cr_status read_fields(struct cr_row_parser *parser, struct cr_row *row)
{
    if (row->kind == CR_ROW_TEXT) return take_string(parser, "text", false, &row->text);
    CR_TRY(refuse_more(parser->json));
    if (row->kind == CR_ROW_CHAT) return read_chat(parser);
    return row->kind == CR_ROW_ALPACA ? read_alpaca(parser, row) : read_completion(parser, row);
}

static enum cr_status read_row(struct cr_row_parser *parser, struct cr_row *out)
{
    if (cr_json_kind(parser->json) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "a row must be an object");
    enum cr_row_kind kind =
        parser->form.kind != CR_ROW_UNKNOWN ? parser->form.kind : cr_row_kind_of(parser->json);
    if (kind == CR_ROW_UNKNOWN)
        return cr_fail(CR_INVALID,
                       "a row needs \"text\", \"instruction\" and \"output\", \"question\" and \"answer\", "
                       "\"prompt\" and \"completion\", \"messages\" or \"conversations\"");
    struct cr_row row = {.kind = kind};
    parser->message_count = 0;
    CR_TRY(read_fields(parser, &row));
    row.messages = parser->messages;
    row.message_count = parser->message_count;
    parser->form.kind = kind;
    *out = row;
    return CR_OK;
}

enum cr_status cr_row_fail_at(const struct cr_row_form *form, const struct cr_row_item *item,
                              enum cr_status status)
{
    if (!form->array) return cr_fail_within(status, "%s:%zu", form->path, item->place.line);
    return cr_fail_within(status, "%s:%zu: item %zu", form->path, item->place.line, item->number + 1);
}

static enum cr_status parse_json(struct cr_row_parser *parser, const struct cr_row_item *item,
                                 struct cr_row *row)
{
    const struct cr_row_form *form = &parser->form;
    cr_json_free(parser->json);
    parser->json = NULL;
    enum cr_status status = cr_json_parse_part(item->text, form->path, item->place, &parser->json);
    if (status == CR_INVALID && item->number == 0 &&
        !form->array) // a file of another kind, or with rows that span several lines
        return cr_fail(CR_INVALID, "%s (a row is one line of JSON, or the file is one array)",
                       cr_error_message());
    CR_TRY(status);
    status = read_row(parser, row);
    return status == CR_OK ? CR_OK : cr_row_fail_at(form, item, status);
}

struct cr_slice cr_row_behind_tab(struct cr_slice line)
{
    const unsigned char *tab = line.size > 0 ? memchr(line.data, '\t', line.size) : NULL;
    if (!tab) return (struct cr_slice){NULL, 0};
    return (struct cr_slice){tab + 1, line.size - (size_t)(tab + 1 - line.data)};
}

static enum cr_status parse_tabbed(struct cr_row_parser *parser, const struct cr_row_item *item,
                                   struct cr_row *row)
{
    struct cr_slice line = item->text, label = cr_row_behind_tab(line);
    if (!label.data || memchr(label.data, '\t', label.size))
        return cr_row_fail_at(&parser->form, item,
                              cr_fail(CR_INVALID, "a sentence, one TAB and a label are wanted"));
    parser->form.kind = CR_ROW_LABELLED;
    *row = (struct cr_row){
        .kind = CR_ROW_LABELLED, .text = {line.data, (size_t)(label.data - 1 - line.data)}, .label = label};
    return CR_OK;
}

enum cr_status cr_row_parse(struct cr_row_parser *parser, const struct cr_row_item *item, struct cr_row *row)
{
    return parser->form.lines_of_tabs ? parse_tabbed(parser, item, row) : parse_json(parser, item, row);
}
