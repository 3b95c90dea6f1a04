// carrel simulate: a server and all its silos on this machine, each in a process of its own, over TLS on
// loopback. What is simulated is the distance alone.
#include "cli/command.h"

#include "base/event.h"
#include "base/file.h"
#include "federation/invitation.h"
#include "federation/progress.h"
#include "format/json.h"
#include "tuning/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_LIMIT = 65536, FIELDS = 16, POLL_MILLISECONDS = 200, OVERRIDES = 64 };

extern char **environ;

struct child {
    pid_t pid; // 0: not running
    int exit_code;
    char *log; // path; NULL for the server, which speaks to us
};

struct simulation {
    struct cr_config config;
    const char *path;
    const struct cr_flag_list *overrides;
    struct cr_progress progress;
    struct child server;
    struct child *silos; // [config.silos.count]
    int events;          // the server's JSON lines
    struct cr_buffer line;
    bool invited;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static const struct cr_silo_config *silo_at(const struct simulation *simulation, size_t i)
{
    return (const struct cr_silo_config *)simulation->config.silos.items + i;
}

// Starts carrel-enclave with these descriptors as 0, 1 and 2; -1 leaves one as it is.
static enum cr_status start(const char *const *arguments, const int fds[3], pid_t *pid)
{
    CR_FREE char *program = NULL;
    CR_TRY(cr_command_sibling("carrel-enclave", &program));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0) posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    // Strings of our own that spawning only reads.
    int error = posix_spawn(pid, program, &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    errno = error;
    return error == 0 ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be started", program);
}

static enum cr_status start_server(struct simulation *simulation)
{
    const char *arguments[2 * (OVERRIDES + 2) + 8] = {"carrel-enclave", "serve", simulation->path, "--json"};
    size_t count = 4;
    for (size_t i = 0; i < simulation->overrides->count; i++) {
        arguments[count++] = "--set";
        arguments[count++] = simulation->overrides->items[i];
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return cr_fail_errno(CR_IO, "pipe");
    simulation->events = ends[0];
    CR_CLEANUP(close_fd) int theirs = ends[1];
    return start(arguments, (int[]){-1, theirs, -1}, &simulation->server.pid);
}

// What the silo's process is given: threads so that all together have the machine.
static size_t threads_of_silo(const struct simulation *simulation)
{
    if (simulation->config.tuning.threads > 0) return simulation->config.tuning.threads;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t share = (size_t)(processors > 0 ? processors : 1) / simulation->config.silos.count;
    return share > 0 ? share : 1;
}

// The token goes through a pipe: the list of processes is for everyone to read.
static enum cr_status pipe_token(const struct simulation *simulation, const char *name, int *out)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer token = {0};
    CR_TRY(cr_invite(&simulation->config, name, "silo", 3600, &token));
    CR_TRY(cr_append_u8(&token, '\n'));
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return cr_fail_errno(CR_IO, "pipe");
    ssize_t put = write(ends[1], token.data, token.size); // a pipe holds far more
    close(ends[1]);
    *out = ends[0];
    return put == (ssize_t)token.size ? CR_OK : cr_fail_errno(CR_IO, "pipe");
}

static enum cr_status start_silo(struct simulation *simulation, size_t number)
{
    const struct cr_silo_config *silo = silo_at(simulation, number);
    struct child *child = &simulation->silos[number];
    CR_FREE char *folder = NULL;
    CR_FREE char *state = NULL;
    CR_TRY(cr_path_join(simulation->config.federation.state_dir, "silos", &folder));
    CR_TRY(cr_path_join(folder, silo->name, &state));
    CR_TRY(cr_directory_make(state, true));
    CR_TRY(cr_path_join(state, "log", &child->log));
    CR_CLEANUP(close_fd) int log = open(child->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log < 0) return cr_fail_errno(CR_IO, "%s", child->log);
    CR_CLEANUP(close_fd) int token = -1;
    CR_TRY(pipe_token(simulation, silo->name, &token));
    char threads[24];
    snprintf(threads, sizeof threads, "%zu", threads_of_silo(simulation));
    const char *const arguments[] = {
        "carrel-enclave", "join",    "-",
        "--state",        state,     "--data",
        silo->data,       "--model", simulation->config.tuning.model_name_or_path,
        "--threads",      threads,   NULL};
    return start(arguments, (int[]){token, log, log}, &child->pid);
}

static enum cr_status invite_all(struct simulation *simulation)
{
    if (simulation->invited) return CR_OK;
    simulation->invited = true;
    for (size_t i = 0; i < simulation->config.silos.count; i++) CR_TRY(start_silo(simulation, i));
    return CR_OK;
}

// Shows one of the server's JSON lines as the event that it was.
static enum cr_status show(struct simulation *simulation, struct cr_slice line)
{
    struct cr_json *root;
    CR_TRY(cr_json_parse(line, "the server's events", &root));
    struct cr_event_field fields[FIELDS];
    struct cr_event event = {.level = CR_EVENT_INFO, .name = "", .fields = fields};
    void *position = NULL;
    const char *key;
    const struct cr_json *value;
    while (cr_json_next(root, &position, &key, &value) && event.field_count < FIELDS) {
        const char *text = (const char *)cr_json_string(value).data;
        if (strcmp(key, "event") == 0)
            event.name = text ? text : "";
        else if (strcmp(key, "message") == 0)
            event.message = text;
        else if (strcmp(key, "level") == 0)
            event.level = text && strcmp(text, "warning") == 0 ? CR_EVENT_WARNING : CR_EVENT_INFO;
        else
            fields[event.field_count++] =
                text ? CR_FIELD_TEXT(key, text) : CR_FIELD(key, cr_json_number(value, 0));
    }
    struct cr_event_sink sink = cr_progress_sink(&simulation->progress);
    sink.receive(sink.context, &event);
    enum cr_status status = strcmp(event.name, "server.listening") == 0 ? invite_all(simulation) : CR_OK;
    cr_json_free(root);
    return status;
}

// Reads what the server said; *ended once it says nothing more.
static enum cr_status read_events(struct simulation *simulation, bool *ended)
{
    char chunk[4096];
    ssize_t got = read(simulation->events, chunk, sizeof chunk);
    if (got < 0) return errno == EINTR ? CR_OK : cr_fail_errno(CR_IO, "the server's events");
    *ended = got == 0;
    for (ssize_t i = 0; i < got; i++) {
        if (chunk[i] != '\n') {
            if (simulation->line.size >= LINE_LIMIT)
                return cr_fail(CR_PROTOCOL, "the server's events: a line without end");
            CR_TRY(cr_append_u8(&simulation->line, (uint8_t)chunk[i]));
            continue;
        }
        CR_TRY(show(simulation, cr_buffer_slice(&simulation->line)));
        cr_buffer_clear(&simulation->line);
    }
    return CR_OK;
}

static void reap(struct child *child, int options)
{
    int status;
    if (child->pid == 0 || waitpid(child->pid, &status, options) != child->pid) return;
    child->pid = 0;
    child->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The last line of a log, which is where a program says why it ended.
static void last_line(const char *path, char *out, size_t size)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    snprintf(out, size, "it left no word");
    if (!path || cr_file_read(path, 1 << 24, &text) != CR_OK || text.size == 0) return;
    text.data[text.size - 1] = 0;
    const char *line = strrchr(cr_buffer_text(&text), '\n');
    line = line ? line + 1 : cr_buffer_text(&text);
    if (strncmp(line, "carrel: ", 8) == 0) line += 8;
    snprintf(out, size, "%s", line);
}

static enum cr_status status_of_exit(int exit_code)
{
    static const struct {
        int code;
        enum cr_status status;
    } codes[] = {{2, CR_INVALID}, {3, CR_IO}, {4, CR_DENIED}, {5, CR_TIMEOUT}, {130, CR_CANCELLED}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == exit_code) return codes[i].status;
    return CR_INTERNAL;
}

// A silo that ended badly before the server did ends the simulation: nobody would start it again.
static enum cr_status check_silos(struct simulation *simulation)
{
    for (size_t i = 0; i < simulation->config.silos.count; i++) {
        struct child *child = &simulation->silos[i];
        reap(child, WNOHANG);
        if (child->exit_code == 0) continue;
        char why[1024];
        last_line(child->log, why, sizeof why);
        return cr_fail(status_of_exit(child->exit_code), "silo %s: %s (its log: %s)",
                       silo_at(simulation, i)->name, why, child->log);
    }
    return CR_OK;
}

static enum cr_status watch(struct simulation *simulation)
{
    for (bool ended = false; !ended;) {
        struct pollfd wait = {.fd = simulation->events, .events = POLLIN};
        int ready = poll(&wait, 1, POLL_MILLISECONDS);
        if (interrupted || simulation->progress.broken)
            return cr_fail(CR_CANCELLED, "stopped (start again to go on)");
        if (ready > 0) CR_TRY(read_events(simulation, &ended));
        // A server that fails takes its silos along; its own word is the one to show.
        if (ready == 0) CR_TRY(check_silos(simulation));
    }
    reap(&simulation->server, 0);
    if (simulation->server.exit_code != 0)
        return cr_fail(status_of_exit(simulation->server.exit_code),
                       "the server ended with code %d (see above)", simulation->server.exit_code);
    for (size_t i = 0; i < simulation->config.silos.count; i++) reap(&simulation->silos[i], 0);
    return check_silos(simulation);
}

static void stop_all(struct simulation *simulation)
{
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        if (simulation->silos[i].pid > 0) kill(simulation->silos[i].pid, SIGTERM);
    if (simulation->server.pid > 0) kill(simulation->server.pid, SIGTERM);
    for (size_t i = 0; i < simulation->config.silos.count; i++) reap(&simulation->silos[i], 0);
    reap(&simulation->server, 0);
}

// The result on each silo's held-out data, where it has some.
static enum cr_status evaluate(struct simulation *simulation)
{
    const struct cr_tuning_config *tuning = &simulation->config.tuning;
    bool lora = tuning->method == CR_METHOD_LORA;
    bool any = false;
    for (size_t i = 0; i < simulation->config.silos.count; i++) any |= silo_at(simulation, i)->eval != NULL;
    if (!any) return CR_OK;
    struct cr_event_sink sink = cr_progress_sink(&simulation->progress);
    struct cr_compute *compute;
    struct cr_session session = {0};
    CR_TRY(cr_compute_new(tuning->threads, &compute));
    enum cr_status status =
        cr_session_open(lora ? tuning->model_name_or_path : tuning->output_dir,
                        lora ? tuning->output_dir : NULL, tuning->dtype, compute, &sink, &session);
    const struct cr_dataset_options options = {.max_length = tuning->data.max_length,
                                               .train_on_prompt = tuning->data.train_on_prompt};
    for (size_t i = 0; status == CR_OK && i < simulation->config.silos.count; i++) {
        const struct cr_silo_config *silo = silo_at(simulation, i);
        struct cr_tally tally = {0};
        if (!silo->eval) continue;
        status = cr_session_evaluate(&session, silo->eval, &options, &tally);
        if (status == CR_OK)
            cr_emit(&sink, CR_EVENT_INFO, "simulate.eval", NULL, CR_FIELD_TEXT("silo", silo->name),
                    CR_FIELD("loss", tally.loss_sum / (double)tally.labelled),
                    CR_FIELD("accuracy", (double)tally.correct / (double)tally.labelled),
                    CR_FIELD("labelled", tally.labelled));
    }
    cr_session_release(&session);
    cr_compute_free(compute);
    return status;
}

static enum cr_status simulate(struct simulation *simulation)
{
    if (simulation->config.silos.count == 0)
        return cr_fail(CR_INVALID, "%s: silos: lists none to simulate", simulation->path);
    for (size_t i = 0; i < simulation->config.silos.count; i++)
        if (!cr_file_exists(silo_at(simulation, i)->data))
            return cr_fail(CR_NOT_FOUND, "%s: silo %s: data: %s does not exist", simulation->path,
                           silo_at(simulation, i)->name, silo_at(simulation, i)->data);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    CR_TRY(cr_allocate(simulation->config.silos.count, sizeof *simulation->silos, &simulation->silos));
    enum cr_status status = start_server(simulation);
    if (status == CR_OK) status = watch(simulation);
    char why[2048];
    snprintf(why, sizeof why, "%s", status == CR_OK ? "" : cr_error_message());
    stop_all(simulation);
    if (status != CR_OK) return cr_fail(status, "%s", why);
    return evaluate(simulation);
}

enum cr_status cr_command_simulate(int argc, char **argv)
{
    const char *items[OVERRIDES + 2], *path;
    struct cr_flag_list overrides = {.items = items, .capacity = OVERRIDES};
    bool json = false, done;
    const struct cr_flag flag_items[] = {
        {"set", CR_FLAG_STRINGS, &overrides, "KEY=VALUE", "override one setting; may be given several times"},
        {"json", CR_FLAG_BOOL, &json, NULL, "progress as JSON lines on stdout"},
    };
    const struct cr_flags flags = {"carrel simulate CONFIG [options]",
                                   "Runs a whole federation on this machine: carrel-enclave once as the "
                                   "server and once for each of `silos`,\n"
                                   "over TLS on loopback. The silos' own output is in "
                                   "federation.state_dir/silos/NAME/log. An interrupted\n"
                                   "simulation goes on when it is started again.",
                                   flag_items,
                                   sizeof flag_items / sizeof *flag_items,
                                   1,
                                   1};
    size_t count;
    CR_TRY(cr_command_flags(&flags, argc, argv, &path, &count, &done));
    if (done) return CR_OK;
    struct simulation simulation = {.path = path, .overrides = &overrides, .events = -1};
    // Nothing of a simulation is to be reached from elsewhere.
    items[overrides.count++] = "federation.address=127.0.0.1:0";
    items[overrides.count++] = "federation.advertise=127.0.0.1:0";
    CR_TRY(cr_config_read_with(path, items, overrides.count, &simulation.config));
    cr_progress_init(&simulation.progress, json);
    enum cr_status status = cr_progress_end(&simulation.progress, simulate(&simulation));
    for (size_t i = 0; simulation.silos && i < simulation.config.silos.count; i++)
        free(simulation.silos[i].log);
    free(simulation.silos);
    close_fd(&simulation.events);
    cr_buffer_release(&simulation.line);
    cr_config_release(&simulation.config);
    return status;
}
