#include "tuning/session.h"

#include "base/words.h"
#include "tuning/adapter.h"
#include "tuning/asked.h"
#include "tuning/end_tokens.h"
#include "tuning/evaluate.h"

#include <stdio.h>

struct cr_dataset_options cr_data_options(const struct cr_data_config *config)
{
    return (struct cr_dataset_options){
        .max_length = config->max_length,
        .train_on_prompt = config->train_on_prompt,
        .chat_template = (enum cr_chat_template)config->chat_template,
        .label_words = (const char *const *)config->label_words.items,
        .label_count = config->label_words.count,
        .label_prompt = config->label_prompt,
        .max_bad_rows = config->max_bad_rows,
    };
}

enum cr_dtype cr_activation_type(const struct cr_compute *compute, int wanted,
                                 const struct cr_event_sink *sink)
{
    if (wanted == CR_COMPUTE_FLOAT32) return CR_F32;
    if (cr_compute_has_bf16(compute)) return CR_BF16;
    if (sink)
        cr_event_send(sink, CR_EVENT_WARNING, "train.warning",
                      "this processor has no bfloat16 products: computing in float32", NULL, 0);
    return CR_F32;
}

enum cr_status cr_session_open(const char *model, const char *adapter, int dtype, bool in_8bit,
                               struct cr_compute *compute, const struct cr_event_sink *sink,
                               struct cr_session *out)
{
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    enum cr_dtype act = cr_activation_type(compute, dtype, sink);
    if (adapter) CR_TRY(cr_adapter_check(adapter));
    CR_TRY(cr_model_open(model, cr_model_form_of(in_8bit), NULL, compute, act, &session.model));
    CR_TRY(cr_tokenizer_open(model, &session.tokenizer));
    CR_TRY(cr_end_tokens_read(model, session.tokenizer, &session.ends));
    if (adapter) CR_TRY(cr_adapter_open(adapter, session.model, &session.adapter));
    *out = session;
    session = (struct cr_session){0};
    return CR_OK;
}

enum cr_status cr_session_open_front(const char *model, const struct cr_tuning_config *config,
                                     struct cr_compute *compute, const struct cr_event_sink *sink,
                                     struct cr_asked *asked, struct cr_session *out)
{
    CR_CLEANUP(cr_session_release) struct cr_session session = {.asked = asked};
    enum cr_dtype act = cr_activation_type(compute, config->dtype, sink);
    const struct cr_model_part front = cr_model_front(config->split.layers);
    CR_TRY(cr_model_open(model, cr_model_form_of(cr_tuning_config_in_8bit(config)), &front, compute, act,
                         &session.model));
    CR_TRY(cr_tuning_config_check_split(config, session.model->config.layers));
    CR_TRY(cr_tokenizer_open(model, &session.tokenizer));
    CR_TRY(cr_end_tokens_read(model, session.tokenizer, &session.ends));
    *out = session;
    session = (struct cr_session){0};
    return CR_OK;
}

void cr_session_release(struct cr_session *session)
{
    cr_structure_free(session->adapter);
    cr_tokenizer_free(session->tokenizer);
    cr_ids_release(&session->ends);
    cr_model_free(session->model);
    *session = (struct cr_session){0};
}

const struct cr_tuned *cr_session_tuned(const struct cr_session *session)
{
    return session->adapter ? &session->adapter->tuned : NULL;
}

static size_t prefix_of(const struct cr_session *session)
{
    return session->adapter ? session->adapter->tuned.prefix : 0;
}

size_t cr_session_context(const struct cr_session *session)
{
    size_t context = session->model->config.context - prefix_of(session);
    return session->asked ? cr_least(context, session->asked->context) : context;
}

static enum cr_status evaluate_data(const struct cr_session *session, const struct cr_dataset *data,
                                    struct cr_tally *tally)
{
    if (session->asked) return cr_asked_evaluate(session, data, tally);
    size_t rows = cr_most(CR_SESSION_ROWS, cr_evaluation_rows(data));
    size_t sequences = cr_most(CR_EVALUATION_SEQUENCES, cr_dataset_choices(data));
    struct cr_batch *batch;
    CR_TRY(cr_batch_new(sequences, rows, &batch));
    struct cr_pass *pass = NULL;
    enum cr_status status = cr_pass_new(
        session->model,
        &(struct cr_pass_size){.rows = rows, .sequences = sequences, .prefix = prefix_of(session)}, NULL,
        &pass);
    if (status == CR_OK)
        status = cr_evaluate(session->model, pass, cr_session_tuned(session), data, NULL, batch, tally, NULL,
                             NULL);
    cr_pass_free(pass);
    cr_batch_free(batch);
    return status;
}

void cr_warn_of_rows(const struct cr_dataset *data, const char *what, const struct cr_event_sink *sink)
{
    char message[1024];
    size_t skipped = cr_dataset_skipped(data), bad = cr_dataset_bad_rows(data);
    if (skipped > 0) {
        snprintf(message, sizeof message, "%zu row%s of the %s %s no labelled token and %s left out", skipped,
                 cr_plural(skipped), what, skipped == 1 ? "has" : "have", skipped == 1 ? "is" : "are");
        cr_emit(sink, CR_EVENT_WARNING, "train.warning", message, CR_FIELD("skipped", skipped));
    }
    if (bad == 0) return;
    snprintf(message, sizeof message, "%zu bad row%s of the %s %s left out; the first: %s", bad,
             cr_plural(bad), what, bad == 1 ? "is" : "are", cr_dataset_first_bad(data));
    cr_emit(sink, CR_EVENT_WARNING, "train.warning", message, CR_FIELD("bad_rows", bad));
}

enum cr_status cr_session_evaluate(const struct cr_session *session, const char *data_path,
                                   const struct cr_dataset_options *options, const struct cr_event_sink *sink,
                                   struct cr_tally *tally)
{
    size_t context = cr_session_context(session);
    if (options->max_length > context)
        return cr_fail(CR_INVALID, "max_length: %zu: the model's context is %zu tokens%s",
                       options->max_length, context,
                       session->asked       ? " as the job has it (data.max_length)"
                       : prefix_of(session) ? " after the prefix"
                                            : "");
    struct cr_dataset_options own = *options;
    own.vocabulary = session->model->config.vocabulary;
    own.pool = cr_compute_pool(session->model->compute);
    struct cr_dataset *data;
    CR_TRY(cr_dataset_open(data_path, session->tokenizer, &own, &data));
    cr_warn_of_rows(data, "data", sink);
    enum cr_status status = evaluate_data(session, data, tally);
    if (status == CR_OK) {
        tally->skipped += cr_dataset_skipped(data);
        tally->bad_rows += cr_dataset_bad_rows(data);
    }
    cr_dataset_free(data);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", data_path);
}
