// carrel generate: generates text with a model, on stdout as it comes.
#include "cli/command.h"
#include "cli/model_flags.h"

#include "base/clock.h"
#include "base/words.h"
#include "format/json.h"
#include "text/pieces.h"
#include "tuning/write.h"

#include <string.h>
#include <unistd.h>

struct settings {
    const char *prompt, *system;
    bool chat; // the prompt is a user message
    enum cr_chat_template template;
    size_t most;
    double temperature;
    uint64_t seed;
    bool json;
};

struct generation {
    const struct cr_session *session;
    const struct settings *settings;
    struct cr_ids ids;       // prompt and answer
    size_t prompt_count;     // ids of the prompt
    struct cr_buffer prompt; // the text of the prompt's ids alone
    struct cr_buffer text;   // of the ids last decoded
    size_t shown;            // bytes of text printed so far, including the prompt's
    bool ended;              // by the end token
};

// Bytes of settled tokens' text that later tokens cannot change: an incomplete multi-byte character at the
// end decodes to replacement characters.
static size_t settled_size(const struct cr_buffer *text)
{
    size_t size = text->size;
    while (size >= 3 && memcmp(text->data + size - 3, "\xef\xbf\xbd", 3) == 0) size -= 3;
    return size;
}

static enum cr_status decode(const struct generation *generation, size_t count, struct cr_buffer *out)
{
    cr_buffer_clear(out);
    return cr_tokenizer_decode(generation->session->tokenizer, generation->ids.items, count, true, out);
}

// Where the answer begins in the text. Byte tokens at the prompt's end may have become replacement characters
// together with those that follow; these then belong to the answer.
static size_t answer_start(const struct generation *generation)
{
    const struct cr_buffer *prompt = &generation->prompt, *text = &generation->text;
    size_t at = 0, most = cr_least(prompt->size, text->size);
    while (at < most && prompt->data[at] == text->data[at]) at++;
    while (at > 0 && at < text->size && (text->data[at] & 0xc0) == 0x80) at--;
    return at;
}

static enum cr_status show(struct generation *generation, size_t upto)
{
    size_t from = cr_most(generation->shown, answer_start(generation));
    if (upto <= from) return CR_OK;
    generation->shown = upto;
    return cr_command_print((struct cr_slice){generation->text.data + from, upto - from});
}

static enum cr_status show_more(void *context)
{
    struct generation *generation = context;
    const struct cr_ids *ids = &generation->ids;
    size_t settled = cr_tokenizer_settled(generation->session->tokenizer, ids->items, ids->count);
    if (generation->settings->json || settled <= generation->prompt_count) return CR_OK;
    CR_TRY(decode(generation, settled, &generation->text));
    return show(generation, settled_size(&generation->text));
}

static enum cr_status print_json(const struct generation *generation, double seconds)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    size_t start = answer_start(generation);
    size_t made = generation->ids.count - generation->prompt_count;
    CR_TRY(cr_append_format(&out, "{\"text\": "));
    CR_TRY(cr_json_append_string(
        &out, (struct cr_slice){generation->text.data + start, generation->text.size - start}));
    CR_TRY(cr_append_format(
        &out, ", \"tokens\": %zu, \"prompt_tokens\": %zu, \"finish\": \"%s\", \"tokens_per_second\": %.1f}\n",
        made, generation->prompt_count, generation->ended ? "end_of_text" : "length",
        (double)made / seconds));
    return cr_command_print(cr_buffer_slice(&out));
}

static enum cr_status encode_prompt(const struct settings *settings, const struct cr_tokenizer *tokenizer,
                                    struct cr_ids *ids)
{
    struct cr_slice prompt = cr_slice_of_string(settings->prompt);
    if (!settings->chat) return cr_tokenizer_encode(tokenizer, prompt, true, ids);
    struct cr_chat_message messages[2];
    size_t count = 0;
    if (settings->system)
        messages[count++] =
            (struct cr_chat_message){CR_CHAT_SYSTEM, cr_slice_of_string(settings->system), false};
    messages[count++] = (struct cr_chat_message){CR_CHAT_USER, prompt, false};
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids marked = {0};
    CR_TRY(cr_chat_render(settings->template, tokenizer, messages, count, true, &pieces));
    return cr_tokenizer_encode_pieces(tokenizer, &pieces, ids, &marked);
}

