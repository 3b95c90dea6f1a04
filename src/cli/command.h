// One command of the person's program.
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

// Reads the command line by the table. With --help the help goes to stdout and *done is true: return CR_OK.
enum cr_status cr_command_flags(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                                size_t *positional_count, bool *done);

// A command of several ("": carrel itself): runs the one that argv[1] names.
enum cr_status cr_command_of(const char *command, const struct cr_command *parts, size_t count, int argc,
                             char **argv);

// Writes text to stdout; a full disk or a closed pipe is CR_IO.
enum cr_status cr_command_print(struct cr_slice text);

// Whether the descriptor is a terminal that lines can be overwritten on, and coloured.
bool cr_command_is_screen(int fd);

// Sets *out to the path of a program that lies beside the running one; free with free.
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
enum cr_status cr_command_job_open(int argc, char **argv); // of job
enum cr_status cr_command_invite(int argc, char **argv);
enum cr_status cr_command_simulate(int argc, char **argv);

#endif
