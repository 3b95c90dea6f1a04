// The server of a federation: admits invited silos, leads them through the rounds, and writes the result.
//
// Events (docs/PROTOCOL.md lists their fields): "server.job", "server.warning", "server.listening",
// "server.enrolled", "server.joined", "server.left", "round.begin", "round.progress", "round.trained",
// "round.dropped", "round.late", "round.done", "server.untold", "server.done". Rounds are counted from 1 in
// events.
#ifndef CARREL_FEDERATION_SERVER_H
#define CARREL_FEDERATION_SERVER_H

#include "federation/learner.h"

// Runs until the last round is done, the result is in config->tuning.output_dir, and the silos know it.
// Continues from an earlier server's state by itself; if that state is of an unfinished run with other
// settings, this fails with CR_INVALID. keep_going (may be NULL) is called several times a second; if it
// returns false, the server stops as if it were killed, with CR_CANCELLED, and the next one continues. The
// state is sealed under `key`. If it is older than what a silo remembers, the run ends with CR_INVALID.
enum cr_status cr_server_run(const struct cr_config *config, const struct cr_sealing_key *key,
                             const struct cr_learner_kind *learner, const struct cr_event_sink *sink,
                             bool (*keep_going)(void *context), void *context);

#endif
