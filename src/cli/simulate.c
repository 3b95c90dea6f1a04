// carrel simulate: runs a server and all its silos on this machine, each in a process of its own, over TLS on
// loopback. Only the distance is simulated.
#include "cli/admitted.h"
#include "cli/command.h"
#include "cli/reporter.h"
#include "cli/simulated_silo.h"

#include "base/file.h"
#include "base/socket.h"
#include "base/thread.h"
#include "federation/role_options.h"
#include "format/json.h"
#include "format/options.h"
#include "tuning/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_MILLISECONDS = 200,
    OVERRIDES = CR_ROLE_OVERRIDES - 4, // this many are added here
};

struct simulation {
    struct cr_config config;
    const char *path;
    const struct cr_flag_list *overrides;
    struct cr_reporter reporter;
    struct cr_child server;
    struct cr_local_accelerators accelerators; // the server's, of a split model
    struct cr_simulated_silo *silos;           // [config.silos.count]
    bool invited;
};

static const struct cr_silo_config *silo_at(const struct simulation *simulation, size_t i)
{
    return (const struct cr_silo_config *)simulation->config.silos.items + i;
}

// Starts the accelerators of a split model's server, which does the training.
static enum cr_status hire_for_server(struct simulation *simulation)
{
    const struct cr_tuning_config *tuning = &simulation->config.tuning;
    if (!cr_tuning_config_split(tuning)) return CR_OK;
    return cr_local_accelerators_hire(tuning, simulation->config.federation.state_dir, tuning->threads,
                                      cr_run_dir_lock(simulation->reporter.run), &simulation->accelerators);
}

// Writes them as a setting of the server.
static enum cr_status say_accelerators(const struct cr_local_accelerators *accelerators,
                                       struct cr_buffer *out)
{
    CR_TRY(cr_append_format(out, "slicing.accelerators=["));
    for (size_t i = 0; i < accelerators->count; i++) {
        CR_TRY(cr_append_format(out, "%s", i > 0 ? ", " : ""));
        CR_TRY(cr_json_append_string(out, cr_slice_of_string(accelerators->items[i].address)));
    }
    return cr_append_format(out, "]");
}

static enum cr_status start_server(struct simulation *simulation)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer accelerators = {0};
    const char *arguments[2 * CR_ROLE_OVERRIDES + 4] = {"serve", simulation->path, "--json"};
    size_t count = 3;
    for (size_t i = 0; i < simulation->overrides->count; i++) {
        arguments[count++] = "--set";
        arguments[count++] = simulation->overrides->items[i];
    }
    if (simulation->accelerators.count > 0) {
        CR_TRY(say_accelerators(&simulation->accelerators, &accelerators));
        arguments[count++] = "--set";
        arguments[count++] = cr_buffer_text(&accelerators);
    }
    return cr_child_start("carrel-enclave", arguments, (const int[]){-1, -1, -1},
                          cr_run_dir_lock(simulation->reporter.run), &simulation->server);
}

// The number of threads of each silo's processes, such that all together use the machine.
static size_t threads_of_silo(const struct simulation *simulation)
{
    if (simulation->config.tuning.threads > 0) return simulation->config.tuning.threads;
    size_t share = cr_processors() / simulation->config.silos.count;
    return share > 0 ? share : 1;
}

static enum cr_status invite_all(struct simulation *simulation)
{
    if (simulation->invited) return CR_OK;
    simulation->invited = true;
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_invite(&simulation->silos[i]));
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_join(&simulation->silos[i]));
    return CR_OK;
}

static enum cr_status receive(void *context, const struct cr_event *event)
{
    struct simulation *simulation = context;
    struct cr_event_sink sink = cr_reporter_sink(&simulation->reporter);
    sink.receive(sink.context, event);
    return strcmp(event->name, "server.listening") == 0 ? invite_all(simulation) : CR_OK;
}

