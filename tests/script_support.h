// What the tests of a silo share: a server that says what it likes, a script on the test's own loop, and the
// silo on a thread, with a learner of a few values and slow steps.
#ifndef CARREL_TESTS_SCRIPT_SUPPORT_H
#define CARREL_TESTS_SCRIPT_SUPPORT_H

#include "few_support.h"
#include "folder_support.h"

#include "attestation/manifest.h"
#include "base/clock.h"
#include "base/file.h"
#include "channel/listener.h"
#include "channel/token.h"
#include "federation/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { STEPS = 6 };

static atomic_bool opens_late; // the learner opens once this is false

static inline enum cr_status open_late(const struct cr_config *config, const struct cr_event_sink *sink,
                                       void **out)
{
    while (atomic_load(&opens_late)) usleep(1000);
    return few_open(config, sink, out);
}

// Steps that the learner's optimiser has gathered something in.
static atomic_size_t gathered;

static inline size_t few_steps(void *learner)
{
    (void)learner;
    return STEPS;
}

static inline enum cr_status few_seek(void *learner, size_t step)
{
    (void)learner;
    (void)step;
    return CR_OK;
}

static inline void few_reset(void *learner)
{
    (void)learner;
    gathered = 0;
}

static inline enum cr_status few_run(void *learner, size_t steps, struct cr_tally *tally,
                                     bool (*keep_going)(void *context), void *context)
{
    for (size_t i = 0; i < steps; i++) {
        usleep(300000);
        ((float *)learner)[0] += 1;
        gathered++;
        tally->steps++;
        tally->labelled += 10;
        if (!keep_going(context)) return cr_fail(CR_CANCELLED, "stopped");
    }
    return CR_OK;
}

static inline enum cr_status few_save(void *learner, const char *path)
{
    return cr_file_write(path, (struct cr_slice){learner, sizeof learned}, true);
}

static inline enum cr_status few_save_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    const size_t kept = gathered;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_append(&bytes, learner, sizeof learned));
    CR_TRY(cr_append(&bytes, &kept, sizeof kept));
    return cr_seal_write(path, sealing, cr_buffer_slice(&bytes));
}

static inline enum cr_status few_load_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    size_t kept;
    CR_TRY(cr_seal_load(path, sealing, sizeof learned + sizeof kept, &bytes));
    memcpy(learner, bytes.data, sizeof learned);
    memcpy(&kept, bytes.data + sizeof learned, sizeof kept);
    gathered = kept;
    return CR_OK;
}

static const struct cr_learner_kind few = {open_late,      few_free,  few_values, few_digest, few_steps,
                                           few_seek,       few_reset, few_run,    few_save,   few_save_state,
                                           few_load_state, few_base,  few_steps};

static char root[256], state_path[300];
static struct cr_buffer token, settings, form; // of the job: its settings, and it signed
static struct cr_manifest manifest;            // what is signed, but for its settings
static struct cr_loop *loop;
static struct cr_identity *authority, *identity, *owner;
static struct cr_tls *tls;
static struct cr_listener *listener;
static struct cr_connection *silo; // the member's connection
static size_t came[CR_FRAME_TYPES];
static uint64_t trained_round;
static unsigned char run_id[32];
static struct cr_message ready; // the last one that came
static pthread_t thread;
static atomic_bool ended, stopping;
static enum cr_status silo_status;
static char silo_why[1024];
static const char *model_path = "base", *data_path = "data", *own_accelerator, *output;
static const struct cr_sealing_key *silo_key = &test_key;
static bool silent;                                 // the server does not answer Hello
static bool no_accelerators;                        // that the silo would name
static bool job_first;                              // before the silo is enrolled
static const struct cr_identity *shown_authority;   // NULL: the own
static size_t values_size = VALUES * sizeof(float); // bytes of each answer to Pull

static inline void say(const struct cr_message *message)
{
    assert_ok(cr_connection_send(silo, message, NULL, NULL));
}

// What a server answers to Hello.
static inline void say_job(void)
{
    if (form.size > 0) say(&(struct cr_message){.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(&form)});
    struct cr_message answer = {.type = CR_FRAME_JOB};
    memcpy(answer.job.run, run_id, sizeof run_id);
    say(&answer);
}

static inline enum cr_status on_enrol(struct cr_connection *connection, const struct cr_message *message)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    CR_TRY(
        cr_identity_issue(authority, message->enrol.request, "anne", "silo", cr_clock_unix(), &certificate));
    CR_TRY(cr_identity_authority_der(shown_authority ? shown_authority : authority, &ca));
    struct cr_message enrolled = {
        .type = CR_FRAME_ENROLLED,
        .enrolled = {.certificate = cr_buffer_slice(&certificate), .authority = cr_buffer_slice(&ca)}};
    const struct cr_message first = {.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(&form)};
    if (form.size > 0) CR_TRY(cr_connection_send(connection, &first, NULL, NULL));
    const struct cr_message job = {.type = CR_FRAME_JOB};
    if (job_first) CR_TRY(cr_connection_send(connection, &job, NULL, NULL));
    return cr_connection_send(connection, &enrolled, NULL, NULL);
}

static inline enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    (void)context;
    if (!cr_connection_peer(connection)->anonymous) silo = connection;
    return CR_OK;
}

static inline enum cr_status on_received(void *context, struct cr_connection *connection,
                                         const struct cr_message *message)
{
    (void)context;
    static const float zeros[VALUES];
    came[message->type]++;
    if (message->type == CR_FRAME_ENROL) return on_enrol(connection, message);
    if (message->type == CR_FRAME_HELLO && !silent) say_job();
    if (message->type == CR_FRAME_READY) ready = *message;
    if (message->type == CR_FRAME_TRAINED) trained_round = message->trained.round;
    if (message->type == CR_FRAME_PULL)
        say(&(struct cr_message){.type = CR_FRAME_VALUES,
                                 .values = {.round = message->pull.round, .first = message->pull.first},
                                 .body = {(const unsigned char *)zeros, values_size}});
    return CR_OK;
}

