// A silo of a federation: enrols with a join token, trains what the server asks for, and continues after any
// interruption of itself, the server or the network.
//
// Events (docs/PROTOCOL.md lists their fields): "client.connected", "client.manifest", "client.job",
// "client.waiting", "client.enrolled", "client.known", "client.round", "client.trained", "client.closed",
// "client.late", "client.done", and those of training.
#ifndef CARREL_FEDERATION_CLIENT_H
#define CARREL_FEDERATION_CLIENT_H

#include "base/flags.h"
#include "channel/token.h"
#include "federation/learner.h"

struct cr_client_options {
    const char *token;
    const char *state;                // directory; NULL: "carrel-silo-NAME" with the token's name
    const char *sealing;              // source of the key that seals the state; NULL: "auto"
    const struct cr_sealing_key *key; // the key from that source; borrowed
    const char *model, *data;         // paths; always the silo's own choice
    struct cr_flag_list accelerators; // addresses of this silo's accelerators
    const char *own_accelerator; // an accelerator that the silo owns, which may see its texts; NULL: none
    const char *attester;        // name of this silo's attester; NULL: "auto"
    const char *tpm;             // device or socket; NULL: the usual one
    const char *endorsements;    // directory; NULL: none
    const char *output;          // directory for the federation's result; NULL: it stays with the server
    size_t threads;              // as in the settings
};

// Sets *out to the directory of the silo's identity and state: that in the options, or the default. Release
// it with free.
enum cr_status cr_client_state_path(const struct cr_client_options *options, const struct cr_token *token,
                                    char **out);

// Runs until the server says that all rounds are done. A server that cannot be reached, or goes silent, is
// tried again; CR_TIMEOUT once federation.progress_timeout has passed without a connection. keep_going (may
// be NULL) is called several times a second; if it returns false, this fails with CR_CANCELLED, and a later
// start continues.
enum cr_status cr_client_run(const struct cr_client_options *options, const struct cr_learner_kind *learner,
                             const struct cr_event_sink *sink, bool (*keep_going)(void *context),
                             void *context);

#endif
