// A server against silos that speak the protocol as they like. The silos are scripts on the test's own loop;
// the server runs on a thread with a learner of a few values.
#include "sealing_support.h"

#include "base/clock.h"
#include "base/file.h"
#include "channel/connection.h"
#include "federation/invitation.h"
#include "federation/server.h"

#include <arpa/inet.h>
#include <float.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { VALUES = 8 };
static float learned[VALUES];

static enum cr_status few_open(const struct cr_config *config, const struct cr_event_sink *sink, void **out)
{
    (void)config;
    (void)sink;
    *out = learned;
    return CR_OK;
}

static void few_free(void *learner)
{
    (void)learner;
}

static float *few_values(void *learner, size_t *count)
{
    *count = VALUES;
    return learner;
}

static enum cr_status few_digest(void *learner, unsigned char out[32])
{
    (void)learner;
    memset(out, 7, 32);
    return CR_OK;
}

static enum cr_status few_save(void *learner, const char *directory)
{
    (void)learner;
    (void)directory;
    return CR_OK;
}

static enum cr_status few_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
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
    static const struct cr_event_sink nobody = {0};
    server_status = cr_server_run(&config, &test_key, &few, &nobody, go_on, NULL);
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
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
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

static void test_an_update_that_never_comes(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 3");
    enrol(&ben, "ben");
    ben.mute = true;
    say_ready(&ben); // alone it is enough; anne joins while it trains
    until_came(&ben, CR_FRAME_BEGIN, 1);
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_PULL, 1);
    // Neither saying it again nor a new connection gives it more time.
    for (int i = 0; i < 8 && !ben.closed; i++) {
        if (i == 3) {
            cr_connection_free(ben.connection);
            connect_silo(&ben);
            say_ready(&ben);
        }
        say_trained(&ben, 0, 10, 10);
        double since = cr_clock_monotonic();
        while (cr_clock_monotonic() - since < 1 && !ben.closed) assert_ok(cr_loop_step(loop, 0.05));
    }
    until_closed(&ben, CR_DENIED, "a piece of it did not come for 6 seconds");
    until_came(&anne, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
}

static void spend(double seconds)
{
    double since = cr_clock_monotonic();
    while (cr_clock_monotonic() - since < seconds) assert_ok(cr_loop_step(loop, 0.05));
}

// It was away when the collection began, and does not say again what it has.
static void test_a_silo_that_comes_back_and_says_nothing(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 6");
    enrol(&ben, "ben");
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 1);
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    say_trained(&ben, 0, 10, 10);
    spend(0.5);
    cr_connection_free(ben.connection);
    ben.connection = NULL;
    spend(0.5);
    say_trained(&anne, 0, 10, 10);
    until_came(&anne, CR_FRAME_PULL, 1);
    connect_silo(&ben);
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 2);
    until_closed(&ben, CR_DENIED, "a piece of it did not come for 12 seconds");
    until_came(&anne, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
}

// It asks for ever, for what there is not and for the result again, when the run is done.
static void test_a_silo_that_does_not_let_the_server_end(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 3");
    both_begin();
    ben.greedy = true; // it does not close
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_FINISHED, 1);
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) {
        assert_true(cr_clock_monotonic() - since < PATIENCE);
        if (!ben.closed)
            say(&ben, &(struct cr_message){.type = CR_FRAME_PULL, .pull = {.round = 1, .count = VALUES}});
        if (!ben.closed)
            say(&ben, &(struct cr_message){.type = CR_FRAME_PULL, .pull = {.round = 7, .count = 1}});
        spend(0.5);
    }
    tear_down_run(false);
}

static void test_silent_strangers_keep_nobody_out(void **state)
{
    (void)state;
    enum { STRANGERS = 80 }; // more than are let in
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 20");
    enrol(&anne, "anne");
    cr_connection_close(anne.connection);
    until_closed(&anne, CR_OK, "");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(strrchr(anne.token.address, ':') + 1));
    int fds[STRANGERS];
    for (size_t i = 0; i < STRANGERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&address, sizeof address), 0);
    }
    connect_silo(&anne);
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    for (size_t i = 0; i < STRANGERS; i++) close(fds[i]);
    tear_down_run(true);
}

