// The command lines of tune, serve and join. carrel-enclave takes these roles; carrel, which starts it, reads
// the same arguments to know where the run is and what the person wants to see.
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
    bool restart;                  // tune alone
    bool preview;                  // tune alone: carrel shows the first examples, and nothing is trained

    struct cr_client_options client; // join; token: the argument as it is, "-" for standard input
};

// argv[0] is the role: "tune", "serve" or "join". With --help anywhere the help is appended to `help` and
// nothing else is set.
enum cr_status cr_role_options_parse(int argc, char **argv, struct cr_role_options *out,
                                     struct cr_buffer *help);

// The join token: the argument, or, where that is "-", the first line of standard input. In argv it is
// overwritten: the list of processes is for everyone to read, and a token is a secret. The caller wipes
// `token`.
enum cr_status cr_role_options_token(int argc, char **argv, const char *argument, char token[CR_TOKEN_LIMIT]);

#endif
