// The inside of the server, shared by server.c (the run from beginning to end), server_open.c (what it opens
// and closes), server_listen.c (connections that come), server_session.c (who is connected, and their
// messages), server_round.c (the rounds' actions) and server_collect.c (how updates become the next values).
// Only these, split_server.h and split_serve.h include it.
#ifndef CARREL_FEDERATION_SERVER_PARTS_H
#define CARREL_FEDERATION_SERVER_PARTS_H

#include "attestation/manifest.h"
#include "channel/listener.h"
#include "federation/aggregate.h"
#include "federation/attested.h"
#include "federation/job.h"
#include "federation/learner.h"
#include "federation/state.h"

struct cr_server;

// One connection.
struct cr_server_session {
    struct cr_server *server;
    struct cr_connection *connection;
    size_t silo; // index in state->members; SIZE_MAX: no silo's (not a member, or superseded)
    bool ready;
    bool told_joined;   // "server.joined" was sent
    bool told_left;     // "server.left" was sent
    bool ours;          // it ends because of a failure at this end
    uint64_t answered;  // the round that it announced as trained, from 1; 0: none yet
    double progress_at; // when its progress was last shown; 0: not in this round
    struct cr_server_session *next;
};

// Count of ended connections without a certificate.
struct cr_unheard {
    size_t count;   // since the last one was reported
    double told_at; // when it was reported; 0: never
};

// How often a silo's connections were reported of late.
struct cr_visits {
    double told;    // reports, less those that time has made up for
    double told_at; // when that was so
    size_t unheard; // ended without being reported
};

// What the job is doing.
enum cr_server_task { CR_SERVER_IDLE, CR_SERVER_FOLDING, CR_SERVER_STORING, CR_SERVER_SAVING };

struct cr_split_server;

struct cr_server {
    const struct cr_config *config;
    const struct cr_sealing_key *key;
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *sink;
    unsigned char structure[CR_SHA256_SIZE];
    unsigned char owners_job[CR_SHA256_SIZE]; // digest of the job that an owner signed; zeros: none
    uint64_t seed;                            // the job's seed; secret with slicing
    struct cr_manifest manifest;
    struct cr_buffer manifest_form; // signed, in the form in which it is sent
    struct cr_state_dir *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    struct cr_attested *attested; // NULL: no attestation
    struct cr_listener *listener;
    struct cr_server_session *sessions;
    struct cr_server_session *by_silo[CR_SILOS]; // each silo's ready session, or NULL
    struct cr_unheard unheard[2];                // the second: peers that were refused
    struct cr_visits visits[CR_SILOS];           // by silo

    struct cr_split_server *split; // for a split model, which has no rounds; otherwise NULL
    struct cr_round machine;
    struct cr_round_actions actions; // here because it is large
    struct cr_vector *global;        // the current round's start values
    struct cr_vector *next;          // the values with which it will end; NULL unless collecting
    struct cr_aggregate *aggregate;
    size_t set[CR_SILOS]; // silos of the collection, sorted by name
    size_t set_count;
    bool asked[CR_SILOS];   // by place in the set: the piece was requested and has not come
    double wanted_since;    // since when the current piece is wanted
    bool changed[CR_SILOS]; // by silo: it announced another update during this collection
    double round_began;

    // While a task is running, only the job's thread may use the pieces set aside in the aggregate, `next`
    // and `global`. It leaves its results in `refused` and `next_digest`.
    struct cr_job *job;
    enum cr_server_task task;
    size_t refused;                            // by folding: a place in the set
    unsigned char next_digest[CR_SHA256_SIZE]; // by storing
    struct cr_pool *pool;                      // for folding

    bool finishing; // all rounds are done
    bool saved;     // the result is saved too; the silos are being told
    bool told[CR_SILOS];
    uint64_t fetched[CR_SILOS]; // by silo: values of the result it has fetched
    double finishing_since;     // when finishing began, or a piece of the result was last fetched
    enum cr_status status;      // why the run ends, once `ended`
    bool ended;
    char why[1024];
};

// Opens the run on disk or begins one, and all else but the listener. After a failure too, call
// cr_server_close, which also frees the server.
enum cr_status cr_server_open(struct cr_server *server);
void cr_server_close(struct cr_server *server);

// Handles the server's connections.
extern const struct cr_connection_handler cr_server_handler;

// Accepts connections from now on: "server.listening".
enum cr_status cr_server_listen(struct cr_server *server);

// The session is its silo's connection from now on: "server.joined", unless the silo came too often of late.
// Then cr_server_tell_joined, called now and then, reports it if it stays.
enum cr_status cr_server_admit(struct cr_server_session *session);
void cr_server_tell_joined(struct cr_server *server);

const char *cr_server_silo_name(const struct cr_server *server, size_t silo);

// Passes the event to the state machine and does what that decides.
enum cr_status cr_server_event(struct cr_server *server, enum cr_round_event_kind kind, size_t silo,
                               const struct cr_answer *answer);

// Drops the silo from the round, for the reason in cr_error_message, and ends its connection. With CR_TIMEOUT
// the silo counts as late, with any other reason its update as refused.
enum cr_status cr_server_drop(struct cr_server *server, size_t silo, enum cr_status reason);

// Begins to pull the updates of the machine's set, from the first value on.
enum cr_status cr_server_collect(struct cr_server *server);
void cr_server_stop_collecting(struct cr_server *server);

// Requests a piece again from a silo that reconnected, since the earlier request was lost with its
// connection.
enum cr_status cr_server_ask_again(struct cr_server *server, size_t silo);

// Drops a silo whose piece does not come in time, whether it is connected or not.
enum cr_status cr_server_judge_pulls(struct cr_server *server);

// Handles a piece of a silo's update.
enum cr_status cr_server_values(struct cr_server_session *session, const struct cr_message *message);

// Takes the job's result, if there is one, and continues with it.
enum cr_status cr_server_take_job(struct cr_server *server);

// The next values are stored: makes them the global values, and closes the round.
enum cr_status cr_server_close_round(struct cr_server *server);

// Handles a silo's request for a piece of the round's start values.
enum cr_status cr_server_pull(struct cr_server_session *session, const struct cr_message *message);

// Opens the server's own learner, which trains nothing. May be called on any thread.
enum cr_status cr_server_open_learner(const struct cr_server *server, const struct cr_event_sink *sink,
                                      void **out);

// cr_server_finish begins to write the result, cr_server_saved continues once it is written, and
// cr_server_tell_finished tells a silo.
enum cr_status cr_server_finish(struct cr_server *server);
enum cr_status cr_server_saved(struct cr_server *server);
enum cr_status cr_server_tell_finished(struct cr_server_session *session);

#endif