// Reads the output of all silos. An accelerator that ended ends the simulation; its silo ends too, but the
// accelerator is the one to report.
static enum cr_status follow_silos(struct simulation *simulation, bool wait)
{
    CR_TRY(cr_local_accelerators_check(&simulation->accelerators, "the server"));
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_check_accelerators(&simulation->silos[i]));
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_follow(&simulation->silos[i], wait));
    return CR_OK;
}

// A silo that failed before the server ended ends the simulation: nobody would start it again.
static enum cr_status check_silos(const struct simulation *simulation)
{
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_check(&simulation->silos[i]));
    return CR_OK;
}

static enum cr_status watch(struct simulation *simulation)
{
    for (enum cr_child_news news = CR_CHILD_QUIET; news != CR_CHILD_ENDED;) {
        CR_TRY(cr_child_read(&simulation->server, POLL_MILLISECONDS, receive, simulation, &news));
        cr_run_dir_tick(simulation->reporter.run);
        cr_progress_tick(&simulation->reporter.progress);
        if (cr_child_signal() || simulation->reporter.progress.broken)
            return cr_fail(CR_CANCELLED, "stopped (start again to go on)");
        CR_TRY(follow_silos(simulation, false));
        // If the server fails, its silos fail too, but the server's message is the one to show.
        if (news == CR_CHILD_QUIET) CR_TRY(check_silos(simulation));
    }
    cr_child_reap(&simulation->server, true);
    enum cr_status status = cr_child_result(&simulation->server);
    if (status != CR_OK) return cr_fail_within(status, "the server");
    // A split model's training needs no silos: one that reconnects during it may look for a server that has
    // ended.
    if (cr_tuning_config_split(&simulation->config.tuning)) return follow_silos(simulation, false);
    CR_TRY(follow_silos(simulation, true));
    return check_silos(simulation);
}

// Asks all to stop before waiting for any.
static void stop_all(struct simulation *simulation)
{
    size_t count = simulation->config.silos.count;
    for (size_t i = 0; i < count; i++) cr_child_pass_on(&simulation->silos[i].trusted, cr_child_signal());
    for (size_t i = 0; i < count; i++) cr_simulated_silo_end(&simulation->silos[i]);
    cr_child_stop(&simulation->server);
    cr_local_accelerators_end(&simulation->accelerators);
}

// Evaluates the result on each silo's held-out data, if it has any.
static enum cr_status evaluate(struct simulation *simulation)
{
    const struct cr_tuning_config *tuning = &simulation->config.tuning;
    bool adapter = tuning->method != CR_METHOD_FULL;
    bool any = false;
    for (size_t i = 0; i < simulation->config.silos.count; i++) any |= silo_at(simulation, i)->eval != NULL;
    if (!any) return CR_OK;
    struct cr_event_sink sink = cr_reporter_sink(&simulation->reporter);
    CR_CLEANUP(cr_compute_release) struct cr_compute *compute = NULL;
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    CR_TRY(cr_compute_new(tuning->threads, &compute));
    CR_TRY(cr_session_open(adapter ? tuning->model_name_or_path : tuning->output_dir,
                           adapter ? tuning->output_dir : NULL, tuning->dtype,
                           cr_tuning_config_in_8bit(tuning), compute, &sink, &session));
    const struct cr_dataset_options options = cr_data_options(&tuning->data);
    for (size_t i = 0; i < simulation->config.silos.count; i++) {
        const struct cr_silo_config *silo = silo_at(simulation, i);
        struct cr_tally tally = {0};
        if (!silo->eval) continue;
        CR_TRY(cr_session_evaluate(&session, silo->eval, &options, &sink, &tally));
        cr_emit(&sink, CR_EVENT_INFO, "simulate.eval", NULL, CR_FIELD_TEXT("silo", silo->name),
                CR_FIELD("loss", tally.loss_sum / (double)tally.labelled),
                CR_FIELD("accuracy", (double)tally.correct / (double)tally.labelled),
                CR_FIELD("labelled", tally.labelled));
    }
    return CR_OK;
}

