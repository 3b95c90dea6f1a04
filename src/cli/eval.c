// carrel eval: loss and accuracy of a model on labelled tokens.
#include "cli/command.h"
#include "cli/model_flags.h"

#include "base/parse.h"
#include "base/words.h"
#include "tuning/write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_WORDS = 64, ANSWER_TOKENS = 128 };

static enum cr_status append_score(const struct cr_score *score, bool json, struct cr_buffer *out)
{
    CR_TRY(json ? cr_append_format(out, ", \"answers\": %zu", score->answers)
                : cr_append_format(out, "%zu answer%s", score->answers, cr_plural(score->answers)));
    return cr_append_format(out,
                            json ? ", \"bleu\": %.9g, \"rouge_l\": %.9g, \"answers_exact\": %.9g"
                                 : ": BLEU %.2f, ROUGE-L %.2f, %.2f %% exactly the reference\n",
                            cr_score_bleu(score), (json ? 1 : 100) * cr_score_rouge_l(score),
                            (json ? 1 : 100) * (double)score->exact / (double)score->answers);
}

static enum cr_status append_words(const struct cr_tally *tally, double loss, const char *perplexity,
                                   struct cr_buffer *out)
{
    CR_TRY(
        cr_append_format(out, "loss %.4f nats per labelled token (perplexity %s) over ", loss, perplexity));
    CR_TRY(cr_append_count(out, (double)tally->labelled));
    CR_TRY(cr_append_format(out, " token%s\naccuracy %.2f %% of tokens; %.2f %% of ",
                            cr_plural(tally->labelled),
                            100 * (double)tally->correct / (double)tally->labelled,
                            100 * (double)tally->exact / (double)tally->examples));
    CR_TRY(cr_append_count(out, (double)tally->examples));
    return cr_append_format(out, " example%s wholly right\n", cr_plural(tally->examples));
}

static enum cr_status print_tally(const struct cr_tally *tally, bool choices, const struct cr_score *score,
                                  bool json)
{
    double loss = tally->loss_sum / (double)tally->labelled;
    double accuracy = (double)tally->correct / (double)tally->labelled;
    double exact = (double)tally->exact / (double)tally->examples;
    double chosen = (double)tally->chosen / (double)tally->examples;
    char perplexity[32] = "null"; // JSON has no infinity
    if (!json || isfinite(exp(loss)))
        snprintf(perplexity, sizeof perplexity, json ? "%.9g" : "%.4g", exp(loss));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    if (json)
        CR_TRY(cr_append_format(&out,
                                "{\"loss\": %.9g, \"tokens\": %zu, \"perplexity\": %s, \"accuracy\": %.9g, "
                                "\"examples\": %zu, \"exact_match\": %.9g, \"skipped\": %zu, "
                                "\"bad_rows\": %zu",
                                loss, tally->labelled, perplexity, accuracy, tally->examples, exact,
                                tally->skipped, tally->bad_rows));
    else
        CR_TRY(append_words(tally, loss, perplexity, &out));
    if (choices)
        CR_TRY(cr_append_format(&out,
                                json ? ", \"choice_accuracy\": %.9g"
                                     : "the right label word is the likeliest of %.2f %% of them\n",
                                json ? chosen : 100 * chosen));
    if (score->answers > 0) CR_TRY(append_score(score, json, &out));
    if (json) CR_TRY(cr_append_format(&out, "}\n"));
    return cr_command_print(cr_buffer_slice(&out));
}

// The command line's options.
struct asked {
    struct cr_model_flags model;
    struct cr_dataset_options options;
    const char *data, *template, *scored_words;
    struct cr_flag_list label_words;
    bool generate, json;
    size_t most; // tokens of an answer; SIZE_MAX: not given
    enum cr_score_words words;
};

