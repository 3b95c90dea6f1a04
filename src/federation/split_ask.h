// A member of a split model's job asks the tuned tail, on a connection of its own as a silo: for `carrel
// generate` and `carrel eval`. What leaves is what the front makes of a text, as in training; there is one
// try.
//
// Events: "split.warning", and those of federation/attested.h.
#ifndef CARREL_FEDERATION_SPLIT_ASK_H
#define CARREL_FEDERATION_SPLIT_ASK_H

#include "base/event.h"
#include "tuning/session.h"

struct cr_split_ask_options {
    const char *state;        // directory that `carrel join` left
    const char *endorsements; // directory, for appraising the server; NULL: none
    const char *model;        // directory that has the front
};

// Connects as the member that the directory is of, opens the front as the job says, and gives a session over
// it. CR_DENIED where the job lets nobody ask. `compute` outlives the session, and that is released before
// the rest.
struct cr_split_ask;
enum cr_status cr_split_ask_open(const struct cr_split_ask_options *options, struct cr_compute *compute,
                                 const struct cr_event_sink *sink, struct cr_session *session,
                                 struct cr_split_ask **out);
void cr_split_ask_close(struct cr_split_ask *ask); // says Close; NULL is allowed

#endif