// Before the work, checks the files that are used after it.
static enum cr_status check_held_out(const struct simulation *simulation)
{
    const struct cr_tuning_config *tuning = &simulation->config.tuning;
    struct cr_dataset_options options = cr_data_options(&tuning->data);
    CR_CLEANUP(cr_tokenizer_release) struct cr_tokenizer *tokenizer = NULL;
    struct cr_model_config model;
    for (size_t i = 0; i < simulation->config.silos.count; i++) {
        const struct cr_silo_config *silo = silo_at(simulation, i);
        struct cr_dataset *data = NULL;
        if (!silo->eval) continue;
        if (!tokenizer) {
            CR_TRY(cr_tokenizer_open(tuning->model_name_or_path, &tokenizer));
            CR_TRY(cr_model_config_read(tuning->model_name_or_path, &model));
            options.vocabulary = model.vocabulary;
        }
        enum cr_status status = cr_dataset_open(silo->eval, tokenizer, &options, &data);
        cr_dataset_free(data);
        if (status != CR_OK) return cr_fail_within(status, "silo %s: eval", silo->name);
    }
    return CR_OK;
}

static enum cr_status open_silos(struct simulation *simulation)
{
    size_t threads = threads_of_silo(simulation);
    int lock = cr_run_dir_lock(simulation->reporter.run);
    CR_TRY(cr_allocate(simulation->config.silos.count, sizeof *simulation->silos, &simulation->silos));
    for (size_t i = 0; i < simulation->config.silos.count; i++) simulation->silos[i] = CR_SIMULATED_SILO_NONE;
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_open(&simulation->config, i, threads, lock, &simulation->silos[i]));
    return CR_OK;
}

static enum cr_status run(struct simulation *simulation)
{
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_simulated_silo_hire(&simulation->silos[i]));
    CR_TRY(hire_for_server(simulation));
    CR_TRY(start_server(simulation));
    return watch(simulation);
}

// Reports who was admitted on what grounds, by the logs of both ends.
static enum cr_status tell_admissions(const struct simulation *simulation, const struct cr_event_sink *sink)
{
    if (!simulation->config.federation.appraisal_policy) return CR_OK; // no evidence was required
    CR_TRY(cr_admissions_tell(simulation->config.federation.state_dir, "the server", sink));
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        CR_TRY(cr_admissions_tell(simulation->silos[i].state, silo_at(simulation, i)->name, sink));
    return CR_OK;
}

// In a network namespace of its own loopback may be down. Silos would wait for it, as for any network.
static enum cr_status check_loopback(void)
{
    enum { PATIENCE = 5 }; // seconds
    CR_CLEANUP(cr_socket_close) int listener = -1, line = -1;
    char name[CR_SOCKET_NAME_SIZE];
    CR_TRY(cr_socket_listen("127.0.0.1:0", &listener));
    CR_TRY(cr_socket_name(listener, name));
    return cr_socket_connect(name, PATIENCE, &line);
}