static inline void on_closed(void *context, struct cr_connection *connection, enum cr_status status,
                             const char *why)
{
    (void)context;
    (void)status;
    (void)why;
    if (connection == silo) silo = NULL;
    cr_connection_free(connection);
}

static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};

static inline void *on_accepted(void *context, struct cr_connection *connection)
{
    (void)connection;
    return context;
}

static inline bool go_on(void *context)
{
    (void)context;
    return !atomic_load(&stopping);
}

static inline void *run_silo(void *context)
{
    (void)context;
    static const char *accelerators[] = {"unix:/of/this/silo"};
    const bool sliced = strstr(cr_buffer_text(&settings), "slicing");
    const struct cr_client_options options = {
        .token = cr_buffer_text(&token),
        .state = state_path,
        .key = silo_key,
        .model = model_path,
        .data = data_path,
        .accelerators = {.items = accelerators, .count = sliced && !no_accelerators},
        .own_accelerator = own_accelerator,
        .output = output};
    silo_status = cr_client_run(&options, &few, &told_counter, go_on, NULL);
    snprintf(silo_why, sizeof silo_why, "%s", silo_status == CR_OK ? "" : cr_error_message());
    atomic_store(&ended, true);
    return NULL;
}

static inline void start_silo(void)
{
    gathered = 0;
    memset(came, 0, sizeof came);
    atomic_store(&ended, false);
    atomic_store(&stopping, false);
    assert_int_equal(pthread_create(&thread, NULL, run_silo, NULL), 0);
}

static inline void until_came(enum cr_frame_type type, size_t wanted)
{
    double since = cr_clock_monotonic();
    while (came[type] < wanted) {
        assert_ok(cr_loop_step(loop, 0.05));
        if (atomic_load(&ended)) fail_msg("the silo ended: %s", silo_why);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static inline void until_ended(enum cr_status status, const char *part)
{
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
    pthread_join(thread, NULL);
    if (silo_status != status || !strstr(silo_why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo_status), silo_why, part);
}

static inline void begin(uint64_t round, unsigned char flaw)
{
    static const float zeros[VALUES];
    struct cr_message message = {.type = CR_FRAME_BEGIN, .begin = {.round = round, .count = VALUES}};
    assert_ok(cr_sha256((struct cr_slice){(const unsigned char *)zeros, sizeof zeros}, message.begin.start));
    message.begin.start[0] ^= flaw;
    say(&message);
}

// What the server says from now on: the manifest with these settings, signed.
static inline void sign(struct cr_identity *signer)
{
    cr_buffer_clear(&form);
    manifest.settings = (char *)settings.data;
    assert_ok(cr_manifest_sign(&manifest, signer, &form));
}

// Gives the silo a token for that, and another place for what it keeps.
static inline void invite(void)
{
    static int number;
    struct cr_token text = {.name = "anne", .role = "silo", .expires = INT32_MAX};
    snprintf(state_path, sizeof state_path, "%s/anne-%d", root, number++);
    snprintf(text.address, sizeof text.address, "127.0.0.1:%u", cr_listener_port(listener));
    assert_ok(cr_identity_fingerprint(identity, text.fingerprint));
    memcpy(text.job, manifest.digest, CR_SHA256_SIZE);
    cr_buffer_clear(&token);
    assert_ok(cr_token_write(&text, &token));
}

static inline int set_up(void **state)
{
    (void)state;
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-client-%ld-%d", base, (long)getpid(), number++);
    struct cr_config config;
    assert_ok(cr_config_parse(cr_slice_of_string("{model_name_or_path: base, output_dir: out, federation: "
                                                 "{rounds: 2, local_steps: 3, progress_timeout: 20}}"),
                              "test", &config));
    cr_buffer_clear(&settings);
    assert_ok(cr_config_job(&config, &settings));
    cr_config_release(&config);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer ca = {0};
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix(), &authority));
    assert_ok(cr_identity_new(&identity));
    assert_ok(cr_identity_request(identity, &request));
    assert_ok(cr_identity_issue(authority, cr_buffer_slice(&request), "server", "server", cr_clock_unix(),
                                &certificate));
    assert_ok(cr_identity_authority_der(authority, &ca));
    assert_ok(cr_identity_install(identity, cr_buffer_slice(&certificate), cr_buffer_slice(&ca)));
    assert_ok(cr_loop_new(&loop));
    assert_ok(cr_tls_new_server(identity, &tls));
    assert_ok(cr_listener_new(loop, tls, "127.0.0.1:0", 20, on_accepted, &handler, &loop, &listener));
    assert_ok(cr_identity_new(&owner));
    manifest = (struct cr_manifest){.model = {5}, .tokenizer = {6}};
    assert_ok(cr_identity_fingerprint(identity, manifest.authority));
    sign(owner);
    invite();
    start_silo();
    until_came(CR_FRAME_READY, 1);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    cr_connection_free(silo);
    silo = NULL;
    cr_listener_free(listener);
    cr_tls_free(tls);
    cr_loop_free(loop);
    cr_identity_free(identity);
    cr_identity_free(authority);
    cr_identity_free(owner);
    cr_buffer_release(&token);
    cr_buffer_release(&settings);
    cr_buffer_release(&form);
    remove_folder(root);
    return 0;
}

#define WITH_SILO(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
