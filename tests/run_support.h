// What the tests of whole runs share: server and silos in one process, each on its thread, with a learner
// that needs no model.
#ifndef CARREL_TESTS_RUN_SUPPORT_H
#define CARREL_TESTS_RUN_SUPPORT_H

#include "sealing_support.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/client.h"
#include "federation/invitation.h"
#include "federation/server.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { VALUES = 600000 }; // three chunks

// A learner whose step mixes values, the data's name and a momentum that outlives rounds.
struct toy {
    float *values, *momentum; // [VALUES]
    size_t step, total;
    float flavour;
    bool poisoned; // ends its steps with a value that is not finite
    bool other;    // claims another structure
    double pause;  // seconds per step
    size_t labelled;
};

static inline enum cr_status toy_open(const struct cr_config *config, const struct cr_event_sink *sink,
                                      void **out)
{
    (void)sink;
    struct toy *toy;
    CR_TRY(cr_allocate(1, sizeof *toy, &toy));
    CR_TRY(cr_allocate(VALUES, sizeof(float), &toy->values));
    CR_TRY(cr_allocate(VALUES, sizeof(float), &toy->momentum));
    for (size_t i = 0; i < VALUES; i++) toy->values[i] = sinf((float)i);
    toy->total = config->tuning.training.max_steps;
    const char *data = config->tuning.data.train ? config->tuning.data.train : "";
    for (const char *c = data; *c; c++) toy->flavour = toy->flavour * 1.1F + (float)*c / 128;
    toy->poisoned = strstr(data, "poison") != NULL;
    toy->other = strstr(config->tuning.model_name_or_path, "other") != NULL;
    toy->pause = strstr(data, "slow") ? 0.05 : 0;
    toy->labelled = 10 + strlen(data);
    *out = toy;
    return CR_OK;
}

static inline void toy_free(void *learner)
{
    struct toy *toy = learner;
    if (!toy) return;
    free(toy->values);
    free(toy->momentum);
    free(toy);
}

static inline float *toy_values(void *learner, size_t *count)
{
    *count = VALUES;
    return ((struct toy *)learner)->values;
}

static inline enum cr_status toy_digest(void *learner, unsigned char out[32])
{
    memset(out, ((struct toy *)learner)->other ? 8 : 7, 32);
    return CR_OK;
}

static inline size_t toy_total(void *learner)
{
    return ((struct toy *)learner)->total;
}

static inline enum cr_status toy_seek(void *learner, size_t step)
{
    ((struct toy *)learner)->step = step;
    return CR_OK;
}

static inline void toy_reset(void *learner)
{
    memset(((struct toy *)learner)->momentum, 0, VALUES * sizeof(float));
}

static inline enum cr_status toy_run(void *learner, size_t steps, struct cr_tally *tally,
                                     bool (*keep_going)(void *context), void *context)
{
    struct toy *toy = learner;
    for (size_t s = 0; s < steps; s++) {
        for (size_t i = 0; i < VALUES; i++) {
            toy->momentum[i] = 0.5F * toy->momentum[i] + 0.01F * (toy->flavour - toy->values[i]);
            toy->values[i] += toy->momentum[i] + 1e-3F * (float)toy->step;
        }
        if (toy->poisoned) toy->values[VALUES - 1] = NAN;
        if (toy->pause > 0) usleep((useconds_t)(toy->pause * 1e6));
        toy->step++;
        tally->steps++;
        tally->labelled += toy->labelled;
        tally->tokens += 2 * toy->labelled;
        tally->loss_sum += (double)toy->labelled;
        if (!keep_going(context)) return cr_fail(CR_CANCELLED, "stopped");
    }
    return CR_OK;
}

static inline enum cr_status write_floats(const char *path, const struct cr_sealing *sealing,
                                          const struct toy *toy)
{
    struct cr_buffer bytes = {0};
    uint64_t step = toy->step;
    enum cr_status status = cr_append(&bytes, &step, sizeof step);
    if (status == CR_OK) status = cr_append(&bytes, toy->values, VALUES * sizeof(float));
    if (status == CR_OK) status = cr_append(&bytes, toy->momentum, VALUES * sizeof(float));
    if (status == CR_OK) status = cr_seal_write(path, sealing, cr_buffer_slice(&bytes));
    cr_buffer_release(&bytes);
    return status;
}

static inline enum cr_status toy_save(void *learner, const char *directory)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_directory_make(directory, false));
    CR_TRY(cr_path_join(directory, "values", &path));
    struct toy *toy = learner;
    return cr_file_write(path, (struct cr_slice){(const unsigned char *)toy->values, VALUES * sizeof(float)},
                         false);
}

static inline enum cr_status toy_save_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    return write_floats(path, sealing, learner);
}

static inline enum cr_status toy_load_state(void *learner, const struct cr_sealing *sealing, const char *path)
{
    struct toy *toy = learner;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_seal_load(path, sealing, 1 << 24, &bytes));
    uint64_t step;
    memcpy(&step, bytes.data, sizeof step);
    toy->step = (size_t)step;
    memcpy(toy->values, bytes.data + 8, VALUES * sizeof(float));
    memcpy(toy->momentum, bytes.data + 8 + VALUES * sizeof(float), VALUES * sizeof(float));
    return CR_OK;
}

