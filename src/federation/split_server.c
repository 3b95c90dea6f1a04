#include "federation/split_server.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/cut_frames.h"
#include "federation/cut_store.h"
#include "federation/split_serve.h"
#include "federation/worker.h"
#include "tuning/base_digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double sync_seconds = 0.05, progress_seconds = 1; // between two syncs, and between two reports

enum phase { GATHERING, TRAINING, OVER };

// An example that is being received.
struct upload {
    struct cr_cut_upload frames;
    double told_at;
};

struct cr_split_server {
    enum phase phase;
    struct cr_config config; // for the tail's trainer; a shallow copy of the server's
    struct cr_base_digest front;
    size_t activation_size, longest;
    struct cr_cut_store *store;
    struct cr_worker *worker;
    const struct cr_event_sink *sink; // the server's own sink, which the worker's sink wraps
    struct upload *uploads[CR_SILOS];
    bool owed[CR_SILOS]; // told that all has arrived, and has not sent Close since
    double synced_at;
    char *state;               // path of the trainer's state
    char *activations;         // directory of the silos' examples
    struct cr_sealing sealing; // of the trainer's state
    struct cr_vector *values;  // the tail's values after `step` of `steps` steps
    size_t step, steps;
    struct cr_split_serve *serve; // after training, if silos may ask the result; else NULL
};

static void free_upload(struct cr_split_server *split, size_t silo)
{
    struct upload *upload = split->uploads[silo];
    if (!upload) return;
    cr_cut_upload_release(&upload->frames);
    cr_free(&split->uploads[silo]);
}

static enum cr_status upload_of(struct cr_split_server *split, size_t silo, struct upload **out)
{
    CR_FREE struct upload *upload = NULL;
    if (!split->uploads[silo]) {
        CR_TRY(cr_allocate(1, sizeof *upload, &upload));
        CR_TRY(cr_cut_upload_init(&upload->frames, split->activation_size, sizeof(int32_t), split->longest));
        split->uploads[silo] = upload;
        upload = NULL;
    }
    *out = split->uploads[silo];
    return CR_OK;
}

// Starts the tail's trainer, which continues from its state if there is one.
static void begin_training(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    struct cr_cut_held all = {0};
    for (size_t i = 0; i < server->state->member_count; i++) {
        const struct cr_cut_held held = cr_cut_store_held(split->store, cr_server_silo_name(server, i));
        if (!held.complete) continue;
        all.examples += held.examples;
        all.rows += held.rows;
        all.bytes += held.bytes;
    }
    cr_emit(server->sink, CR_EVENT_INFO, "split.begin", NULL,
            CR_FIELD("silos", cr_cut_store_complete(split->store)), CR_FIELD("examples", all.examples),
            CR_FIELD("rows", all.rows), CR_FIELD("bytes", all.bytes));
    split->phase = TRAINING;
    split->config = *server->config;
    split->config.tuning.data.train = split->config.tuning.data.eval = NULL;
    split->config.tuning.seed = server->seed;
    split->config.tuning.cut = cr_cut_store_cut(split->store);
    split->sealing = cr_state_sealing(server->state, "trainer state");
    cr_worker_open(split->worker, &split->config, &split->sealing,
                   cr_file_exists(split->state) ? split->state : NULL);
}

static bool all_is_here(const struct cr_server *server)
{
    return cr_cut_store_complete(server->split->store) >= cr_config_min_clients(server->config);
}

// The state's name contains the run, so that the state of another run is not used.
static enum cr_status name_state(struct cr_server *server)
{
    char run[17], name[64];
    cr_hex_encode((struct cr_slice){server->state->run, 8}, run);
    snprintf(name, sizeof name, "trainer-%s.sealed", run);
    CR_TRY(cr_path_join(server->state->path, "activations", &server->split->activations));
    return cr_path_join(server->state->path, name, &server->split->state);
}

