#include "cli/preview.h"

#include "base/words.h"
#include "cli/command.h"
#include "cli/model_flags.h"
#include "federation/config.h"
#include "format/json.h"
#include "tuning/session.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { EXAMPLES = 5 };

// Place i predicts token i + 1.
static bool is_learned(const struct cr_example *example, size_t i)
{
    return i > 0 && example->labels[i - 1] != CR_LABEL_IGNORE;
}

// A token's text after another token, since decoders may remove a space at the start of a text. Control
// characters are escaped.
static enum cr_status append_token(struct cr_buffer *out, const struct cr_tokenizer *tokenizer, uint32_t id)
{
    static const char unknown[] = "\xef\xbf\xbd"; // U+FFFD
    const uint32_t twice[] = {id, id};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer first = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_tokenizer_decode(tokenizer, twice, 1, false, &first));
    CR_TRY(cr_tokenizer_decode(tokenizer, twice, 2, false, &text));
    size_t behind = cr_least(first.size, text.size);
    struct cr_slice shown = {(const unsigned char *)cr_buffer_text(&text) + behind, text.size - behind};
    // A token that is a part of a character has no text of its own.
    if (strstr(cr_buffer_text(&first), unknown)) shown = cr_tokenizer_token(tokenizer, id);
    for (size_t i = 0; i < shown.size; i++) {
        unsigned char c = shown.data[i];
        // C1 control characters, which terminals also obey, have two bytes in UTF-8.
        bool c1 = c == 0xc2 && i + 1 < shown.size && shown.data[i + 1] < 0xa0;
        if (c == '\n')
            CR_TRY(cr_append_format(out, "\\n"));
        else if (c < 0x20 || c == 0x7f || c1)
            CR_TRY(cr_append_format(out, "\\x%02x", c1 ? shown.data[++i] : c));
        else
            CR_TRY(cr_append_u8(out, c));
    }
    return CR_OK;
}

static enum cr_status append_text(struct cr_buffer *out, const struct cr_tokenizer *tokenizer,
                                  const struct cr_example *example, bool colours)
{
    for (size_t i = 0; i < example->count; i++) {
        bool learned = is_learned(example, i);
        CR_TRY(cr_append_format(out, "%s", learned ? (colours ? "\033[32m[" : "[") : "|"));
        CR_TRY(append_token(out, tokenizer, example->tokens[i]));
        if (learned) CR_TRY(cr_append_format(out, "%s", colours ? "]\033[0m" : "]"));
    }
    return cr_append_format(out, "\n");
}

static enum cr_status append_json(struct cr_buffer *out, const struct cr_tokenizer *tokenizer,
                                  const struct cr_example *example, size_t number)
{
    CR_TRY(cr_append_format(out, "{\"example\": %zu, \"tokens\": [", number));
    for (size_t i = 0; i < example->count; i++) {
        CR_TRY(cr_append_format(out, "%s{\"id\": %" PRIu32 ", \"token\": ", i > 0 ? ", " : "",
                                example->tokens[i]));
        CR_TRY(cr_json_append_string(out, cr_tokenizer_token(tokenizer, example->tokens[i])));
        CR_TRY(cr_append_format(out, ", \"label\": %s}", is_learned(example, i) ? "true" : "false"));
    }
    return cr_append_format(out, "]}\n");
}

static enum cr_status show(const struct cr_tokenizer *tokenizer, const struct cr_dataset *data, bool json)
{
    bool colours = cr_command_is_screen(STDOUT_FILENO);
    for (size_t i = 0; i < cr_dataset_count(data); i++) {
        struct cr_example example = cr_dataset_at(data, i);
        CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
        if (json) {
            CR_TRY(append_json(&out, tokenizer, &example, i + 1));
        } else {
            CR_TRY(cr_append_format(&out, "%sexample %zu: %zu token%s, %zu to be learned (in brackets)\n",
                                    i > 0 ? "\n" : "", i + 1, example.count, cr_plural(example.count),
                                    example.labelled));
            CR_TRY(append_text(&out, tokenizer, &example, colours));
        }
        CR_TRY(cr_command_print(cr_buffer_slice(&out)));
    }
    return CR_OK;
}

enum cr_status cr_preview(const struct cr_role_options *options)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(cr_config_read_with(options->config, options->overrides.items, options->overrides.count, &config));
    const struct cr_tuning_config *tuning = &config.tuning;
    CR_TRY(cr_tuning_config_check(tuning));
    if (!tuning->data.train) return cr_fail(CR_INVALID, "data.train: not given: what is to be shown?");
    CR_CLEANUP(cr_tokenizer_release) struct cr_tokenizer *tokenizer = NULL;
    CR_CLEANUP(cr_dataset_release) struct cr_dataset *data = NULL;
    struct cr_dataset_options data_options = cr_data_options(&tuning->data);
    data_options.append_eos = true;
    data_options.enough = EXAMPLES;
    CR_TRY(cr_tokenizer_open(tuning->model_name_or_path, &tokenizer));
    CR_TRY(cr_dataset_open(tuning->data.train, tokenizer, &data_options, &data));
    cr_warn_of_rows(data, "training data, as far as it was read,", &cr_model_warnings);
    return show(tokenizer, data, options->json);
}
