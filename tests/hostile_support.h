// A server on a thread, with a learner of a few values, and silos that speak the protocol as a test likes:
// scripts on the test's own loop.
#ifndef CARREL_TESTS_HOSTILE_SUPPORT_H
#define CARREL_TESTS_HOSTILE_SUPPORT_H

#include "few_support.h"
#include "folder_support.h"

#include "base/clock.h"
#include "base/file.h"
#include "channel/connection.h"
#include "federation/invitation.h"
#include "federation/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static enum cr_status few_save(void *learner, const char *directory)
{
    (void)learner;
    (void)directory;
    return CR_OK;
}

// What else a learner does, a server's does not.
static const struct cr_learner_kind few = {.open = few_open,
                                           .free = few_free,
                                           .values = few_values,
                                           .digest = few_digest,
                                           .save = few_save,
                                           .base = few_base};

static char root[256];
static struct cr_config config;
static pthread_t server_thread;
static atomic_bool stop, ended;
static enum cr_status server_status;
static char server_why[1024];

static bool go_on(void *context)
{
    (void)context;
    return !atomic_load(&stop);
}

static void *run_server(void *context)
{
    (void)context;
    server_status = cr_server_run(&config, &test_key, &few, &told_counter, go_on, NULL);
    snprintf(server_why, sizeof server_why, "%s", server_status == CR_OK ? "" : cr_error_message());
    atomic_store(&ended, true);
    return NULL;
}

struct silo {
    struct cr_token token;
    struct cr_identity *identity;
    struct cr_tls *tls;
    struct cr_connection *connection;
    bool open, closed;
    enum cr_status status;
    char why[2048];
    size_t came[CR_FRAME_TYPES];
    unsigned char start[32]; // of the last Begin
    double closed_loss;
    bool mute;   // does not answer Pull
    bool deaf;   // keeps no certificate
    bool greedy; // asks for the result
    float values[VALUES];
};

static struct cr_loop *loop;
static struct silo anne, ben;

static void say(struct silo *silo, const struct cr_message *message)
{
    assert_ok(cr_connection_send(silo->connection, message, NULL, NULL));
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)connection;
    ((struct silo *)context)->open = true;
    return CR_OK;
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    struct silo *silo = context;
    silo->came[message->type]++;
    if (message->type == CR_FRAME_ENROLLED && !silo->deaf)
        return cr_identity_install(silo->identity, message->enrolled.certificate,
                                   message->enrolled.authority);
    if (message->type == CR_FRAME_BEGIN) memcpy(silo->start, message->begin.start, 32);
    if (message->type == CR_FRAME_CLOSED) silo->closed_loss = message->closed.loss;
    if (message->type == CR_FRAME_FINISHED && silo->greedy)
        say(silo, &(struct cr_message){.type = CR_FRAME_PULL, .pull = {.round = 1, .count = VALUES}});
    else if (message->type == CR_FRAME_FINISHED)
        cr_connection_close(connection);
    if (message->type != CR_FRAME_PULL || silo->mute) return CR_OK;
    struct cr_message values = {.type = CR_FRAME_VALUES,
                                .values = {.round = message->pull.round, .first = message->pull.first},
                                .body = {(const unsigned char *)silo->values, sizeof silo->values}};
    return cr_connection_send(connection, &values, NULL, NULL);
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    struct silo *silo = context;
    silo->closed = true;
    silo->status = status;
    snprintf(silo->why, sizeof silo->why, "%s", why);
    silo->connection = NULL;
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static void step_until(const bool *done, const size_t *count, size_t wanted)
{
    double since = cr_clock_monotonic();
    while (done ? !*done : *count < wanted) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static void until_closed(struct silo *silo, enum cr_status status, const char *part)
{
    step_until(&silo->closed, NULL, 0);
    if (silo->status != status || !strstr(silo->why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo->status), silo->why, part);
}

static void until_came(struct silo *silo, enum cr_frame_type type, size_t wanted)
{
    step_until(NULL, &silo->came[type], wanted);
}

static void connect_silo(struct silo *silo)
{
    silo->open = silo->closed = false;
    cr_tls_free(silo->tls);
    silo->tls = NULL;
    if (cr_identity_certificate(silo->identity))
        assert_ok(cr_tls_new_member(silo->identity, &silo->tls));
    else
        assert_ok(cr_tls_new_enrol(silo->token.fingerprint, &silo->tls));
    assert_ok(
        cr_connection_open(loop, silo->tls, silo->token.address, 20, &handler, silo, &silo->connection));
    step_until(&silo->open, NULL, 0);
}

static void send_enrol(struct silo *silo)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    assert_ok(cr_identity_request(silo->identity, &request));
    connect_silo(silo);
    struct cr_message enrol = {
        .type = CR_FRAME_ENROL,
        .enrol = {.version = CR_PROTOCOL_VERSION, .request = cr_buffer_slice(&request)}};
    memcpy(enrol.enrol.secret, silo->token.secret, CR_SECRET_SIZE);
    say(silo, &enrol);
}

