// A silo of a federation: enrols with a join token, trains what the server asks for, and goes on after any
// interruption of itself, of the server, or of the network.
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
    const char *state;                // directory; NULL: "carrel-silo-NAME" of the token's name
    const char *sealing;              // source of the key that it is sealed under; NULL: "auto"
    const struct cr_sealing_key *key; // of that source
    const char *model, *data;         // paths: which of its files are used is for a silo to say
    struct cr_flag_list accelerators; // addresses, of this silo
    const char *own_accelerator;      // one that the silo owns, which may see its texts; NULL: none may
    const char *attester;             // of this silo, by name; NULL: "auto"
    const char *tpm;                  // device or socket; NULL: the usual one
    const char *endorsements;         // directory; NULL: none
    const char *output; // directory that gets the federation's result; NULL: it stays with the server
    size_t threads;     // as in the settings
};

// The directory of the silo's identity and state: the options' or the default. Free with free.
enum cr_status cr_client_state_path(const struct cr_client_options *options, const struct cr_token *token,
                                    char **out);

// Runs until the server says that all rounds are done. A server that cannot be reached, or goes silent, is
// tried again until federation.progress_timeout has passed without a connection: CR_TIMEOUT. keep_going (may
// be NULL) is asked several times a second; where it returns false: CR_CANCELLED, and a later start goes on.
enum cr_status cr_client_run(const struct cr_client_options *options, const struct cr_learner_kind *learner,
                             const struct cr_event_sink *sink, bool (*keep_going)(void *context),
                             void *context);

#endif
