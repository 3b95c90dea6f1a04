#include "cli/bench_federation.h"
#include "cli/bench_directory.h"

#include "base/clock.h"
#include "channel/connection.h"
#include "crypto/random.h"
#include "federation/aggregate.h"
#include "federation/server.h"
#include "federation/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SILOS = CR_BENCH_SILOS,
    NUMBERS = 1 << 21,    // distinct values from which all updates are made
    SHIFT = 32771,        // between the starts of two silos' updates
    FOLD_VALUES = 4 << 20 // values of an update for cr_bench_fold
};
static const double step_seconds = 0.2, patience = 120;

// Value i of silo s is numbers[(i + s * SHIFT) % NUMBERS], so no update needs memory of its own, and any
// piece of one can be sent from this table.
static enum cr_status make_numbers(float **out)
{
    CR_FREE float *numbers = NULL;
    CR_TRY(cr_allocate(NUMBERS + CR_CHUNK, sizeof *numbers, &numbers));
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(5, "bench updates", &stream));
    for (size_t i = 0; i < NUMBERS; i++) numbers[i] = (float)cr_draws_uniform(stream) - 0.5F;
    cr_draws_free(stream);
    memcpy(numbers + NUMBERS, numbers, CR_CHUNK * sizeof *numbers);
    *out = numbers;
    numbers = NULL;
    return CR_OK;
}

static const float *piece_of(const float *numbers, size_t silo, uint64_t first)
{
    return numbers + (first + silo * SHIFT) % NUMBERS;
}

static uint64_t weight_of(size_t silo)
{
    return 100 + silo;
}

static enum cr_status digest_of(const float *numbers, size_t silo, size_t count,
                                unsigned char out[CR_SHA256_SIZE])
{
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_TRY(cr_hasher_new(&hasher));
    for (size_t i = 0; i < count; i += CR_CHUNK) {
        const unsigned char *bytes = (const unsigned char *)piece_of(numbers, silo, i);
        CR_TRY(
            cr_hasher_add(hasher, (struct cr_slice){bytes, cr_least(count - i, CR_CHUNK) * sizeof(float)}));
    }
    return cr_hasher_finish(hasher, out);
}

static enum cr_status check_mean(const float *numbers, const float *mean, size_t count)
{
    double total = 0;
    for (size_t s = 0; s < SILOS; s++) total += (double)weight_of(s);
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t s = 0; s < SILOS; s++) sum += (double)weight_of(s) * (double)*piece_of(numbers, s, i);
        if (mean[i] != (float)(sum / total))
            return cr_fail(CR_INTERNAL, "bench: value %zu of the mean is %.9g, not %.9g", i, (double)mean[i],
                           sum / total);
    }
    return CR_OK;
}

static enum cr_status fold_all(const float *numbers, struct cr_aggregate *aggregate, struct cr_pool *pool)
{
    while (!cr_aggregate_done(aggregate)) {
        size_t first, size, refused;
        cr_aggregate_wanted(aggregate, &first, &size);
        for (size_t s = 0; s < SILOS; s++)
            CR_TRY(cr_aggregate_put(aggregate, s, piece_of(numbers, s, first)));
        cr_aggregate_turn(aggregate);
        CR_TRY(cr_aggregate_fold(aggregate, pool, &refused));
    }
    return CR_OK;
}

static enum cr_status fold_with(struct cr_pool *pool, double *rate)
{
    struct cr_aggregate_silo silos[SILOS];
    CR_FREE float *numbers = NULL;
    CR_FREE float *mean = NULL;
    CR_TRY(make_numbers(&numbers));
    CR_TRY(cr_allocate(FOLD_VALUES, sizeof *mean, &mean));
    for (size_t s = 0; s < SILOS; s++) {
        silos[s].weight = weight_of(s);
        CR_TRY(digest_of(numbers, s, FOLD_VALUES, silos[s].digest));
    }
    struct cr_aggregate *aggregate;
    CR_TRY(cr_aggregate_new(silos, SILOS, FOLD_VALUES, CR_CHUNK / 2, mean, &aggregate));
    double begin = cr_clock_monotonic();
    enum cr_status status = fold_all(numbers, aggregate, pool);
    *rate = (double)SILOS * FOLD_VALUES * sizeof(float) / (cr_clock_monotonic() - begin);
    cr_aggregate_free(aggregate);
    return status == CR_OK ? check_mean(numbers, mean, FOLD_VALUES / 16) : status;
}

enum cr_status cr_bench_fold(size_t threads, double *rate)
{
    struct cr_pool *pool;
    CR_TRY(cr_pool_new(threads, &pool));
    enum cr_status status = fold_with(pool, rate);
    cr_pool_free(pool);
    return status;
}

