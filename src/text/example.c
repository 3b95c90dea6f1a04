#include "text/example.h"

#include "text/template.h"

#include <stdio.h>
#include <string.h>

void cr_encoded_release(struct cr_encoded *encoded)
{
    cr_ids_release(&encoded->ids);
    cr_ids_release(&encoded->labelled);
}

// Marks all ids not yet marked as labels, or as none.
static enum cr_status label_rest(struct cr_encoded *out, bool labelled)
{
    while (out->labelled.count < out->ids.count) CR_TRY(cr_ids_append(&out->labelled, labelled));
    return CR_OK;
}

// Appends EOS, unless it is already the last id.
static enum cr_status append_eos(const struct cr_tokenizer *tokenizer, struct cr_ids *ids)
{
    uint32_t eos;
    if (!cr_tokenizer_eos(tokenizer, &eos)) return CR_OK;
    if (ids->count > 0 && ids->items[ids->count - 1] == eos) return CR_OK;
    return cr_ids_append(ids, eos);
}

// Appends what the tokenizer puts before a text. It does not affect how the text itself is cut.
static enum cr_status begin_text(const struct cr_tokenizer *tokenizer, struct cr_encoded *out)
{
    CR_TRY(cr_ids_append_all(&out->ids, &cr_tokenizer_template(tokenizer)->before));
    return label_rest(out, false);
}

// Encodes a text, with what the tokenizer puts before a text; it may contain special tokens.
static enum cr_status encode_text(struct cr_slice text, const struct cr_tokenizer *tokenizer, bool with_eos,
                                  struct cr_ids *ids)
{
    CR_TRY(cr_tokenizer_encode(tokenizer, text, true, ids));
    return with_eos ? append_eos(tokenizer, ids) : CR_OK;
}

static enum cr_status append_plain(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   struct cr_ids *ids)
{
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids marked = {0};
    CR_TRY(cr_pieces_append(&pieces, text));
    return cr_tokenizer_encode_pieces(tokenizer, &pieces, ids, &marked);
}

enum cr_status cr_alpaca_prompt(struct cr_slice instruction, struct cr_slice input, struct cr_buffer *out)
{
    const char *lead =
        input.size > 0 ? "Below is an instruction that describes a task, paired with an input that provides "
                         "further context. Write a response that appropriately completes the request."
                       : "Below is an instruction that describes a task. Write a response that appropriately "
                         "completes the request.";
    CR_TRY(cr_append_format(out, "%s\n\n### Instruction:\n", lead));
    CR_TRY(cr_append(out, instruction.data, instruction.size));
    if (input.size > 0) {
        CR_TRY(cr_append_format(out, "\n\n### Input:\n"));
        CR_TRY(cr_append(out, input.data, input.size));
    }
    return cr_append_format(out, "\n\n### Response:");
}

// Stanford's prompt, which is not a label, and the answer with EOS, which is.
static enum cr_status encode_alpaca(const struct cr_row *row, const struct cr_tokenizer *tokenizer,
                                    struct cr_encoded *out)
{
    const struct cr_template *template = cr_tokenizer_template(tokenizer);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer prompt = {0};
    if (row->message_count > 2)
        return cr_fail(CR_INVALID, "\"system\" and \"history\" need a chat template (data.chat_template)");
    CR_TRY(cr_alpaca_prompt(row->instruction, row->input, &prompt));
    CR_TRY(begin_text(tokenizer, out));
    CR_TRY(append_plain(tokenizer, cr_buffer_slice(&prompt), &out->ids));
    CR_TRY(label_rest(out, false));
    CR_TRY(append_plain(tokenizer, row->output, &out->ids));
    CR_TRY(cr_ids_append_all(&out->ids, &template->after));
    CR_TRY(append_eos(tokenizer, &out->ids));
    return label_rest(out, true);
}

// Prompt and completion as one text; the completion and EOS are labels.
static enum cr_status encode_completion(const struct cr_row *row, const struct cr_tokenizer *tokenizer,
                                        struct cr_encoded *out)
{
    const struct cr_template *template = cr_tokenizer_template(tokenizer);
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_TRY(begin_text(tokenizer, out));
    CR_TRY(cr_pieces_append(&pieces, row->text));
    CR_TRY(cr_pieces_mark(&pieces));
    CR_TRY(cr_pieces_append(&pieces, row->output));
    CR_TRY(cr_pieces_mark(&pieces));
    CR_TRY(cr_tokenizer_encode_pieces(tokenizer, &pieces, &out->ids, &out->labelled));
    CR_TRY(cr_ids_append_all(&out->ids, &template->after));
    CR_TRY(append_eos(tokenizer, &out->ids));
    return label_rest(out, true);
}

static enum cr_status encode_chat(const struct cr_chat_message *messages, size_t count,
                                  const struct cr_tokenizer *tokenizer,
                                  const struct cr_dataset_options *options, struct cr_encoded *out)
{
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_TRY(cr_chat_render(options->chat_template, tokenizer, messages, count, false, &pieces));
    return cr_tokenizer_encode_pieces(tokenizer, &pieces, &out->ids, &out->labelled);
}

static const char text_hole[] = "{text}"; // in a label prompt

