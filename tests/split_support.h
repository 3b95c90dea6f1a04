// What tests of a split model's server share: one of the small model, on a thread of its own, and a silo that
// says what it likes.
#ifndef CARREL_TESTS_SPLIT_SUPPORT_H
#define CARREL_TESTS_SPLIT_SUPPORT_H

#include "sealing_support.h"
#include "temporary.h"
#include "tuning_support.h"

#include "base/clock.h"
#include "channel/connection.h"
#include "federation/invitation.h"
#include "federation/server.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WIDTH = 24, LONGEST = 32, ROW = 2 * WIDTH + 4 }; // of the small model, in bfloat16

static struct cr_config config;
static pthread_t server_thread;
static atomic_bool stop, ended;
static enum cr_status server_status;
static struct cr_loop *loop;
static struct cr_base_digest front;

static struct test_silo {
    struct cr_token token;
    struct cr_identity *identity;
    struct cr_tls *tls;
    struct cr_connection *connection;
    bool open, closed, enrolled;
    enum cr_status status;
    char why[1200];
    size_t answers;
    uint64_t held;            // of the last Held
    struct cr_message answer; // the last
} silo;

static bool go_on(void *context)
{
    (void)context;
    return !atomic_load(&stop);
}

static void *run_server(void *context)
{
    static const struct cr_event_sink nobody = {0};
    server_status = cr_server_run(&config, &test_key, &cr_learner_tuning, &nobody, go_on, context);
    atomic_store(&ended, true);
    return NULL;
}

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)context;
    (void)connection;
    silo.open = true;
    return CR_OK;
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)context;
    (void)connection;
    if (message->type == CR_FRAME_HELD) silo.held = message->held.examples;
    if (message->type == CR_FRAME_HELD || message->type == CR_FRAME_NEXT || message->type == CR_FRAME_SCORE) {
        silo.answers++;
        silo.answer = *message;
    }
    if (message->type != CR_FRAME_ENROLLED) return CR_OK;
    silo.enrolled = true;
    return cr_identity_install(silo.identity, message->enrolled.certificate, message->enrolled.authority);
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    (void)context;
    silo.closed = true;
    silo.status = status;
    snprintf(silo.why, sizeof silo.why, "%s", why);
    silo.connection = NULL;
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static void until(const bool *done)
{
    double since = cr_clock_monotonic();
    while (!*done) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - since < 30);
    }
}

// Another one than before, which is cut where it is open still.
static void connect_silo(void)
{
    cr_connection_free(silo.connection);
    silo.connection = NULL;
    silo.open = silo.closed = false;
    cr_tls_free(silo.tls);
    silo.tls = NULL;
    if (silo.enrolled)
        assert_ok(cr_tls_new_member(silo.identity, &silo.tls));
    else
        assert_ok(cr_tls_new_enrol(silo.token.fingerprint, &silo.tls));
    assert_ok(cr_connection_open(loop, silo.tls, silo.token.address, 20, &handler, NULL, &silo.connection));
    until(&silo.open);
}

static void say(const struct cr_message *message)
{
    assert_ok(cr_connection_send(silo.connection, message, NULL, NULL));
}

static void enrol(const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, request = {0};
    assert_ok(cr_invite(&config, name, "silo", 60, &text));
    assert_ok(cr_token_parse(cr_buffer_text(&text), &silo.token));
    assert_ok(cr_identity_new(&silo.identity));
    assert_ok(cr_identity_request(silo.identity, &request));
    connect_silo();
    struct cr_message message = {
        .type = CR_FRAME_ENROL,
        .enrol = {.version = CR_PROTOCOL_VERSION, .request = cr_buffer_slice(&request)}};
    memcpy(message.enrol.secret, silo.token.secret, CR_SECRET_SIZE);
    say(&message);
    until(&silo.enrolled);
    cr_connection_close(silo.connection);
    until(&silo.closed);
}

static void release_silo(void)
{
    cr_connection_free(silo.connection);
    cr_tls_free(silo.tls);
    cr_identity_free(silo.identity);
    cr_token_release(&silo.token);
}

// With these settings of split, and others; when it returns "anne" is enrolled.
static int start_server(void **state, const char *split, const char *more)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    struct cr_compute *compute;
    struct cr_model *shape;
    if (make_directory(state) != 0) return -1;
    assert_ok(cr_append_format(
        &yaml,
        "{model_name_or_path: %s, output_dir: %s/out, dtype: float32, threads: 1, data: {max_length: %d}, "
        "split: {activations: bfloat16, layers: 1%s}, federation: {address: '127.0.0.1:0', state_dir: "
        "%s/server%s}\n",
        SMALL_MODEL, directory, LONGEST, split, directory, more));
    assert_ok(cr_config_parse(cr_buffer_slice(&yaml), "test", &config));
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_SHAPE, NULL, compute, CR_F32, &shape));
    assert_ok(cr_base_digest_front(shape, SMALL_MODEL, false, 1, &front));
    cr_model_free(shape);
    cr_compute_free(compute);
    assert_ok(cr_loop_new(&loop));
    assert_int_equal(pthread_create(&server_thread, NULL, run_server, NULL), 0);
    for (double since = cr_clock_monotonic(); !cr_file_exists(in_directory("server/port"));) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < 20);
    }
    enrol("anne");
    return 0;
}

static int stop_server(void **state, enum cr_status expected)
{
    atomic_store(&stop, true);
    pthread_join(server_thread, NULL);
    assert_int_equal(server_status, expected);
    release_silo();
    cr_loop_free(loop);
    cr_config_release(&config);
    return remove_directory(state);
}

static struct cr_message offer_of(uint64_t examples, uint64_t rows)
{
    struct cr_message offer = {.type = CR_FRAME_OFFER, .offer = {.examples = examples, .rows = rows}};
    memcpy(offer.offer.front, front.model, CR_SHA256_SIZE);
    memset(offer.offer.data, 3, CR_SHA256_SIZE);
    return offer;
}

// Back as a member; what it offers is taken.
static void offer(uint64_t examples, uint64_t rows)
{
    connect_silo();
    struct cr_message message = offer_of(examples, rows);
    size_t answers = silo.answers;
    say(&message);
    while (silo.answers == answers && !silo.closed) assert_ok(cr_loop_step(loop, 0.05));
    if (silo.closed) fail_msg("%s", silo.why);
}

static void refused(enum cr_status status, const char *part)
{
    until(&silo.closed);
    if (silo.status != status || !strstr(silo.why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo.status), silo.why, part);
}

// Some rows of an example: small numbers, and labels.
static unsigned char body[LONGEST * 2 * ROW];

static void fill(size_t rows)
{
    memset(body, 0, sizeof body);
    for (size_t i = 0; i < rows * WIDTH; i++) body[2 * i + 1] = 0x3f;
    for (size_t i = 0; i < rows; i++) memcpy(body + rows * 2 * WIDTH + 4 * i, &(int32_t){(int32_t)i + 1}, 4);
}

static void cut(uint64_t example, uint64_t first, uint64_t rows, size_t size)
{
    unsigned char *copy; // which goes out after this returns
    assert_ok(cr_allocate(size, 1, &copy));
    memcpy(copy, body, size);
    const struct cr_message message = {.type = CR_FRAME_CUT,
                                       .cut = {.example = example, .first = first, .rows = rows},
                                       .body = {copy, size}};
    assert_ok(cr_connection_send(silo.connection, &message, free, copy));
}

#endif