// The server's learner: a vector and its next values.
struct flat {
    float *values, *numbers;
};

static void flat_free(void *learner)
{
    struct flat *flat = learner;
    if (!flat) return;
    free(flat->values);
    free(flat->numbers);
    free(flat);
}

static enum cr_status flat_open(const struct cr_config *config, const struct cr_event_sink *sink, void **out)
{
    (void)config;
    (void)sink;
    struct flat *flat;
    CR_TRY(cr_allocate(1, sizeof *flat, &flat));
    enum cr_status status = cr_allocate(CR_BENCH_VALUES, sizeof(float), &flat->values);
    if (status == CR_OK) status = make_numbers(&flat->numbers);
    if (status != CR_OK)
        flat_free(flat);
    else
        *out = flat;
    return status;
}

static float *flat_values(void *learner, size_t *count)
{
    *count = CR_BENCH_VALUES;
    return ((struct flat *)learner)->values;
}

static enum cr_status flat_digest(void *learner, unsigned char out[CR_SHA256_SIZE])
{
    (void)learner;
    memset(out, 1, CR_SHA256_SIZE);
    return CR_OK;
}

static enum cr_status flat_save(void *learner, const char *directory)
{
    (void)directory;
    const struct flat *flat = learner;
    return check_mean(flat->numbers, flat->values, FOLD_VALUES);
}

static enum cr_status flat_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
    return CR_OK;
}

// The server calls only these.
static const struct cr_learner_kind flat_kind = {.open = flat_open,
                                                 .free = flat_free,
                                                 .values = flat_values,
                                                 .digest = flat_digest,
                                                 .save = flat_save,
                                                 .base = flat_base};

struct run;

struct silo {
    struct run *run;
    size_t number;
    struct cr_identity *identity;
    unsigned char digest[CR_SHA256_SIZE];
    struct cr_tls *tls;
    struct cr_connection *connection; // NULL once it has ended
};

struct run {
    const float *numbers;
    struct silo silos[SILOS];
    char address[CR_ADDRESS_SIZE];
    pthread_t thread;
    bool started;
    struct cr_loop *loop;
    size_t open;
    atomic_bool failed, stopping;
    char why[1024];
    double last_trained, stored;
};

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)context;
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
    return cr_connection_send(connection, &hello, NULL, NULL);
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    struct silo *silo = context;
    struct cr_message reply = {0};
    switch (message->type) {
    case CR_FRAME_JOB:
        reply = (struct cr_message){.type = CR_FRAME_READY, .ready.count = CR_BENCH_VALUES};
        memset(reply.ready.structure, 1, CR_SHA256_SIZE);
        break;
    case CR_FRAME_BEGIN:
        reply = (struct cr_message){
            .type = CR_FRAME_TRAINED,
            .trained = {.round = message->begin.round, .labelled = weight_of(silo->number)}};
        memcpy(reply.trained.start, message->begin.start, CR_SHA256_SIZE);
        memcpy(reply.trained.digest, silo->digest, CR_SHA256_SIZE);
        break;
    case CR_FRAME_PULL:
        reply = (struct cr_message){
            .type = CR_FRAME_VALUES,
            .values = {.round = message->pull.round, .first = message->pull.first},
            .body = {(const unsigned char *)piece_of(silo->run->numbers, silo->number, message->pull.first),
                     message->pull.count * sizeof(float)}};
        break;
    case CR_FRAME_FINISHED:
        cr_connection_close(connection);
        return CR_OK;
    default:
        return CR_OK;
    }
    return cr_connection_send(connection, &reply, NULL, NULL);
}