static enum cr_status check(struct asked *asked)
{
    struct cr_dataset_options *options = &asked->options;
    bool tabbed = cr_ends_with(asked->data, ".tsv");
    CR_TRY(cr_chat_template_named(asked->template, &options->chat_template));
    if ((asked->label_words.count > 0 || options->label_prompt) && !tabbed)
        return cr_fail(CR_INVALID, "--label-word and --label-prompt are for a .tsv, which %s is not",
                       asked->data);
    if (asked->scored_words && strcmp(asked->scored_words, "zh") == 0)
        asked->words = CR_SCORE_ZH;
    else if (asked->scored_words && strcmp(asked->scored_words, "13a") != 0)
        return cr_fail(CR_INVALID, "--bleu-tokenize: \"%s\" is neither 13a nor zh", asked->scored_words);
    if (asked->generate && tabbed)
        return cr_fail(CR_INVALID,
                       "--generate is not for a .tsv: --label-word tells how often the right one is chosen");
    if ((asked->scored_words || asked->most != SIZE_MAX) && !asked->generate)
        return cr_fail(CR_INVALID, "--max-new-tokens and --bleu-tokenize are for --generate");
    if (asked->most == 0) return cr_fail(CR_INVALID, "--max-new-tokens: 0: nothing could be scored");
    if (asked->most == SIZE_MAX) asked->most = ANSWER_TOKENS;
    if (!options->label_prompt) options->label_prompt = CR_LABEL_PROMPT;
    options->label_words = asked->label_words.items;
    options->label_count = asked->label_words.count;
    options->all_choices = options->label_count > 1;
    return CR_OK;
}

static enum cr_status evaluate(struct asked *asked)
{
    struct cr_dataset_options *options = &asked->options;
    CR_CLEANUP(cr_open_model_release) struct cr_open_model open = {0};
    CR_TRY(cr_open_model(&asked->model, &open));
    if (options->max_length == 0) options->max_length = cr_session_context(&open.session);
    struct cr_tally tally = {0};
    enum cr_status status =
        cr_session_evaluate(&open.session, asked->data, options, &cr_model_warnings, &tally);
    if (status != CR_OK) return cr_fail_by_options(status);
    struct cr_score score = {.words = asked->words};
    uint32_t end;
    if (asked->generate && cr_chat_end(options->chat_template, open.session.tokenizer, &end))
        CR_TRY(cr_ids_append(&open.session.ends, end));
    if (asked->generate) CR_TRY(cr_session_answer(&open.session, asked->data, options, asked->most, &score));
    return print_tally(&tally, options->all_choices, &score, asked->json);
}

enum cr_status cr_command_eval(int argc, char **argv)
{
    const char *words[LABEL_WORDS];
    struct asked asked = {
        .label_words = {.items = words, .capacity = LABEL_WORDS}, .most = SIZE_MAX, .words = CR_SCORE_13A};
    bool done;
    const struct cr_flag items[] = {
        CR_MODEL_FLAGS(&asked.model),
        {"data", CR_FLAG_REQUIRED, &asked.data, "FILE", "the rows, in any form that data.train has"},
        {"chat-template", CR_FLAG_STRING, &asked.template, "NAME", "as data.chat_template"},
        {"label-word", CR_FLAG_STRINGS, &asked.label_words, "WORD",
         "of a .tsv: as one of data.label_words; given once for each label"},
        {"label-prompt", CR_FLAG_STRING, &asked.options.label_prompt, "TEXT",
         "of a .tsv: as data.label_prompt"},
        {"max-bad-rows", CR_FLAG_SIZE, &asked.options.max_bad_rows, "N", "as data.max_bad_rows (0)"},
        {"max-length", CR_FLAG_SIZE, &asked.options.max_length, "N",
         "tokens kept of a row (the model's context)"},
        {"limit", CR_FLAG_SIZE, &asked.options.limit, "N", "rows read at most (all)"},
        {"generate", CR_FLAG_BOOL, &asked.generate, NULL,
         "let the model answer, too, and score its answers: BLEU, ROUGE-L, exact matches"},
        {"max-new-tokens", CR_FLAG_SIZE, &asked.most, "N", "tokens of an answer at most (128)"},
        {"bleu-tokenize", CR_FLAG_STRING, &asked.scored_words, "NAME",
         "13a, the default, or zh, as sacreBLEU has them"},
        {"json", CR_FLAG_BOOL, &asked.json, NULL,
         "one JSON object: loss, tokens, perplexity, accuracy, examples, exact_match, skipped, bad_rows, "
         "choice_accuracy, answers, bleu, rouge_l, answers_exact"},
    };
    const struct cr_flags flags = {
        "carrel eval --model DIR [--adapter DIR] --data FILE [options]",
        "Prints the loss in nats per labelled token, and how often the label is the most likely token. Text "
        "rows are\n"
        "labelled throughout, Alpaca rows in their answers and the end of text, messages in what the "
        "assistant "
        "says, rows with\na label in the label word; \"exact_match\" counts rows "
        "of which every\n"
        "label is the most likely token: greedy decoding would write exactly that answer.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, NULL, &done));
    if (done) return CR_OK;
    CR_TRY(check(&asked));
    return evaluate(&asked);
}
