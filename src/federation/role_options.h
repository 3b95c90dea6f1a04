// The command lines of tune, serve and join. carrel-enclave runs these roles. carrel, which starts it, reads
// the same arguments to know where the run is and what the user wants to see.
#ifndef CARREL_FEDERATION_ROLE_OPTIONS_H
#define CARREL_FEDERATION_ROLE_OPTIONS_H

#include "base/flags.h"
#include "federation/client.h"

enum { CR_ROLE_OVERRIDES = 64 };

// All strings point into argv.
struct cr_role_options {
    bool json; // progress as JSON lines on stdout

    // tune and serve:
    const char *config; // path
    const char *items[CR_ROLE_OVERRIDES];
    struct cr_flag_list overrides; // KEY=VALUE, in `items`
    bool restart;                  // only tune
    bool preview;                  // only tune: carrel shows the first examples, and nothing is trained

    struct cr_client_options client; // for join; its token is the argument as given, "-" for standard input
};

// Parses a command line; argv[0] is the role: "tune", "serve" or "join". If --help is among the arguments,
// the help is appended to `help` and nothing else is set.
enum cr_status cr_role_options_parse(int argc, char **argv, struct cr_role_options *out,
                                     struct cr_buffer *help);

// Gets the join token: the argument, or the first line of standard input if the argument is "-". Overwrites
// the token in argv, since anyone can read the list of processes and a token is a secret. The caller wipes
// `token`.
enum cr_status cr_role_options_token(int argc, char **argv, const char *argument, char token[CR_TOKEN_LIMIT]);

#endif