static void fail_run(struct run *run, const char *why)
{
    if (atomic_load(&run->failed)) return;
    snprintf(run->why, sizeof run->why, "%s", why);
    atomic_store(&run->failed, true);
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    struct silo *silo = context;
    if (status != CR_OK) fail_run(silo->run, why);
    silo->run->open--;
    silo->connection = NULL;
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static enum cr_status run_silos(struct run *run)
{
    for (size_t s = 0; s < SILOS; s++) {
        struct silo *silo = &run->silos[s];
        CR_TRY(cr_tls_new_member(silo->identity, &silo->tls));
        CR_TRY(cr_connection_open(run->loop, silo->tls, run->address, patience, &handler, silo,
                                  &silo->connection));
        run->open++;
    }
    while (run->open > 0 && !atomic_load(&run->stopping) && !atomic_load(&run->failed))
        CR_TRY(cr_loop_step(run->loop, step_seconds));
    return CR_OK;
}

static void *silos_thread(void *context)
{
    struct run *run = context;
    if (run_silos(run) != CR_OK) fail_run(run, cr_error_message());
    return NULL;
}

static void on_event(void *context, const struct cr_event *event)
{
    struct run *run = context;
    if (strcmp(event->name, "server.listening") == 0) {
        snprintf(run->address, sizeof run->address, "%s", cr_event_text(event, "address"));
        run->started = pthread_create(&run->thread, NULL, silos_thread, run) == 0;
        if (!run->started) fail_run(run, "no thread can be started");
    } else if (strcmp(event->name, "round.trained") == 0) {
        run->last_trained = cr_clock_monotonic();
    } else if (strcmp(event->name, "round.done") == 0) {
        run->stored = cr_clock_monotonic();
    }
}

static bool keep_going(void *context)
{
    return !atomic_load(&((struct run *)context)->failed);
}

// Gives each silo a certificate and a place in the roster, as an enrolment does.
static enum cr_status enrol(struct cr_state_dir *state, struct silo *silo)
{
    struct cr_member member = {.role = "silo"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer authority = {0};
    snprintf(member.name, sizeof member.name, "silo-%03zu", silo->number);
    CR_TRY(cr_identity_new(&silo->identity));
    CR_TRY(cr_identity_request(silo->identity, &request));
    CR_TRY(cr_identity_issue(state->authority, cr_buffer_slice(&request), member.name, member.role,
                             cr_clock_unix(), &certificate));
    CR_TRY(cr_identity_authority_der(state->authority, &authority));
    CR_TRY(cr_identity_install(silo->identity, cr_buffer_slice(&certificate), cr_buffer_slice(&authority)));
    CR_TRY(cr_certificate_der_key_digest(cr_buffer_slice(&certificate), member.key));
    return cr_state_enrol(state, &member);
}

static const struct cr_sealing_key bench_key = {"bench", {1}};

static enum cr_status set_up(struct run *run, const char *state_dir)
{
    CR_TRY(cr_loop_new(&run->loop));
    struct cr_state_dir *state;
    CR_TRY(cr_state_open(state_dir, &bench_key, &state));
    enum cr_status status = CR_OK;
    for (size_t s = 0; s < SILOS && status == CR_OK; s++) {
        struct silo *silo = &run->silos[s];
        silo->run = run;
        silo->number = s;
        status = enrol(state, silo);
        if (status == CR_OK) status = digest_of(run->numbers, s, CR_BENCH_VALUES, silo->digest);
    }
    cr_state_close(state);
    return status;
}

static enum cr_status serve(struct run *run, size_t threads, const char *directory)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    CR_TRY(cr_append_format(
        &yaml,
        "model_name_or_path: none\noutput_dir: %s/out\nthreads: %zu\nfederation: {rounds: 1, "
        "local_steps: 1, min_clients: %d, address: '127.0.0.1:0', state_dir: %s}\n",
        directory, threads, SILOS, directory));
    struct cr_config config;
    CR_TRY(cr_config_parse(cr_buffer_slice(&yaml), "bench", &config));
    struct cr_event_sink sink = {on_event, run};
    enum cr_status status = cr_server_run(&config, &bench_key, &flat_kind, &sink, keep_going, run);
    cr_config_release(&config);
    return atomic_load(&run->failed) ? cr_fail(CR_INTERNAL, "a silo of the benchmark: %s", run->why) : status;
}

static enum cr_status measure(struct run *run, size_t threads, const char *directory, double *rate)
{
    CR_FREE float *numbers = NULL;
    CR_TRY(make_numbers(&numbers));
    run->numbers = numbers;
    enum cr_status status = set_up(run, directory);
    if (status == CR_OK) status = serve(run, threads, directory);
    atomic_store(&run->stopping, true);
    if (run->started) pthread_join(run->thread, NULL);
    for (size_t s = 0; s < SILOS; s++) {
        cr_connection_free(run->silos[s].connection);
        cr_tls_free(run->silos[s].tls);
        cr_identity_free(run->silos[s].identity);
    }
    cr_loop_free(run->loop);
    CR_TRY(status);
    *rate = (double)SILOS * CR_BENCH_VALUES * sizeof(float) / (run->stored - run->last_trained);
    return CR_OK;
}

enum cr_status cr_bench_federation(size_t threads, double *rate)
{
    CR_FREE struct run *run = NULL;
    CR_FREE char *directory = NULL;
    CR_TRY(cr_allocate(1, sizeof *run, &run));
    CR_TRY(cr_bench_directory_make(&directory));
    enum cr_status status = measure(run, threads, directory, rate);
    cr_bench_directory_remove(directory);
    return status;
}
