// carrel: the program for users. Each command is a file in this directory.
#include "base/file.h"
#include "base/mapping.h"
#include "base/signals.h"
#include "cli/command.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cr_command commands[] = {
    {"init", cr_command_init, "write settings for a model, to go on from"},
    {"preflight", cr_command_preflight, "check all that a run will need, before it"},
    {"tune", cr_command_run, "fine-tune a model on this machine's data"},
    {"serve", cr_command_run, "run the server of a federation"},
    {"job", cr_command_job, "write down, sign or show what a federation is to do"},
    {"key", cr_command_key, "make a key, and print its fingerprint"},
    {"invite", cr_command_invite, "make a join token for a silo"},
    {"join", cr_command_run, "take part in a federation with a join token"},
    {"simulate", cr_command_simulate, "run a server and its silos on this machine"},
    {"status", cr_command_status, "what a run is doing, or how it ended"},
    {"logs", cr_command_logs, "what a run said, and when"},
    {"tokenizer", cr_command_tokenizer, "train a tokenizer, or see what one does to a text"},
    {"eval", cr_command_eval, "loss and accuracy of a model on a file"},
    {"generate", cr_command_generate, "text from a model"},
    {"merge", cr_command_merge, "write a model with an adapter merged into it"},
    {"inspect", cr_command_inspect, "what a file or directory is"},
    {"attest", cr_command_attest, "evidence of the machine that this runs on"},
    {"verify", cr_command_verify, "is a TEE's evidence genuine, and what does it say?"},
    {"bench", cr_command_bench, "how fast carrel runs here, beside the machine's limits"},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static enum cr_status print_commands(void)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "usage: carrel COMMAND [options]\n\n"
                                   "Secure distributed fine-tuning of large language models.\n\n"));
    for (size_t i = 0; i < COMMANDS; i++)
        CR_TRY(cr_append_format(&text, "  %-10s %s\n", commands[i].name, commands[i].summary));
    CR_TRY(cr_append_format(
        &text, "\ncarrel COMMAND --help tells more; carrel --version tells which carrel this is.\n"));
    return cr_command_print(cr_buffer_slice(&text));
}

static enum cr_status run(int argc, char **argv)
{
    CR_TRY(cr_file_fill_standard());
    CR_TRY(cr_file_watch_mappings("carrel"));
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return print_commands();
    if (strcmp(name, "--version") == 0)
        return cr_command_print(cr_slice_of_string("carrel " CARREL_VERSION "\n"));
    return cr_command_of("", commands, COMMANDS, argc, argv);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); // a file over the process's limit is then reported as a failed write
    // In a container, process 1 ignores signals that it does not catch, even Ctrl-C.
    enum cr_status status = getpid() == 1 ? cr_signals_catch(cr_signals_end, 0) : CR_OK;
    if (status == CR_OK) status = run(argc, argv);
    if (status != CR_OK) fprintf(stderr, "carrel: %s\n", cr_error_message());
    return cr_exit_code(status);
}
