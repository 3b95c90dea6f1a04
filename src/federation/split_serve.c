#include "federation/split_serve.h"

#include "base/clock.h"
#include "federation/cut_frames.h"
#include "federation/job.h"
#include "tuning/cut.h"
#include "tuning/tail.h"

#include <stdlib.h>
#include <string.h>

// The most silos that ask at a time. Each takes memory for the keys and values of a text and for one
// question; the rest is shared.
enum { ASKERS = 16 };

// A silo that asks. While it is `working`, only the job's thread may use it, except for `gone`.
struct asker {
    size_t silo;
    uint64_t examples, choices; // of the current Ask; 0 examples: a text
    double temperature;
    uint64_t seed;
    struct cr_cut_upload question;
    bool waits; // the question is complete, and not answered yet
    bool gone;  // nobody waits for the answer any more
    struct cr_tail_text *text;
    struct cr_tail_score score;
    uint32_t token;
    double since;               // monotonic: when it asked or was answered
    size_t texts, tokens, done; // for its event: numbers of texts, tokens and examples that were answered
};

struct cr_split_serve {
    struct cr_server *server;
    unsigned char front[CR_SHA256_SIZE];
    size_t activation_size;
    struct cr_job *job; // opens the tail, then answers
    struct cr_compute *compute;
    struct cr_tail *tail; // NULL while it is being opened
    struct asker *askers[CR_SILOS];
    struct asker *working;
    size_t turn; // the first silo to consider for the next question
};

bool cr_split_serve_wanted(const struct cr_server *server)
{
    return server->split && server->config->tuning.split.inference;
}

enum cr_status cr_split_serve_refuse(const struct cr_server *server)
{
    if (cr_split_serve_wanted(server))
        return cr_fail(CR_DENIED, "the model is not tuned yet: it can be asked when the training is over");
    return cr_fail(CR_DENIED, "nobody may ask the tuned model: the job has no split.inference");
}

static void free_asker(struct asker *asker)
{
    if (!asker) return;
    cr_cut_upload_release(&asker->question);
    cr_tail_text_free(asker->text);
    cr_wipe(asker, sizeof *asker);
    free(asker);
}

// The result is stored unsealed, where the server's operator may change it. Its values are also in the sealed
// state, and are compared with that.
static enum cr_status check_result(const struct cr_split_serve *serve, const struct cr_tail *tail)
{
    const struct cr_vector *global = serve->server->global;
    const struct cr_parameters *found = cr_tail_parameters(tail);
    if (found->count == global->count &&
        memcmp(found->values, global->values, found->count * sizeof *found->values) == 0)
        return CR_OK;
    return cr_fail(CR_INVALID,
                   "%s: is not what this run has tuned: nobody can ask it (split.inference) until that is "
                   "there again",
                   serve->server->config->tuning.output_dir);
}

// Runs on the job's thread, like answer below.
static enum cr_status open_tail(void *context)
{
    struct cr_split_serve *serve = context;
    const struct cr_tuning_config *config = &serve->server->config->tuning;
    struct cr_tail *tail;
    CR_TRY(cr_compute_new(config->threads, &serve->compute));
    CR_TRY(cr_tail_open(config, config->output_dir, serve->compute, &tail));
    enum cr_status status = check_result(serve, tail);
    if (status == CR_OK)
        serve->tail = tail;
    else
        cr_tail_free(tail);
    return status;
}

static enum cr_status answer(void *context)
{
    struct cr_split_serve *serve = context;
    struct asker *asker = serve->working;
    const struct cr_cut_upload *question = &asker->question;
    if (asker->examples > 0)
        return cr_tail_score(serve->tail, question->bytes, question->rows, &asker->score);
    if (!asker->text) CR_TRY(cr_tail_text_new(serve->tail, asker->temperature, asker->seed, &asker->text));
    return cr_tail_next(serve->tail, asker->text, question->bytes, question->rows, &asker->token);
}

enum cr_status cr_split_serve_open(struct cr_server *server, const unsigned char front[CR_SHA256_SIZE],
                                   size_t activation_size, struct cr_split_serve **out)
{
    struct cr_split_serve *serve;
    CR_TRY(cr_allocate(1, sizeof *serve, &serve));
    serve->server = server;
    serve->activation_size = activation_size;
    memcpy(serve->front, front, CR_SHA256_SIZE);
    enum cr_status status = cr_job_new(server->loop, &serve->job);
    if (status != CR_OK) {
        cr_split_serve_close(serve);
        return status;
    }
    cr_job_start(serve->job, open_tail, serve);
    *out = serve;
    return CR_OK;
}

