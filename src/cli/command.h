// A command of carrel, the program for users.
#ifndef CARREL_CLI_COMMAND_H
#define CARREL_CLI_COMMAND_H

#include "base/flags.h"
#include "base/status.h"

#include <stdbool.h>

struct cr_command {
    const char *name;
    enum cr_status (*run)(int argc, char **argv); // argv[0] is the command's name
    const char *summary;                          // for the list of commands
};

// Parses the command line by the table. With --help, prints the help to stdout and sets *done to true; the
// caller then returns CR_OK.
enum cr_status cr_command_flags(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                                size_t *positional_count, bool *done);

// For a command with subcommands ("": carrel itself): runs the one that argv[1] names.
enum cr_status cr_command_of(const char *command, const struct cr_command *parts, size_t count, int argc,
                             char **argv);

// Writes text to stdout; CR_IO for a full disk or a closed pipe.
enum cr_status cr_command_print(struct cr_slice text);

// Whether the descriptor is a terminal on which lines can be overwritten and coloured.
bool cr_command_is_screen(int fd);

// Sets *out to the path of a program in the running program's directory; free with free.
enum cr_status cr_command_sibling(const char *program, char **out);

enum cr_status cr_command_init(int argc, char **argv);
enum cr_status cr_command_preflight(int argc, char **argv);
enum cr_status cr_command_run(int argc, char **argv); // tune, serve, join
enum cr_status cr_command_status(int argc, char **argv);
enum cr_status cr_command_logs(int argc, char **argv);
enum cr_status cr_command_tokenizer(int argc, char **argv);
enum cr_status cr_command_eval(int argc, char **argv);
enum cr_status cr_command_generate(int argc, char **argv);
enum cr_status cr_command_merge(int argc, char **argv);
enum cr_status cr_command_inspect(int argc, char **argv);
enum cr_status cr_command_attest(int argc, char **argv);
enum cr_status cr_command_verify(int argc, char **argv);
enum cr_status cr_command_bench(int argc, char **argv);
enum cr_status cr_command_key(int argc, char **argv);
enum cr_status cr_command_job(int argc, char **argv);
enum cr_status cr_command_job_open(int argc, char **argv); // a subcommand of job
enum cr_status cr_command_invite(int argc, char **argv);
enum cr_status cr_command_simulate(int argc, char **argv);

#endif