static enum cr_status simulate(struct simulation *simulation)
{
    if (simulation->config.silos.count == 0)
        return cr_fail(CR_INVALID, "%s: silos: lists none to simulate", simulation->path);
    if (simulation->config.federation.job)
        return cr_fail(CR_INVALID, "%s: federation.job: a simulation signs its own", simulation->path);
    const int release = simulation->config.federation.release;
    if (release != CR_RELEASE_ALL && release != CR_RELEASE_SERVER)
        return cr_fail(CR_INVALID,
                       "%s: federation.release: a simulation's result is in output_dir alone: all or server",
                       simulation->path);
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        if (!cr_file_exists(silo_at(simulation, i)->data))
            return cr_fail(CR_NOT_FOUND, "%s: silo %s: data: %s does not exist", simulation->path,
                           silo_at(simulation, i)->name, silo_at(simulation, i)->data);
    CR_TRY(check_held_out(simulation));
    enum cr_status loopback = check_loopback();
    if (loopback != CR_OK) return cr_fail_within(loopback, "loopback, over which a simulation runs");
    struct cr_event_sink sink = cr_reporter_sink(&simulation->reporter);
    if (simulation->config.tuning.slicing.pads == CR_PADS_MODE_PEER)
        cr_emit(&sink, CR_EVENT_WARNING, "simulate.warning", cr_peer_pads_warning,
                CR_FIELD("accelerators", CR_LOCAL_ACCELERATORS));
    CR_TRY(cr_child_catch_signals());
    CR_TRY(open_silos(simulation));
    enum cr_status status = run(simulation);
    char why[2048];
    snprintf(why, sizeof why, "%s", status == CR_OK ? "" : cr_error_message());
    stop_all(simulation);
    if (status != CR_OK) return cr_fail(status, "%s", why);
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        cr_simulated_silo_tell(&simulation->silos[i], &sink);
    CR_TRY(tell_admissions(simulation, &sink));
    return evaluate(simulation);
}

static enum cr_status report(struct simulation *simulation, bool json)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer settings = {0};
    CR_TRY(cr_options_write(&cr_config_table, &simulation->config, &settings));
    CR_TRY(cr_reporter_open(&simulation->reporter, "simulate", json, simulation->config.tuning.output_dir));
    cr_run_dir_settings(simulation->reporter.run, cr_buffer_slice(&settings));
    return cr_reporter_close(&simulation->reporter, simulate(simulation));
}

enum cr_status cr_command_simulate(int argc, char **argv)
{
    const char *items[CR_ROLE_OVERRIDES], *path;
    struct cr_flag_list overrides = {.items = items, .capacity = OVERRIDES};
    bool json = false, done;
    const struct cr_flag flag_items[] = {
        {"set", CR_FLAG_STRINGS, &overrides, "KEY=VALUE", "override one setting; may be given several times"},
        {"json", CR_FLAG_BOOL, &json, NULL, "progress as JSON lines on stdout"},
    };
    const struct cr_flags flags = {
        "carrel simulate CONFIG [options]",
        "Runs a whole federation on this machine: carrel-enclave once as the server and once for each of "
        "`silos`,\nover TLS on loopback; with slicing, a carrel-accelerator (two with pads: peer) beside "
        "each "
        "silo, or beside\nthe server of a split model. What they say is in federation.state_dir/silos/NAME: "
        "log, accelerator.log and\naccelerator-2.log; the server's lie in federation.state_dir. An "
        "interrupted "
        "simulation goes on when it is\nstarted again.",
        flag_items,
        sizeof flag_items / sizeof *flag_items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &path, NULL, &done));
    if (done) return CR_OK;
    struct simulation simulation = {.path = path,
                                    .overrides = &overrides,
                                    .server = CR_CHILD_NONE,
                                    .accelerators = CR_LOCAL_ACCELERATORS_NONE};
    // A simulation must not be reachable from other machines.
    items[overrides.count++] = "federation.address=127.0.0.1:0";
    items[overrides.count++] = "federation.advertise=127.0.0.1:0";
    CR_TRY(cr_config_read_with(path, items, overrides.count, &simulation.config));
    if (simulation.config.tuning.split.inference) { // a simulation has an end
        items[overrides.count++] = "split.inference=false";
        simulation.config.tuning.split.inference = false;
    }
    enum cr_status status = report(&simulation, json);
    for (size_t i = 0; simulation.silos && i < simulation.config.silos.count; i++)
        cr_simulated_silo_release(&simulation.silos[i]);
    free(simulation.silos);
    cr_local_accelerators_release(&simulation.accelerators);
    cr_child_release(&simulation.server);
    cr_config_release(&simulation.config);
    return status;
}
