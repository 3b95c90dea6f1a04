// The server of a federation: lets invited silos in, leads them through the rounds, writes the result.
//
// Events (docs/PROTOCOL.md lists their fields): "server.job", "server.warning", "server.listening",
// "server.enrolled", "server.joined", "server.left", "round.begin", "round.progress", "round.trained",
// "round.dropped", "round.late", "round.done", "server.untold", "server.done". Rounds are counted from 1 in
// events.
#ifndef CARREL_FEDERATION_SERVER_H
#define CARREL_FEDERATION_SERVER_H

#include "federation/learner.h"

// Runs until the last round is done, the result is in config->tuning.output_dir, and the silos know. Going on
// from an earlier server's state happens by itself; that of a run with other settings is CR_INVALID, unless
// it was finished. keep_going (may be NULL) is asked several times a second; where it returns false the
// server stops as if it were killed: CR_CANCELLED, and the next one goes on. Its state is sealed under `key`;
// one that is older than what a silo remembers ends the run with CR_INVALID.
enum cr_status cr_server_run(const struct cr_config *config, const struct cr_sealing_key *key,
                             const struct cr_learner_kind *learner, const struct cr_event_sink *sink,
                             bool (*keep_going)(void *context), void *context);

#endif