static enum cr_status generate(struct generation *generation)
{
    const struct settings *settings = generation->settings;
    const struct cr_session *session = generation->session;
    enum cr_status encoded = encode_prompt(settings, session->tokenizer, &generation->ids);
    if (encoded != CR_OK) return cr_fail_within(encoded, "--prompt");
    generation->prompt_count = generation->ids.count;
    if (generation->prompt_count == 0)
        return cr_fail(CR_INVALID, "--prompt: empty, and the tokenizer has no token to begin a text with");
    size_t context = cr_session_context(session);
    if (settings->most > context || generation->prompt_count > context - settings->most)
        return cr_fail(
            CR_INVALID,
            "--prompt has %zu token%s: with --max-new-tokens %zu more than the model's context of %zu%s",
            generation->prompt_count, cr_plural(generation->prompt_count), settings->most, context,
            session->asked                             ? " as the job has it (data.max_length)"
            : context < session->model->config.context ? " after the prefix"
                                                       : "");
    CR_TRY(decode(generation, generation->prompt_count, &generation->prompt));

    const struct cr_writer writer = {.most = settings->most,
                                     .temperature = settings->temperature,
                                     .seed = settings->seed,
                                     .wrote = show_more,
                                     .context = generation};
    double begin = cr_clock_monotonic();
    CR_TRY(cr_session_write(session, &writer, &generation->ids, &generation->ended));
    CR_TRY(decode(generation, generation->ids.count, &generation->text));
    if (settings->json) return print_json(generation, cr_clock_monotonic() - begin);
    CR_TRY(show(generation, generation->text.size));
    return isatty(STDOUT_FILENO) ? cr_command_print(cr_slice_of_string("\n")) : CR_OK;
}

enum cr_status cr_command_generate(int argc, char **argv)
{
    struct cr_model_flags model = {0};
    struct settings settings = {.most = 128};
    const char *template = NULL;
    bool done;
    const struct cr_flag items[] = {
        CR_MODEL_FLAGS(&model),
        {"prompt", CR_FLAG_REQUIRED, &settings.prompt, "TEXT", "what the text begins with"},
        {"chat-template", CR_FLAG_STRING, &template, "NAME",
         "the prompt is a user's message: chatml, llama2, llama3, alpaca, vicuna, plain, or default (by the "
         "tokenizer)"},
        {"system", CR_FLAG_STRING, &settings.system, "TEXT", "with --chat-template: the system's message"},
        {"max-new-tokens", CR_FLAG_SIZE, &settings.most, "N", "tokens at most (128)"},
        {"temperature", CR_FLAG_NUMBER, &settings.temperature, "T",
         "0, the default: the most likely token each time"},
        {"seed", CR_FLAG_SEED, &settings.seed, "N", "decides the draws at other temperatures (0)"},
        {"json", CR_FLAG_BOOL, &settings.json, NULL,
         "one JSON object: text, tokens, prompt_tokens, finish, tokens_per_second"},
    };
    const struct cr_flags flags = {"carrel generate --model DIR [--adapter DIR] --prompt TEXT [options]",
                                   "Writes what the model says after the prompt, and nothing else, to "
                                   "stdout; a newline follows on a terminal alone.",
                                   items,
                                   sizeof items / sizeof *items,
                                   0,
                                   0};
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, NULL, &done));
    if (done) return CR_OK;
    settings.chat = template != NULL;
    CR_TRY(cr_chat_template_named(template, &settings.template));
    if (settings.system && !settings.chat) return cr_fail(CR_INVALID, "--system is for --chat-template NAME");
    if (settings.temperature < 0) return cr_fail(CR_INVALID, "--temperature: below zero");
    CR_CLEANUP(cr_open_model_release) struct cr_open_model open = {0};
    CR_TRY(cr_open_model(&model, &open));
    uint32_t end;
    if (settings.chat && cr_chat_end(settings.template, open.session.tokenizer, &end))
        CR_TRY(cr_ids_append(&open.session.ends, end));
    struct generation generation = {.session = &open.session, .settings = &settings};
    enum cr_status status = generate(&generation);
    cr_ids_release(&generation.ids);
    cr_buffer_release(&generation.prompt);
    cr_buffer_release(&generation.text);
    return status;
}
