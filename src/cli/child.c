#include "cli/child.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/signals.h"
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORD_LIMIT = 65536, // bytes of a line of errors; a longer line is split
    LOCK_FD = 3,        // the run directory's lock in carrel-enclave, which closes all descriptors above
};

static volatile sig_atomic_t caught;
static double caught_at;

// The signals block each other, so that caught_at is consistent.
static void on_signal(int number)
{
    double now = cr_clock_monotonic();
    if (caught == 0) {
        caught_at = now;
        caught = number;
    } else if (now - caught_at > 1) {
        cr_signals_end(number);
    }
}

enum cr_status cr_child_catch_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    return cr_signals_catch(on_signal, 0);
}

int cr_child_signal(void)
{
    return (int)caught;
}

void cr_child_pass_on(const struct cr_child *child, int number)
{
    if (child->pid > 0) kill(child->pid, number == SIGTERM ? SIGINT : SIGTERM);
}

static enum cr_status make_pipe(int *ours, int *theirs)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return cr_fail_errno(CR_IO, "pipe");
    *ours = ends[0];
    *theirs = ends[1];
    return CR_OK;
}

// Runs between fork and exec; returns only on failure.
static void become(const char *program, char *const *arguments, pid_t parent, const int fds[3], int lock)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return;
    if (getppid() != parent) _exit(1); // the parent died before the death signal was set
    int moved[3];
    for (int i = 0; i < 3; i++) {
        moved[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, LOCK_FD + 1); // above all targets of dup2
        if (fds[i] >= 0 && moved[i] < 0) return;
    }
    for (int i = 0; i < 3; i++)
        if (moved[i] >= 0 && dup2(moved[i], i) < 0) return;
    // Neither way leaves close-on-exec set.
    if (lock >= 0 && (lock == LOCK_FD ? fcntl(lock, F_SETFD, 0) != 0 : dup2(lock, LOCK_FD) < 0)) return;
    execv(program, arguments);
}

// fork, since posix_spawn cannot request a signal on the parent's death.
static enum cr_status spawn(const char *program, char *const *arguments, const int fds[3], int lock,
                            pid_t *out)
{
    CR_CLEANUP(cr_file_close) int failure = -1;
    CR_CLEANUP(cr_file_close) int theirs = -1;
    CR_TRY(make_pipe(&failure, &theirs));
    fflush(NULL);
    // This program may have inherited SIGCHLD as ignored; then the kernel would not report how a child ended.
    signal(SIGCHLD, SIG_DFL);
    pid_t self = getpid(), pid = fork();
    if (pid < 0) return cr_fail_errno(CR_IO, "%s: cannot be started", program);
    if (pid == 0) {
        // Must not be one of dup2's targets. Duplicated only if it is, since no descriptor may be left.
        int report = theirs > LOCK_FD ? theirs : fcntl(theirs, F_DUPFD_CLOEXEC, LOCK_FD + 1);
        become(program, arguments, self, fds, lock);
        int error = errno;
        _exit(write(report, &error, sizeof error) == (ssize_t)sizeof error ? 127 : 126);
    }
    cr_file_close(&theirs); // so that the read ends when exec closes the child's copy
    int error;
    ssize_t got;
    while ((got = read(failure, &error, sizeof error)) < 0 && errno == EINTR) {
    }
    if (got == (ssize_t)sizeof error) {
        waitpid(pid, NULL, 0);
        errno = error;
        return cr_fail_errno(errno == ENOENT ? CR_NOT_FOUND : CR_IO, "%s: cannot be started", program);
    }
    *out = pid;
    return CR_OK;
}

enum cr_status cr_child_start(const char *name, const char *const *arguments, const int streams[3], int lock,
                              struct cr_child *child)
{
    CR_FREE char *program = NULL;
    CR_FREE const char **whole = NULL;
    CR_TRY(cr_command_sibling(name, &program));
    size_t count = 0;
    while (arguments[count]) count++;
    CR_TRY(cr_allocate(count + 2, sizeof *whole, &whole));
    whole[0] = program;
    memcpy(whole + 1, arguments, count * sizeof *whole);
    // exec only reads the strings.
    char *const *argv = (char *const *)(uintptr_t)whole;
    CR_CLEANUP(cr_file_close) int events = -1;
    CR_CLEANUP(cr_file_close) int errors = -1;
    CR_CLEANUP(cr_file_close) int their_events = -1;
    CR_CLEANUP(cr_file_close) int their_errors = -1;
    if (streams[1] < 0) CR_TRY(make_pipe(&events, &their_events));
    if (streams[2] < 0) CR_TRY(make_pipe(&errors, &their_errors));
    const int fds[] = {streams[0], streams[1] < 0 ? their_events : streams[1],
                       streams[2] < 0 ? their_errors : streams[2]};
    CR_TRY(spawn(program, argv, fds, lock, &child->pid));
    child->program = name;
    child->events = events;
    child->errors = errors;
    events = errors = -1;
    return CR_OK;
}

enum cr_status cr_child_log(const char *path, int *out)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s", path);
    *out = fd;
    return CR_OK;
}

enum cr_status cr_child_pipe_line(const char *text, int *out)
{
    CR_CLEANUP(cr_file_close) int input = -1;
    CR_CLEANUP(cr_file_close) int ours = -1;
    CR_TRY(make_pipe(&input, &ours));
    size_t length = strlen(text);
    // A pipe's buffer is far larger.
    if (write(ours, text, length) != (ssize_t)length || write(ours, "\n", 1) != 1)
        return cr_fail_errno(CR_IO, "pipe");
    *out = input;
    input = -1;
    return CR_OK;
}