static void test_an_update_that_changes(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    both_begin();
    ben.mute = true;
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_PULL, 1);
    ben.values[0] = 1;
    say_trained(&ben, 0, 10, 10); // once: its disk may have been lost
    until_came(&ben, CR_FRAME_PULL, 2);
    say_trained(&ben, 0, 11, 10);
    until_closed(&ben, CR_DENIED, "changed again and again");
    until_closed(&anne, CR_DENIED, "cannot close");
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended) && cr_clock_monotonic() - since < PATIENCE)
        assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(server_status, CR_DENIED);
    server_status = CR_OK; // as it should be
    tear_down_run(false);
}

static void test_weights_at_the_bounds(void **state)
{
    (void)state;
    set_up_run("rounds: 2, min_clients: 1, progress_timeout: 20");
    both_begin();
    // None: refused, and the round, with the next, goes on without waiting for it.
    double since = cr_clock_monotonic();
    say_trained(&ben, 0, 0, 0);
    until_closed(&ben, CR_DENIED, "no labelled token");
    anne.values[0] = FLT_MAX;
    say_trained(&anne, 0, UINT64_MAX, DBL_MAX);
    until_came(&anne, CR_FRAME_BEGIN, 2);
    assert_true(isfinite(anne.closed_loss));
    connect_silo(&ben);
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 2);
    // The largest of all: the sums hold them, the losses' sum is shown as nothing.
    ben.values[0] = FLT_MAX;
    say_trained(&anne, 1, UINT64_MAX, DBL_MAX);
    say_trained(&ben, 1, UINT64_MAX, DBL_MAX);
    until_came(&anne, CR_FRAME_FINISHED, 1);
    assert_true(cr_clock_monotonic() - since < 15);
    assert_true(anne.closed_loss == 0);
    until_came(&ben, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
    assert_true(learned[0] == FLT_MAX);
}

static void test_a_refused_silo_is_not_waited_for(void **state)
{
    (void)state;
    set_up_run("rounds: 2, min_clients: 1, progress_timeout: 30");
    both_begin();
    ben.values[3] = NAN;
    double since = cr_clock_monotonic();
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&anne, CR_FRAME_BEGIN, 2);
    say_trained(&anne, 1, 10, 10);
    until_came(&anne, CR_FRAME_FINISHED, 1);
    assert_true(cr_clock_monotonic() - since < 15);
    until_closed(&ben, CR_DENIED, "value 3 of 8 is not finite");
    tear_down_run(false);
}

static void test_a_result_that_silos_do_not_get(void **state)
{
    (void)state;
    static const char *const rules[] = {"server", "sealed", "all"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char settings[64];
        snprintf(settings, sizeof settings, "rounds: 1, min_clients: 1, release: %s", rules[i]);
        set_up_run(settings);
        enrol(&anne, "anne");
        anne.greedy = true;
        say_ready(&anne);
        until_came(&anne, CR_FRAME_BEGIN, 1);
        say_trained(&anne, 0, 10, 10);
        if (i < 2)
            until_closed(&anne, CR_DENIED, "the job's federation.release gives silos no result");
        else
            until_came(&anne, CR_FRAME_VALUES, 1);
        tear_down_run(true);
    }
}

// A silo that was killed before it had kept the answer asks again with its key; a thief has another.
static void test_a_token_is_good_for_one_key(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_invite(&config, "anne", "silo", 60, &text));
    assert_ok(cr_token_parse(cr_buffer_text(&text), &anne.token));
    ben.token = anne.token;
    assert_ok(cr_identity_new(&anne.identity));
    assert_ok(cr_identity_new(&ben.identity));
    anne.deaf = true;
    send_enrol(&anne);
    until_came(&anne, CR_FRAME_ENROLLED, 1);
    cr_connection_free(anne.connection);
    send_enrol(&ben);
    until_closed(&ben, CR_DENIED, "used already");
    anne.deaf = false;
    send_enrol(&anne);
    until_came(&anne, CR_FRAME_ENROLLED, 2);
    send_enrol(&ben);
    until_closed(&ben, CR_DENIED, "used already");
    tear_down_run(true);
}

static void test_a_replaced_key_is_cut_off(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
    enrol(&anne, "anne");
    say_ready(&anne);
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
    say(&anne, &hello);
    until_came(&anne, CR_FRAME_JOB, 1);
    enrol(&ben, "anne"); // the name, with another key
    until_closed(&anne, CR_DENIED, "enrolled anew");
    assert_false(ben.closed);
    tear_down_run(true);
}

