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
                               &cr_model_warnings, &open.session));
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
