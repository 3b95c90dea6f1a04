// A program of ours that this one started: its events as they come, its last word, and how it ended.
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
    int exit_code;         // once it ended; 128 and the number of the signal that killed it
    int events, errors;    // its standard output and error; -1: none, or at its end
    struct cr_buffer line; // of its events, until the end of the line comes
    struct cr_buffer said; // of its errors, likewise
    struct cr_buffer word; // the last line of its errors
};

// Zero-initialise it, but with -1 as descriptors; release it with cr_child_release once it is reaped.
#define CR_CHILD_NONE ((struct cr_child){.events = -1, .errors = -1})

// Starts the program of this name that lies beside ours, with these arguments (NULL at the end). `streams`
// become its standard input, output and error; -1: the input is ours, and output and errors are read by
// cr_child_read. `lock` (report/run_lock.h; -1: none) it inherits as its descriptor 3, the one that
// carrel-enclave leaves open. To be called before this program has threads; `name` must outlive the child.
enum cr_status cr_child_start(const char *name, const char *const *arguments, const int streams[3], int lock,
                              struct cr_child *child);

// Opens a file anew for a child to write its output to. The caller closes it.
enum cr_status cr_child_log(const char *path, int *out);

// A descriptor from which a child reads this one line, and then the end: a secret is for no command line. The
// caller closes it.
enum cr_status cr_child_pipe_line(const char *text, int *out);

enum cr_child_news {
    CR_CHILD_QUIET, // nothing came within the time
    CR_CHILD_SPOKE,
    CR_CHILD_ENDED, // nothing more will come
};

// Waits for what the child says, at most so long, and hands on each event of it. A line that is no event is
// CR_PROTOCOL; a failure of `receive` is passed on.
enum cr_status cr_child_read(struct cr_child *child, int milliseconds,
                             enum cr_status (*receive)(void *context, const struct cr_event *event),
                             void *context, enum cr_child_news *news);

// Takes note of its end, where `wait` says so waiting for it.
void cr_child_reap(struct cr_child *child, bool wait);

// Reads no more of it, and waits for its end.
void cr_child_leave(struct cr_child *child);

// Ends it, if it still runs, as a signal does, and waits for that.
void cr_child_stop(struct cr_child *child);

// How a reaped child ended: CR_OK, or the failure that its exit code stands for with its own last word.
enum cr_status cr_child_result(const struct cr_child *child);

// The same for one that failed and whose last word ("": it left none) was got in another way.
enum cr_status cr_child_failure(const struct cr_child *child, const char *word);

void cr_child_release(struct cr_child *child);

// From here on SIGINT, SIGTERM and SIGHUP do not end this program; another one, more than a second after the
// first, does. (Some send a signal to a process and, at once, again to its group.) To be called before a
// child is started.
enum cr_status cr_child_catch_signals(void);

// The signal that came, or 0.
int cr_child_signal(void);

// Asks the child to stop, as the signal did that came here (0: none came). The child may have got that as
// well, from the terminal or whoever stops the whole group, and would take a second one of its kind as an
// order to stop at once: it is sent SIGINT for SIGTERM, and SIGTERM for the others, which mean the same to
// it.
void cr_child_pass_on(const struct cr_child *child, int number);

#endif
