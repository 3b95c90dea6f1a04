// A child process that runs another program of carrel: its events as they come, its last message, and how it
// ended.
//
// It runs in this program's process group, so that a terminal's Ctrl-C, Ctrl-Z and hang-up reach both. It
// never outlives this program, however that ends.
#ifndef CARREL_CLI_CHILD_H
#define CARREL_CLI_CHILD_H

#include "format/event_line.h"

#include <sys/types.h>

struct cr_child {
    pid_t pid;             // 0: not running
    const char *program;   // its name
    int exit_code;         // once it has ended; 128 + signal number if a signal killed it
    int events, errors;    // pipes from its standard output and error; -1: none, or closed
    struct cr_buffer line; // an incomplete line of its events
    struct cr_buffer said; // an incomplete line of its errors
    struct cr_buffer word; // the last line of its errors
};

// The initial value. Release it with cr_child_release once the child is reaped.
#define CR_CHILD_NONE ((struct cr_child){.events = -1, .errors = -1})

// Starts the program of this name in this program's directory, with these arguments (NULL at the end).
// `streams` become its standard input, output and error; with -1 it inherits the input, and cr_child_read
// reads its output and errors. It inherits `lock` (report/run_lock.h; -1: none) as descriptor 3, which
// carrel-enclave does not close. Call this before this program has threads; `name` must outlive the child.
enum cr_status cr_child_start(const char *name, const char *const *arguments, const int streams[3], int lock,
                              struct cr_child *child);

// Creates or truncates a file to which a child will write its output. The caller closes it.
enum cr_status cr_child_log(const char *path, int *out);

// Sets *out to a descriptor from which a child reads this one line and then the end of file, to pass a secret
// that must not be on a command line. The caller closes it.
enum cr_status cr_child_pipe_line(const char *text, int *out);

enum cr_child_news {
    CR_CHILD_QUIET, // nothing came in time
    CR_CHILD_SPOKE,
    CR_CHILD_ENDED, // its output is closed
};

// Waits for output of the child for at most this time, and passes each event to `receive`. A line that is not
// an event is CR_PROTOCOL; a failure of `receive` is returned.
enum cr_status cr_child_read(struct cr_child *child, int milliseconds,
                             enum cr_status (*receive)(void *context, const struct cr_event *event),
                             void *context, enum cr_child_news *news);

// Reaps the child if it has ended; with `wait`, waits for its end.
void cr_child_reap(struct cr_child *child, bool wait);

// Closes its output, and waits for its end.
void cr_child_leave(struct cr_child *child);

// If it still runs, asks it to stop as cr_child_pass_on does, and waits for its end.
void cr_child_stop(struct cr_child *child);

// How a reaped child ended: CR_OK, or the failure for its exit code, with its own last message.
enum cr_status cr_child_result(const struct cr_child *child);

// The same for a child that failed and whose last message (or "") the caller found elsewhere.
enum cr_status cr_child_failure(const struct cr_child *child, const char *word);

void cr_child_release(struct cr_child *child);

// From now on SIGINT, SIGTERM and SIGHUP do not end this program, except when another one comes more than a
// second after the first. (Some tools send a signal to a process and immediately again to its group.) Call
// this before a child is started.
enum cr_status cr_child_catch_signals(void);

// The signal that was received, or 0.
int cr_child_signal(void);

// Asks the child to stop, for the signal `number` received here (0: none was). The child may have received
// that signal too, from the terminal or somebody who stops the whole group, and would take a second one of
// the same kind as an order to stop at once. So it is sent SIGINT for SIGTERM, and SIGTERM otherwise, which
// mean the same to it.
void cr_child_pass_on(const struct cr_child *child, int number);

#endif