// With a key of its own, and back as a member.
static void enrol(struct silo *silo, const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_invite(&config, name, "silo", 60, &text));
    assert_ok(cr_token_parse(cr_buffer_text(&text), &silo->token));
    assert_ok(cr_identity_new(&silo->identity));
    send_enrol(silo);
    until_came(silo, CR_FRAME_ENROLLED, 1);
    cr_connection_close(silo->connection);
    until_closed(silo, CR_OK, "");
    connect_silo(silo);
}

static void say_ready(struct silo *silo)
{
    struct cr_message ready = {.type = CR_FRAME_READY, .ready.count = VALUES};
    memset(ready.ready.structure, 7, 32);
    say(silo, &ready);
}

static void say_trained(struct silo *silo, uint64_t round, uint64_t labelled, double loss_sum)
{
    struct cr_message trained = {.type = CR_FRAME_TRAINED,
                                 .trained = {.round = round, .labelled = labelled, .loss_sum = loss_sum}};
    memcpy(trained.trained.start, silo->start, 32);
    assert_ok(cr_sha256((struct cr_slice){(const unsigned char *)silo->values, sizeof silo->values},
                        trained.trained.digest));
    say(silo, &trained);
}

static void set_up_run(const char *settings)
{
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-hostile-%ld-%d", base, (long)getpid(), number++);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    assert_ok(cr_append_format(&yaml,
                               "model_name_or_path: base\noutput_dir: %s/out\nfederation: {address: "
                               "'127.0.0.1:0', state_dir: %s/server, local_steps: 1, %s}\n",
                               root, root, settings));
    assert_ok(cr_config_parse(cr_buffer_slice(&yaml), "test", &config));
    assert_ok(cr_loop_new(&loop));
    anne = ben = (struct silo){0};
    memset(learned, 0, sizeof learned);
    atomic_store(&stop, false);
    atomic_store(&ended, false);
    assert_int_equal(pthread_create(&server_thread, NULL, run_server, NULL), 0);
    char port[300];
    snprintf(port, sizeof port, "%s/server/port", root);
    double since = cr_clock_monotonic();
    while (!cr_file_exists(port)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static void release(struct silo *silo)
{
    cr_connection_free(silo->connection);
    cr_tls_free(silo->tls);
    cr_identity_free(silo->identity);
}

// Ends the run, and says how the server took it.
static void tear_down_run(bool stopped)
{
    atomic_store(&stop, stopped);
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
    pthread_join(server_thread, NULL);
    if (server_status != (stopped ? CR_CANCELLED : CR_OK)) fail_msg("the server: %s", server_why);
    release(&anne);
    release(&ben);
    cr_loop_free(loop);
    cr_config_release(&config);
    remove_folder(root);
}

static void both_begin(void)
{
    enrol(&anne, "anne");
    enrol(&ben, "ben");
    say_ready(&anne);
    say_ready(&ben);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    until_came(&ben, CR_FRAME_BEGIN, 1);
}

#endif