static enum cr_status open_store(struct cr_server *server, const struct cr_model_config *model)
{
    struct cr_split_server *split = server->split;
    const struct cr_tuning_config *tuning = &server->config->tuning;
    unsigned char secret[CR_SEED_SECRET_SIZE];
    CR_TRY(cr_state_seed_secret(server->state, server->owners_job, secret));
    split->longest = tuning->data.max_length;
    const struct cr_cut_store_options options = {.directory = split->activations,
                                                 .secret = secret,
                                                 .run = server->state->run,
                                                 .activations = tuning->split.activations,
                                                 .layer = tuning->split.layers,
                                                 .hidden = model->hidden,
                                                 .vocabulary = model->vocabulary,
                                                 .longest = split->longest,
                                                 .limit = tuning->split.storage};
    enum cr_status status = cr_cut_store_open(&options, &split->store);
    cr_wipe(secret, sizeof secret);
    for (size_t i = 0; status == CR_OK && i < server->state->member_count; i++)
        status = cr_cut_store_restore(split->store, cr_server_silo_name(server, i));
    return status;
}

static enum cr_status read_front(struct cr_server *server, struct cr_model_config *model)
{
    const struct cr_tuning_config *tuning = &server->config->tuning;
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    CR_CLEANUP(cr_model_release) struct cr_model *shape = NULL;
    CR_TRY(cr_compute_new(1, &compute));
    CR_TRY(cr_model_open(tuning->model_name_or_path, CR_MODEL_SHAPE, NULL, compute, CR_F32, &shape));
    CR_TRY(cr_base_digest_front(shape, tuning->model_name_or_path, cr_tuning_config_in_8bit(tuning),
                                tuning->split.layers, &server->split->front));
    *model = shape->config;
    server->split->activation_size = cr_cut_row_size(tuning->split.activations, model->hidden);
    return CR_OK;
}

// If silos may ask the result, answers them from now on.
static enum cr_status serve(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    if (!cr_split_serve_wanted(server)) return CR_OK;
    return cr_split_serve_open(server, split->front.model, split->activation_size, &split->serve);
}

enum cr_status cr_split_server_open(struct cr_server *server)
{
    struct cr_model_config model;
    CR_TRY(cr_allocate(1, sizeof *server->split, &server->split));
    struct cr_split_server *split = server->split;
    split->sink = server->sink;
    CR_TRY(name_state(server));
    if (server->state->finished) {
        split->phase = OVER;
        unlink(split->state); // if an earlier server was killed before it removed this
        cr_cut_store_clear(split->activations);
        if (cr_split_serve_wanted(server)) CR_TRY(read_front(server, &model));
        return serve(server);
    }
    CR_TRY(read_front(server, &model));
    CR_TRY(open_store(server, &model));
    CR_TRY(cr_worker_new(server->kind, server->sink, server->loop, &split->worker));
    server->sink = cr_worker_sink(split->worker); // passes on one event at a time
    if (all_is_here(server))
        begin_training(server); // before silos can add to the data with which an earlier process began
    return CR_OK;
}

static void end_training(struct cr_server *server)
{
    server->sink = server->split->sink;
    cr_worker_free(server->split->worker);
    server->split->worker = NULL;
}

void cr_split_server_close(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    if (!split) return;
    end_training(server);
    cr_split_serve_close(split->serve);
    cr_cut_store_close(split->store);
    for (size_t i = 0; i < CR_SILOS; i++) free_upload(split, i);
    cr_vector_release(split->values);
    free(split->state);
    free(split->activations);
    cr_wipe(split, sizeof *split); // contains the seed
    free(split);
    server->split = NULL;
}

static enum cr_status send_held(struct cr_server *server, size_t silo, uint64_t examples, bool complete)
{
    struct cr_server_session *session = server->by_silo[silo];
    const struct cr_message held = {.type = CR_FRAME_HELD, .held.examples = examples};
    if (!session) return CR_OK;
    server->split->owed[silo] = complete;
    return cr_connection_send(session->connection, &held, NULL, NULL);
}