static inline enum cr_status toy_base(void *learner, struct cr_base_digest *out)
{
    (void)learner;
    *out = (struct cr_base_digest){.model = {5}, .tokenizer = {6}};
    return CR_OK;
}

static inline size_t toy_step(void *learner)
{
    return ((struct toy *)learner)->step;
}

static const struct cr_learner_kind toy_kind = {
    toy_open, toy_free, toy_values,     toy_digest,     toy_total, toy_seek, toy_reset,
    toy_run,  toy_save, toy_save_state, toy_load_state, toy_base,  toy_step,
};

// One run of a program on a thread. It is stopped at once by `stop`, as by a signal.
struct program {
    pthread_t thread;
    atomic_bool stop, ended;
    enum cr_status status;
    char why[1024], warned[1024];
    const struct cr_config *config; // a server's
    struct cr_client_options options;
    char token[1024], state[512], data[64], model[64];
    atomic_int rounds_done; // seen in events
    atomic_int stop_at_round;
};

static inline bool go_on(void *context)
{
    struct program *program = context;
    return !atomic_load(&program->stop);
}

static inline void see(void *context, const struct cr_event *event)
{
    struct program *program = context;
    if (strcmp(event->name, "server.warning") == 0)
        snprintf(program->warned, sizeof program->warned, "%s", event->message);
    if (strcmp(event->name, "round.done") != 0 && strcmp(event->name, "client.trained") != 0) return;
    int done = atomic_fetch_add(&program->rounds_done, 1) + 1;
    if (done == atomic_load(&program->stop_at_round)) atomic_store(&program->stop, true);
}

static inline void *run_program(void *context)
{
    struct program *program = context;
    struct cr_event_sink sink = {see, program};
    program->status = program->config
                          ? cr_server_run(program->config, &test_key, &toy_kind, &sink, go_on, program)
                          : cr_client_run(&program->options, &toy_kind, &sink, go_on, program);
    if (program->status != CR_OK) snprintf(program->why, sizeof program->why, "%s", cr_error_message());
    atomic_store(&program->ended, true);
    return NULL;
}

static inline void start(struct program *program)
{
    atomic_store(&program->stop, false);
    atomic_store(&program->ended, false);
    atomic_store(&program->rounds_done, 0);
    assert_int_equal(pthread_create(&program->thread, NULL, run_program, program), 0);
}

static inline void wait_for(struct program *program)
{
    double since = cr_clock_monotonic();
    while (!atomic_load(&program->ended)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
    pthread_join(program->thread, NULL);
}

static char root[256];
static struct cr_config config;
static struct program server, silos[3];

static inline void set_up_run(const char *extra)
{
    static int number;
    const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    snprintf(root, sizeof root, "%s/carrel-test-%ld-%d", base, (long)getpid(), number++);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    assert_ok(
        cr_append_format(&yaml,
                         "model_name_or_path: base\noutput_dir: %s/out\nfederation:\n"
                         "  address: 127.0.0.1:0\n  state_dir: %s/server\n  rounds: 4\n  local_steps: 2\n"
                         "  progress_timeout: 20\n%s",
                         root, root, extra));
    assert_ok(cr_config_parse(cr_buffer_slice(&yaml), "test", &config));
    memset(&server, 0, sizeof server);
    memset(silos, 0, sizeof silos);
    server.config = &config;
}

static inline void tear_down_run(void)
{
    char command[300];
    cr_config_release(&config);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static inline void start_server(void)
{
    char port[300];
    snprintf(port, sizeof port, "%s/server/port", root);
    start(&server);
    double since = cr_clock_monotonic();
    while (!cr_file_exists(port) && !atomic_load(&server.ended)) {
        usleep(10000);
        assert_true(cr_clock_monotonic() - since < PATIENCE);
    }
}

static inline void invite(struct program *silo, const char *name, const char *data)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer token = {0};
    assert_ok(cr_invite(&config, name, "silo", 60, &token));
    snprintf(silo->token, sizeof silo->token, "%s", cr_buffer_text(&token));
    snprintf(silo->state, sizeof silo->state, "%s/%s", root, name);
    snprintf(silo->data, sizeof silo->data, "%s", data);
    silo->options = (struct cr_client_options){
        .token = silo->token, .state = silo->state, .key = &test_key, .model = "base", .data = silo->data};
}

// One silo that is refused, by itself; the server is then stopped.
static inline void refused(struct program *silo, enum cr_status status, const char *part)
{
    start(silo);
    wait_for(silo);
    if (silo->status != status || !strstr(silo->why, part))
        fail_msg("%s \"%s\" lacks \"%s\"", cr_status_name(silo->status), silo->why, part);
}

static inline void stop_server(void)
{
    atomic_store(&server.stop, true);
    wait_for(&server);
    tear_down_run();
}

#endif