static enum cr_status hand_on(struct cr_child *child,
                              enum cr_status (*receive)(void *context, const struct cr_event *event),
                              void *context)
{
    struct cr_event_line line;
    enum cr_status status =
        cr_event_line_parse(cr_buffer_slice(&child->line), "an event of carrel-enclave", &line);
    if (status == CR_NO_MEMORY) return status;
    if (status != CR_OK) return cr_fail(CR_PROTOCOL, "%s", cr_error_message());
    status = receive(context, &line.event);
    cr_event_line_release(&line);
    return status;
}

// Errors are shown to the user; only the last line is kept, as the reason why the child ended.
static enum cr_status end_of_error(struct cr_child *child)
{
    if (child->word.size > 0) fprintf(stderr, "%s\n", cr_buffer_text(&child->word));
    cr_buffer_clear(&child->word);
    CR_TRY(cr_append(&child->word, child->said.data, child->said.size));
    cr_buffer_clear(&child->said);
    return CR_OK;
}

static enum cr_status read_events(struct cr_child *child,
                                  enum cr_status (*receive)(void *context, const struct cr_event *event),
                                  void *context)
{
    char chunk[4096];
    ssize_t got = read(child->events, chunk, sizeof chunk);
    if (got < 0) return errno == EINTR ? CR_OK : cr_fail_errno(CR_IO, "the events of carrel-enclave");
    if (got == 0) cr_file_close(&child->events);
    for (ssize_t i = 0; i < got; i++) {
        if (chunk[i] != '\n') {
            if (child->line.size >= CR_EVENT_LINE_LIMIT)
                return cr_fail(CR_PROTOCOL, "the events of carrel-enclave: a line without end");
            CR_TRY(cr_append_u8(&child->line, (uint8_t)chunk[i]));
            continue;
        }
        CR_TRY(hand_on(child, receive, context));
        cr_buffer_clear(&child->line);
    }
    return CR_OK;
}

static enum cr_status read_errors(struct cr_child *child)
{
    char chunk[4096];
    ssize_t got = read(child->errors, chunk, sizeof chunk);
    if (got < 0) return errno == EINTR ? CR_OK : cr_fail_errno(CR_IO, "the errors of carrel-enclave");
    if (got == 0) cr_file_close(&child->errors);
    for (ssize_t i = 0; i < got; i++) {
        if (chunk[i] != '\n') CR_TRY(cr_append_u8(&child->said, (uint8_t)chunk[i]));
        if (chunk[i] == '\n' || child->said.size >= WORD_LIMIT) CR_TRY(end_of_error(child));
    }
    return got == 0 && child->said.size > 0 ? end_of_error(child) : CR_OK;
}

enum cr_status cr_child_read(struct cr_child *child, int milliseconds,
                             enum cr_status (*receive)(void *context, const struct cr_event *event),
                             void *context, enum cr_child_news *news)
{
    struct pollfd wait[] = {{.fd = child->events, .events = POLLIN}, {.fd = child->errors, .events = POLLIN}};
    *news = CR_CHILD_ENDED;
    if (child->events < 0 && child->errors < 0) return CR_OK;
    *news = CR_CHILD_QUIET;
    int ready = poll(wait, 2, milliseconds);
    if (ready <= 0) return ready == 0 || errno == EINTR ? CR_OK : cr_fail_errno(CR_IO, "poll");
    *news = CR_CHILD_SPOKE;
    if (wait[0].revents) CR_TRY(read_events(child, receive, context));
    return wait[1].revents ? read_errors(child) : CR_OK;
}

void cr_child_reap(struct cr_child *child, bool wait)
{
    int status;
    pid_t found;
    if (child->pid == 0) return;
    while ((found = waitpid(child->pid, &status, wait ? 0 : WNOHANG)) < 0 && errno == EINTR) {
    }
    if (found != child->pid) return;
    child->pid = 0;
    child->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static enum cr_status status_of_exit(int exit_code)
{
    for (int status = CR_OK; status < CR_INTERNAL; status++)
        if (cr_exit_code((enum cr_status)status) == exit_code) return (enum cr_status)status;
    return CR_INTERNAL;
}

enum cr_status cr_child_failure(const struct cr_child *child, const char *word)
{
    static const char killed[] =
        ", as Linux does when memory runs out: carrel preflight says how much a run takes";
    int exit_code = child->exit_code;
    const char *prefixes[] = {"carrel", child->program};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(word, prefixes[i], length) == 0 && strncmp(word + length, ": ", 2) == 0)
            word += length + 2;
    }
    if (word[0] != 0) return cr_fail(status_of_exit(exit_code), "%s", word);
    if (exit_code > 128 && caught != 0) return cr_fail(CR_CANCELLED, "stopped at once");
    if (exit_code > 128)
        return cr_fail(CR_INTERNAL, "%s was ended by signal %d (%s)%s", child->program, exit_code - 128,
                       strsignal(exit_code - 128), exit_code - 128 == SIGKILL ? killed : "");
    return cr_fail(status_of_exit(exit_code), "%s left no word (exit code %d)", child->program, exit_code);
}

enum cr_status cr_child_result(const struct cr_child *child)
{
    return child->exit_code == 0 ? CR_OK : cr_child_failure(child, cr_buffer_text(&child->word));
}

void cr_child_leave(struct cr_child *child)
{
    cr_file_close(&child->events); // nobody reads them any more, and the child must not block
    cr_file_close(&child->errors);
    cr_child_reap(child, true);
}

void cr_child_stop(struct cr_child *child)
{
    cr_child_pass_on(child, cr_child_signal());
    cr_child_leave(child);
}

void cr_child_release(struct cr_child *child)
{
    cr_file_close(&child->events);
    cr_file_close(&child->errors);
    cr_buffer_release(&child->line);
    cr_buffer_release(&child->said);
    cr_buffer_release(&child->word);
}