// Splits the i-th label word into its label and its word: "positive=great", or "great", whose label is its
// index.
static struct cr_slice word_of(const struct cr_dataset_options *options, size_t i, struct cr_slice *label,
                               char place[24])
{
    const char *entry = options->label_words[i], *equals = strchr(entry, '=');
    if (!equals) {
        snprintf(place, 24, "%zu", i);
        *label = cr_slice_of_string(place);
        return cr_slice_of_string(entry);
    }
    *label = (struct cr_slice){(const unsigned char *)entry, (size_t)(equals - entry)};
    return cr_slice_of_string(equals + 1);
}

enum cr_status cr_label_words_check(const struct cr_dataset_options *options)
{
    for (size_t i = 0; i < options->label_count; i++) {
        char places[2][24];
        struct cr_slice label, word = word_of(options, i, &label, places[0]), other;
        if (word.size == 0)
            return cr_fail(CR_INVALID, "label \"%.40s\" has an empty word (data.label_words)",
                           options->label_words[i]);
        for (size_t j = 0; j < i; j++) {
            if (cr_slice_equal(word, word_of(options, j, &other, places[1])))
                return cr_fail(CR_INVALID, "two labels have the word \"%.40s\" (data.label_words)",
                               (const char *)word.data);
            if (cr_slice_equal(label, other))
                return cr_fail(CR_INVALID, "label \"%.*s\" has two words (data.label_words)",
                               (int)cr_least(label.size, 40), (const char *)label.data);
        }
    }
    if (options->label_count > 0 && !strstr(options->label_prompt, text_hole))
        return cr_fail(CR_INVALID, "the prompt of label words has no %s (data.label_prompt)", text_hole);
    return CR_OK;
}

enum cr_status cr_row_choice(const struct cr_row *row, const struct cr_dataset_options *options, size_t *out)
{
    if (options->label_count == 0)
        return cr_fail(CR_INVALID, "rows with a label need words for the labels (data.label_words)");
    for (size_t i = 0; i < options->label_count; i++) {
        char place[24];
        struct cr_slice label;
        (void)word_of(options, i, &label, place);
        if (!cr_slice_equal(label, row->label)) continue;
        *out = i;
        return CR_OK;
    }
    return cr_fail(CR_INVALID, "label \"%.*s\" is of no label word", (int)cr_least(row->label.size, 40),
                   (const char *)row->label.data);
}

static enum cr_status encode_labelled(const struct cr_row *row, size_t choice,
                                      const struct cr_tokenizer *tokenizer,
                                      const struct cr_dataset_options *options, struct cr_encoded *out)
{
    const char *prompt = options->label_prompt, *at = strstr(prompt, text_hole);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer user = {0};
    CR_TRY(cr_append(&user, prompt, (size_t)(at - prompt)));
    CR_TRY(cr_append(&user, row->text.data, row->text.size));
    CR_TRY(cr_append(&user, at + strlen(text_hole), strlen(at + strlen(text_hole))));
    char place[24];
    struct cr_slice label, word = word_of(options, choice, &label, place);
    if (options->chat_template != CR_CHAT_DEFAULT) {
        const struct cr_chat_message messages[] = {{CR_CHAT_USER, cr_buffer_slice(&user), false},
                                                   {CR_CHAT_ASSISTANT, word, false}};
        return encode_chat(messages, 2, tokenizer, options, out);
    }
    CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
    CR_TRY(begin_text(tokenizer, out));
    CR_TRY(cr_pieces_append(&pieces, cr_buffer_slice(&user)));
    CR_TRY(cr_pieces_mark(&pieces));
    CR_TRY(cr_pieces_append(&pieces, cr_slice_of_string(" ")));
    CR_TRY(cr_pieces_append(&pieces, word));
    CR_TRY(cr_pieces_mark(&pieces));
    return cr_tokenizer_encode_pieces(tokenizer, &pieces, &out->ids, &out->labelled);
}

enum cr_status cr_row_encode(const struct cr_row *row, size_t choice, const struct cr_tokenizer *tokenizer,
                             const struct cr_dataset_options *options, struct cr_encoded *out)
{
    out->ids.count = out->labelled.count = 0;
    switch (row->kind) {
    case CR_ROW_TEXT:
        if (row->text.size == 0) return CR_OK;
        CR_TRY(encode_text(row->text, tokenizer, options->append_eos, &out->ids));
        return label_rest(out, true);
    case CR_ROW_ALPACA:
        if (row->output.size == 0) return CR_OK;
        if (options->chat_template == CR_CHAT_DEFAULT) return encode_alpaca(row, tokenizer, out);
        return encode_chat(row->messages, row->message_count, tokenizer, options, out);
    case CR_ROW_COMPLETION:
        if (row->output.size == 0) return CR_OK;
        if (options->chat_template == CR_CHAT_DEFAULT) return encode_completion(row, tokenizer, out);
        [[fallthrough]];
    case CR_ROW_CHAT:
        return encode_chat(row->messages, row->message_count, tokenizer, options, out);
    case CR_ROW_LABELLED:
        return encode_labelled(row, choice, tokenizer, options, out);
    case CR_ROW_UNKNOWN:
        break;
    }
    return cr_fail(CR_INTERNAL, "a row of no kind");
}