static enum cr_status too_late(const char *name)
{
    return cr_fail(CR_DENIED, "the training has begun before %s had sent all of its data", name);
}

// What earlier connections left is synced, so that the first Held message acknowledges it.
static enum cr_status take_offer(struct cr_split_server *split, const char *name,
                                 const struct cr_cut_offer *offer)
{
    bool news;
    CR_TRY(cr_cut_store_offer(split->store, name, offer));
    return cr_cut_store_sync(split->store, name, &news);
}

// During training only the trainer uses the store. A silo that had sent everything is told so again.
static enum cr_status check_late(const struct cr_split_server *split, const char *name,
                                 const struct cr_cut_offer *offer)
{
    if (!cr_cut_store_offered(split->store, name, offer))
        return cr_fail(CR_DENIED, "the training has begun without these data of %s", name);
    return cr_cut_store_held(split->store, name).complete ? CR_OK : too_late(name);
}

static enum cr_status on_offer(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    struct cr_split_server *split = server->split;
    const char *name = cr_server_silo_name(server, session->silo);
    struct cr_cut_offer offer = {.examples = message->offer.examples, .rows = message->offer.rows};
    memcpy(offer.data, message->offer.data, CR_SHA256_SIZE);
    if (session->ready) return cr_fail(CR_PROTOCOL, "%s made two offers", name);
    if (!split->store) return cr_fail(CR_DENIED, "the training is over");
    if (memcmp(message->offer.front, split->front.model, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED,
                       "%s has another tokenizer, embedding or layers below split.layers than the server "
                       "(compare model_name_or_path)",
                       name);
    CR_TRY(split->phase == GATHERING ? take_offer(split, name, &offer) : check_late(split, name, &offer));
    const struct cr_cut_held held = cr_cut_store_held(split->store, name);
    struct upload *upload;
    CR_TRY(upload_of(split, session->silo, &upload));
    cr_cut_upload_begin(&upload->frames, held.examples);
    CR_TRY(cr_server_admit(session));
    if (split->serve)
        cr_split_serve_left(split->serve, session->silo); // on the connection that this one replaces
    return send_held(server, session->silo, held.examples, held.complete);
}

static enum cr_status on_cut(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_server *server = session->server;
    struct cr_split_server *split = server->split;
    const char *name = cr_server_silo_name(server, session->silo);
    struct upload *upload = split->uploads[session->silo];
    bool whole;
    if (!session->ready) return cr_fail(CR_PROTOCOL, "%s came before Offer", cr_frame_name(message->type));
    if (split->phase != GATHERING) return too_late(name);
    struct cr_cut_upload *frames = &upload->frames;
    CR_TRY(cr_cut_upload_take(frames, message, name, &whole));
    if (!whole) return CR_OK;
    CR_TRY(cr_cut_store_put(split->store, name, frames->bytes, frames->rows));
    cr_cut_upload_begin(frames, frames->example + 1);
    return CR_OK;
}

enum cr_status cr_split_server_received(struct cr_server_session *session, const struct cr_message *message)
{
    struct cr_split_serve *serving = session->server->split->serve;
    if (message->type == CR_FRAME_ASK && !serving) return cr_split_serve_refuse(session->server);
    if (message->type == CR_FRAME_ASK || (message->type == CR_FRAME_CUT && serving))
        return cr_split_serve_received(serving, session, message);
    if (message->type == CR_FRAME_OFFER) return on_offer(session, message);
    if (message->type == CR_FRAME_CUT) return on_cut(session, message);
    return cr_fail(CR_PROTOCOL, "%s is nothing that a silo of a split model says",
                   cr_frame_name(message->type));
}

void cr_split_server_left(struct cr_server *server, size_t silo, bool clean)
{
    if (clean) server->split->owed[silo] = false;
    free_upload(server->split, silo);
    if (server->split->serve) cr_split_serve_left(server->split->serve, silo);
}

bool cr_split_server_told(const struct cr_server *server)
{
    double waited = cr_clock_monotonic() - server->finishing_since;
    if (waited > server->config->federation.progress_timeout) return true;
    for (size_t i = 0; i < server->state->member_count; i++)
        if (server->split->owed[i]) return false;
    return true;
}

static enum cr_status acknowledge(struct cr_server *server, size_t silo, double now)
{
    struct cr_split_server *split = server->split;
    const char *name = cr_server_silo_name(server, silo);
    bool news;
    CR_TRY(cr_cut_store_sync(split->store, name, &news));
    if (!news) return CR_OK;
    const struct cr_cut_held held = cr_cut_store_held(split->store, name);
    struct upload *upload = split->uploads[silo];
    if (held.complete || (upload && now - upload->told_at >= progress_seconds)) {
        if (upload) upload->told_at = now;
        cr_emit(server->sink, CR_EVENT_INFO, held.complete ? "split.held" : "split.receiving", NULL,
                CR_FIELD_TEXT("silo", name), CR_FIELD("examples", held.examples), CR_FIELD("rows", held.rows),
                CR_FIELD("bytes", held.bytes));
    }
    return send_held(server, silo, held.examples, held.complete);
}

static enum cr_status gather(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    double now = cr_clock_monotonic();
    if (now - split->synced_at < sync_seconds) return CR_OK;
    split->synced_at = now;
    for (size_t i = 0; i < server->state->member_count; i++) CR_TRY(acknowledge(server, i, now));
    if (all_is_here(server)) begin_training(server);
    return CR_OK;
}

// Trains as many steps as may be lost if the process is killed.
static void train(struct cr_split_server *split)
{
    size_t every = split->config.tuning.training.save_steps, left = split->steps - split->step;
    const struct cr_training_task task = {.first = split->step,
                                          .last = split->step + (every > 0 ? cr_least(every, left) : left),
                                          .start = split->values,
                                          .state = split->state,
                                          .keeps = true};
    split->step = task.last; // valid once the result is taken
    cr_worker_train(split->worker, &task);
}

// The result is written. The state records that before the data it was trained on are removed.
static enum cr_status finish(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    unsigned char digest[CR_SHA256_SIZE];
    server->state->count = split->values->count;
    CR_TRY(cr_state_store(server->state, 1, split->values, digest));
    CR_TRY(cr_state_advance(server->state, 1, true, digest));
    end_training(server);
    cr_vector_release(server->global);
    server->global = split->values;
    split->values = NULL;
    split->phase = OVER;
    unlink(split->state);
    cr_cut_store_clear(split->activations);
    CR_TRY(serve(server));
    return cr_server_saved(server);
}

static enum cr_status take_result(struct cr_server *server)
{
    struct cr_split_server *split = server->split;
    struct cr_worker_result result;
    if (!cr_worker_take(split->worker, &result)) return CR_OK;
    if (result.status != CR_OK) return cr_fail(result.status, "%s", result.why);
    if (result.work == CR_WORK_SAVE) return finish(server);
    cr_vector_release(split->values);
    split->values = result.update;
    if (result.work == CR_WORK_OPEN) {
        split->step = result.step;
        split->steps = result.total_steps;
        if (result.step > 0)
            cr_emit(server->sink, CR_EVENT_INFO, "train.resumed", NULL, CR_FIELD("step", result.step),
                    CR_FIELD("steps", result.total_steps));
    }
    if (split->step < split->steps)
        train(split);
    else // by the same trainer: the tail's structure may have been chosen by the data
        cr_worker_save(split->worker, split->values, server->config->tuning.output_dir);
    return CR_OK;
}

enum cr_status cr_split_server_tick(struct cr_server *server)
{
    if (server->split->phase == GATHERING) return gather(server);
    if (server->split->phase != OVER) return take_result(server);
    return server->split->serve ? cr_split_serve_tick(server->split->serve) : CR_OK;
}
