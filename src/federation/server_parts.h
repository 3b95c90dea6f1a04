// Inside of the server: what server.c (who is there and what they say) and server_round.c (what is done about
// it) share. Included by these two alone.
#ifndef CARREL_FEDERATION_SERVER_PARTS_H
#define CARREL_FEDERATION_SERVER_PARTS_H

#include "channel/connection.h"
#include "federation/aggregate.h"
#include "federation/learner.h"
#include "federation/state.h"

struct cr_server;

// One connection.
struct cr_server_session {
    struct cr_server *server;
    struct cr_connection *connection;
    size_t silo; // number in the roster; SIZE_MAX: nobody's (not a member, or superseded)
    bool ready;
    double progress_at; // when its progress was last shown; 0: not in this round
    struct cr_server_session *next;
};

struct cr_server {
    const struct cr_config *config;
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *sink;
    void *learner;
    unsigned char structure[CR_SHA256_SIZE];
    struct cr_buffer job; // canonical YAML
    struct cr_state_dir *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    struct cr_listener *listener;
    struct cr_server_session *sessions;
    struct cr_server_session *by_silo[CR_SILOS]; // the ready one of each silo, or NULL

    struct cr_round machine;
    struct cr_round_actions actions; // here for its size
    struct cr_vector *global;        // what the present round begins with
    struct cr_vector *next;          // what it will end with; NULL unless collecting
    struct cr_aggregate *aggregate;
    size_t set[CR_SILOS]; // silos of the collection, by name
    size_t set_count;
    bool asked[CR_SILOS];          // by place in the set: the chunk was asked for and has not come
    double wanted_since[CR_SILOS]; // likewise: when it was first asked for; 0: it was not
    bool changed[CR_SILOS];        // by number: another update was announced in this round's collection
    double round_began;

    bool finishing; // all is done; the silos of the last set are being told
    bool told[CR_SILOS];
    double finishing_since; // or since the last piece of the result was fetched
    enum cr_status status;  // why the run ends, once `ended`
    bool ended;
    char why[1024];
};

const char *cr_server_silo_name(const struct cr_server *server, size_t silo);

// Gives the event to the state machine and does what it says.
enum cr_status cr_server_event(struct cr_server *server, enum cr_round_event_kind kind, size_t silo,
                               const struct cr_answer *answer);

// Drops the silo's update from the round, for the reason in cr_error_message, and ends its connection.
enum cr_status cr_server_refuse_update(struct cr_server_session *session, enum cr_status refusal);

// Refuses the update of a silo that was asked for a chunk and lives, but does not send it.
enum cr_status cr_server_judge_pulls(struct cr_server *server);

// A silo's piece of its update.
enum cr_status cr_server_values(struct cr_server_session *session, const struct cr_message *message);

// A silo wants a piece of what the round begins with.
enum cr_status cr_server_pull(struct cr_server_session *session, const struct cr_message *message);

// Writes the result and begins to tell the silos.
enum cr_status cr_server_finish(struct cr_server *server);
enum cr_status cr_server_tell_finished(struct cr_server_session *session);

#endif