static void test_a_member_has_one_connection(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
    enrol(&anne, "anne");
    struct silo first = anne;
    cr_connection_set_context(first.connection, &first);
    anne.tls = NULL;
    connect_silo(&anne);
    until_closed(&first, CR_DENIED, "took over"); // though neither had said anything
    assert_false(anne.closed);
    cr_tls_free(first.tls);
    tear_down_run(true);
}

static void test_messages_out_of_order(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    enrol(&anne, "anne");
    say_trained(&anne, 0, 10, 10);
    until_closed(&anne, CR_PROTOCOL, "Trained came before Ready");
    connect_silo(&anne);
    say_ready(&anne);
    say_ready(&anne);
    until_closed(&anne, CR_PROTOCOL, "anne said Ready twice");
    connect_silo(&anne);
    struct cr_message wrong = {.type = CR_FRAME_BEGIN};
    say(&anne, &wrong);
    until_closed(&anne, CR_PROTOCOL, "Begin frame is not accepted");
    // Nobody asked: of no use, and no fault. Then values that are not there.
    connect_silo(&anne);
    say_ready(&anne);
    say_trained(&anne, UINT64_MAX, UINT64_MAX, -DBL_MAX);
    wrong = (struct cr_message){.type = CR_FRAME_VALUES, .values = {.first = UINT64_MAX}};
    say(&anne, &wrong);
    wrong = (struct cr_message){.type = CR_FRAME_PULL, .pull = {.first = 1, .count = UINT64_MAX}};
    say(&anne, &wrong);
    until_closed(&anne, CR_PROTOCOL, "were asked for, where there are 8");
    tear_down_run(true);
}

// A silo that claims to remember more than was ever said costs itself its connection, and the run nothing.
static void test_a_memory_that_is_a_lie(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    enrol(&anne, "anne");
    struct cr_message lie = {.type = CR_FRAME_READY,
                             .ready = {.count = VALUES, .has_seen = true, .seen = 1000}};
    memset(lie.ready.structure, 7, 32);
    say(&anne, &lie);
    until_closed(&anne, CR_DENIED, "anne shows a receipt that this server never gave");
    connect_silo(&anne);
    say_ready(&anne);
    enrol(&ben, "ben");
    say_ready(&ben);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    tear_down_run(true);
}

// Who has shown no certificate is told nothing of rounds and silos, not even when the run fails.
static void test_a_stranger_hears_nothing_of_the_run(void **state)
{
    (void)state;
    struct silo stranger = {0};
    set_up_run("rounds: 2, min_clients: 2, progress_timeout: 30");
    both_begin();
    stranger.token = anne.token;
    assert_ok(cr_identity_new(&stranger.identity));
    connect_silo(&stranger);
    ben.values[3] = NAN;
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_closed(&anne, CR_DENIED, "round 1 cannot close: 1 of at least 2 silos are left");
    until_closed(&stranger, CR_DENIED, "the server refused: the server ends");
    assert_null(strstr(stranger.why, "round"));
    release(&stranger);
    while (!atomic_load(&ended)) assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(server_status, CR_DENIED);
    server_status = CR_OK;
    tear_down_run(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_update_that_never_comes),
        cmocka_unit_test(test_a_memory_that_is_a_lie),
        cmocka_unit_test(test_a_silo_that_comes_back_and_says_nothing),
        cmocka_unit_test(test_a_silo_that_does_not_let_the_server_end),
        cmocka_unit_test(test_silent_strangers_keep_nobody_out),
        cmocka_unit_test(test_an_update_that_changes),
        cmocka_unit_test(test_weights_at_the_bounds),
        cmocka_unit_test(test_a_refused_silo_is_not_waited_for),
        cmocka_unit_test(test_a_result_that_silos_do_not_get),
        cmocka_unit_test(test_a_token_is_good_for_one_key),
        cmocka_unit_test(test_a_replaced_key_is_cut_off),
        cmocka_unit_test(test_a_member_has_one_connection),
        cmocka_unit_test(test_messages_out_of_order),
        cmocka_unit_test(test_a_stranger_hears_nothing_of_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
