#include "cli/model_flags.h"

#include "base/words.h"
#include "tuning/config.h"

#include <stdio.h>
#include <string.h>

static void show_warning(void *context, const struct cr_event *event)
{
    (void)context;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (event->level != CR_EVENT_WARNING || !event->message) return;
    if (cr_append_plain(&text, event->message) == CR_OK)
        fprintf(stderr, "carrel: warning: %s\n", cr_buffer_text(&text));
}

const struct cr_event_sink cr_model_warnings = {.receive = show_warning};

enum cr_status cr_chat_template_named(const char *name, enum cr_chat_template *out)
{
    if (!name) name = cr_chat_names[CR_CHAT_DEFAULT];
    for (int i = 0; i < CR_CHAT_TEMPLATES; i++)
        if (strcmp(name, cr_chat_names[i]) == 0) {
            *out = (enum cr_chat_template)i;
            return CR_OK;
        }
    return cr_fail(
        CR_INVALID,
        "--chat-template: \"%s\" is none of default, chatml, llama2, llama3, alpaca, vicuna, plain", name);
}

// The option for a key that stands at `text`, or NULL.
static const char *option_at(const char *text, size_t *length)
{
    static const struct {
        const char *key, *option;
    } named[] = {{"data.label_words", "--label-word"},
                 {"data.label_prompt", "--label-prompt"},
                 {"data.max_bad_rows", "--max-bad-rows"},
                 {"chat_template:", "--chat-template:"},
                 {"max_length:", "--max-length:"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        *length = strlen(named[i].key);
        if (strncmp(text, named[i].key, *length) == 0) return named[i].option;
    }
    return NULL;
}

enum cr_status cr_fail_by_options(enum cr_status status)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer said = {0};
    size_t length;
    for (const char *at = cr_error_message(); *at; at += length) {
        const char *option = option_at(at, &length);
        if (!option) length = 1;
        CR_TRY(cr_append(&said, option ? option : at, option ? strlen(option) : 1));
    }
    return cr_fail(status, "%s", cr_buffer_text(&said));
}

static enum cr_status open_split(const struct cr_model_flags *flags, struct cr_open_model *open)
{
    const struct cr_split_ask_options options = {
        .state = flags->split, .endorsements = flags->endorsements, .model = flags->model};
    if (flags->adapter || flags->dtype || flags->in_8bit)
        return cr_fail(CR_INVALID, "--adapter, --dtype and --load-in-8bit are not for --split: what is tuned "
                                   "is the server's, and types are the job's");
    return cr_split_ask_open(&options, open->compute, &cr_model_warnings, &open->session, &open->ask);
}

enum cr_status cr_open_model(const struct cr_model_flags *flags, struct cr_open_model *out)
{
    int dtype = CR_COMPUTE_BFLOAT16;
    if (!flags->model) return cr_fail(CR_INVALID, "--model DIR is missing");
    if (flags->dtype && strcmp(flags->dtype, "float32") == 0)
        dtype = CR_COMPUTE_FLOAT32;
    else if (flags->dtype && strcmp(flags->dtype, "bfloat16") != 0)
        return cr_fail(CR_INVALID, "--dtype: \"%s\" is neither bfloat16 nor float32", flags->dtype);
    CR_CLEANUP(cr_open_model_release) struct cr_open_model open = {0};
    CR_TRY(cr_compute_new(flags->threads, &open.compute));
    if (flags->split) {
        CR_TRY(open_split(flags, &open));
    } else {
        if (flags->endorsements) return cr_fail(CR_INVALID, "--endorsements is for --split");
        CR_TRY(cr_session_open(flags->model, flags->adapter, dtype, flags->in_8bit, open.compute,
                               flags->dtype ? &cr_model_warnings : NULL, &open.session));
    }
    *out = open;
    open = (struct cr_open_model){0};
    return CR_OK;
}

void cr_open_model_release(struct cr_open_model *open)
{
    cr_session_release(&open->session);
    cr_split_ask_close(open->ask);
    cr_compute_free(open->compute);
    *open = (struct cr_open_model){0};
}