void cr_split_serve_close(struct cr_split_serve *serve)
{
    if (!serve) return;
    cr_job_free(serve->job); // before what the job works on
    if (serve->working && serve->working->gone) free_asker(serve->working);
    for (size_t i = 0; i < CR_SILOS; i++) free_asker(serve->askers[i]);
    cr_tail_free(serve->tail);
    cr_compute_free(serve->compute);
    free(serve);
}

static enum cr_status new_asker(struct cr_split_serve *serve, size_t silo)
{
    size_t count = 0;
    for (size_t i = 0; i < CR_SILOS; i++) count += serve->askers[i] != NULL;
    if (count >= ASKERS)
        return cr_fail(CR_DENIED, "%d silos ask the tuned model already: try again later", ASKERS);
    CR_TRY(cr_allocate(1, sizeof **serve->askers, &serve->askers[silo]));
    serve->askers[silo]->silo = silo;
    return CR_OK;
}

static enum cr_status check_ask(const struct cr_split_serve *serve, const struct cr_message *message,
                                const char *name)
{
    uint64_t examples = message->ask.examples, choices = message->ask.choices;
    if (memcmp(message->ask.front, serve->front, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED,
                       "%s has another tokenizer, embedding or layers below split.layers than the server "
                       "(compare --model)",
                       name);
    if (message->ask.temperature < 0 || (examples > 0 && (choices == 0 || examples % choices != 0)))
        return cr_fail(CR_PROTOCOL, "%s asks what has no answer", name);
    return CR_OK;
}

static enum cr_status send_held(struct cr_server_session *session, uint64_t examples)
{
    const struct cr_message held = {.type = CR_FRAME_HELD, .held.examples = examples};
    return cr_connection_send(session->connection, &held, NULL, NULL);
}

static enum cr_status on_ask(struct cr_split_serve *serve, struct cr_server_session *session,
                             const struct cr_message *message)
{
    size_t silo = session->silo;
    const struct cr_tuning_config *config = &serve->server->config->tuning;
    const char *name = cr_server_silo_name(serve->server, silo);
    CR_TRY(check_ask(serve, message, name));
    if (!session->ready) cr_split_serve_left(serve, silo); // on the connection that this one replaces
    if (!serve->askers[silo]) CR_TRY(new_asker(serve, silo));
    if (!session->ready) CR_TRY(cr_server_admit(session));
    struct asker *asker = serve->askers[silo];
    if (asker->waits) return cr_fail(CR_PROTOCOL, "%s asks before it was answered", name);
    cr_tail_text_free(asker->text);
    asker->text = NULL;
    asker->examples = message->ask.examples;
    asker->choices = message->ask.choices;
    asker->temperature = message->ask.temperature;
    asker->seed = message->ask.seed;
    asker->score = (struct cr_tail_score){.choices = (size_t)asker->choices};
    asker->texts += asker->examples == 0;
    asker->since = cr_clock_monotonic();
    cr_cut_upload_release(&asker->question);
    CR_TRY(cr_cut_upload_init(&asker->question, serve->activation_size,
                              asker->examples > 0 ? sizeof(int32_t) : 0, config->data.max_length));
    return send_held(session, 0);
}

static enum cr_status on_cut(struct cr_split_serve *serve, struct cr_server_session *session,
                             const struct cr_message *message)
{
    struct asker *asker = session->ready ? serve->askers[session->silo] : NULL;
    const char *name = cr_server_silo_name(serve->server, session->silo);
    if (!asker) return cr_fail(CR_PROTOCOL, "%s came before Ask", cr_frame_name(message->type));
    if (asker->examples > 0 && message->cut.example >= asker->examples)
        return cr_fail(CR_PROTOCOL, "%s sent more examples than it asked of", name);
    asker->since = cr_clock_monotonic();
    return cr_cut_upload_take(&asker->question, message, name, &asker->waits);
}

enum cr_status cr_split_serve_received(struct cr_split_serve *serve, struct cr_server_session *session,
                                       const struct cr_message *message)
{
    return message->type == CR_FRAME_ASK ? on_ask(serve, session, message) : on_cut(serve, session, message);
}

void cr_split_serve_left(struct cr_split_serve *serve, size_t silo)
{
    struct asker *asker = serve->askers[silo];
    if (!asker) return;
    serve->askers[silo] = NULL;
    cr_emit(serve->server->sink, CR_EVENT_INFO, "split.asked", NULL,
            CR_FIELD_TEXT("silo", cr_server_silo_name(serve->server, silo)), CR_FIELD("texts", asker->texts),
            CR_FIELD("tokens", asker->tokens), CR_FIELD("examples", asker->done));
    if (asker == serve->working)
        asker->gone = true;
    else
        free_asker(asker);
}

static enum cr_status send_answer(const struct cr_split_serve *serve, struct asker *asker)
{
    struct cr_server_session *session = serve->server->by_silo[asker->silo];
    const struct cr_tail_score *score = &asker->score;
    uint64_t example = asker->question.example + 1;
    asker->waits = false;
    asker->since = cr_clock_monotonic();
    cr_cut_upload_begin(&asker->question, example);
    if (asker->examples == 0) {
        const struct cr_message next = {.type = CR_FRAME_NEXT, .next.token = asker->token};
        asker->tokens++;
        return cr_connection_send(session->connection, &next, NULL, NULL);
    }
    asker->done++;
    if (example < asker->examples) return send_held(session, example);
    const struct cr_message sums = {.type = CR_FRAME_SCORE,
                                    .score = {.loss_sum = score->loss_sum,
                                              .correct = score->correct,
                                              .exact = score->exact,
                                              .chosen = score->chosen}};
    return cr_connection_send(session->connection, &sums, NULL, NULL);
}

// If a question cannot be answered, only the asker is told; the others continue to be served.
static enum cr_status take_answer(struct cr_split_serve *serve, enum cr_status status)
{
    struct asker *asker = serve->working;
    serve->working = NULL;
    if (asker->gone) {
        free_asker(asker);
        return CR_OK;
    }
    if (status == CR_OK) return send_answer(serve, asker);
    asker->waits = false;
    cr_connection_refuse(serve->server->by_silo[asker->silo]->connection, CR_DENIED, cr_error_message());
    return CR_OK;
}

static enum cr_status take_work(struct cr_split_serve *serve)
{
    enum cr_status status;
    if (!cr_job_take(serve->job, &status)) return CR_OK;
    if (serve->working) return take_answer(serve, status);
    CR_TRY(status);
    cr_emit(serve->server->sink, CR_EVENT_INFO, "split.serving", NULL,
            CR_FIELD("tokens", serve->server->config->tuning.data.max_length));
    return CR_OK;
}

static void start_next(struct cr_split_serve *serve)
{
    for (size_t i = 0; i < CR_SILOS && !serve->working; i++) {
        struct asker *asker = serve->askers[(serve->turn + i) % CR_SILOS];
        if (asker && asker->waits) serve->working = asker;
    }
    if (!serve->working) return;
    serve->turn = serve->working->silo + 1;
    cr_job_start(serve->job, answer, serve);
}

// Drops askers whose connection the server itself has ended.
static void drop_lost(struct cr_split_serve *serve)
{
    for (size_t i = 0; i < CR_SILOS; i++)
        if (!serve->server->by_silo[i]) cr_split_serve_left(serve, i);
}

// Refuses askers that ask nothing for too long, since they take a place.
static void end_idle(struct cr_split_serve *serve)
{
    double now = cr_clock_monotonic(), most = serve->server->config->federation.progress_timeout;
    for (size_t i = 0; i < CR_SILOS; i++) {
        const struct asker *asker = serve->askers[i];
        if (asker && !asker->waits && now - asker->since > most)
            cr_connection_refuse(serve->server->by_silo[i]->connection, CR_DENIED,
                                 "nothing was asked for federation.progress_timeout");
    }
}

enum cr_status cr_split_serve_tick(struct cr_split_serve *serve)
{
    drop_lost(serve);
    CR_TRY(take_work(serve));
    end_idle(serve);
    if (!cr_job_busy(serve->job)) start_next(serve);
    return CR_OK;
}
