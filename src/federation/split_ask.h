// A member of a split model's job asks questions of the tuned tail, over a connection of its own as that
// silo; for `carrel generate` and `carrel eval`. It sends what the front computes from a text, as in
// training. It tries only once.
//
// Events: "split.warning", and those of federation/attested.h.
#ifndef CARREL_FEDERATION_SPLIT_ASK_H
#define CARREL_FEDERATION_SPLIT_ASK_H

#include "base/event.h"
#include "tuning/session.h"

struct cr_split_ask_options {
    const char *state;        // the state directory of `carrel join`
    const char *endorsements; // directory, for appraising the server; NULL: none
    const char *model;        // directory that has the front
};

// Connects as the member whose directory it is, opens the front as the job says, and opens a session over
// both. Fails with CR_DENIED if the job allows nobody to ask. `compute` must outlive the session, and the
// session must be released before cr_split_ask_close.
struct cr_split_ask;
enum cr_status cr_split_ask_open(const struct cr_split_ask_options *options, struct cr_compute *compute,
                                 const struct cr_event_sink *sink, struct cr_session *session,
                                 struct cr_split_ask **out);
void cr_split_ask_close(struct cr_split_ask *ask); // sends Close; NULL is allowed

#endif
