// Inside of the server: what server.c (its run from begin to end), server_open.c (all that it opens, and
// closes again), server_session.c (who is there and what they say), server_round.c (what is done about it)
// and server_collect.c (how updates become the next values) share. Included by these, split_server.h and
// split_serve.h alone.
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
    size_t silo; // number in the roster; SIZE_MAX: nobody's (not a member, or superseded)
    bool ready;
    bool told_left;     // that it went
    bool ours;          // it ends for what is wrong at this end
    uint64_t answered;  // the round that it said it had trained, counted from 1; 0: none yet
    double progress_at; // when its progress was last shown; 0: not in this round
    struct cr_server_session *next;
};

// Connections without a certificate that ended.
struct cr_unheard {
    size_t count;   // since one was told of
    double told_at; // when that was; 0: never
};

// What the job is at.
enum cr_server_task { CR_SERVER_IDLE, CR_SERVER_FOLDING, CR_SERVER_STORING, CR_SERVER_SAVING };

struct cr_split_server;

struct cr_server {
    const struct cr_config *config;
    const struct cr_sealing_key *key;
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *sink;
    unsigned char structure[CR_SHA256_SIZE];
    unsigned char owners_job[CR_SHA256_SIZE]; // digest of the job that an owner signed; zeros: there is none
    uint64_t seed;                            // of the job; secret with slicing
    struct cr_manifest manifest;
    struct cr_buffer manifest_form; // signed, as it is sent
    struct cr_state_dir *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    struct cr_attested *attested; // NULL: nobody is
    struct cr_listener *listener;
    struct cr_server_session *sessions;
    struct cr_server_session *by_silo[CR_SILOS]; // the ready one of each silo, or NULL
    struct cr_unheard unheard[2];                // the second: of those that were refused an enrolment

    struct cr_split_server *split; // of a split model, which has no rounds; NULL: it is not
    struct cr_round machine;
    struct cr_round_actions actions; // here for its size
    struct cr_vector *global;        // what the present round begins with
    struct cr_vector *next;          // what it will end with; NULL unless collecting
    struct cr_aggregate *aggregate;
    size_t set[CR_SILOS]; // silos of the collection, by name
    size_t set_count;
    bool asked[CR_SILOS];   // by place in the set: the piece was asked for and has not come
    double wanted_since;    // the present piece, of all the set
    bool changed[CR_SILOS]; // by number: another update was announced in this round's collection
    double round_began;

    // The job's thread, while a task is at hand, has the aggregate's pieces set aside, `next` and `global` to
    // itself; what it leaves is in the next two.
    struct cr_job *job;
    enum cr_server_task task;
    size_t refused;                            // of folding: a place in the set
    unsigned char next_digest[CR_SHA256_SIZE]; // of storing
    struct cr_pool *pool;                      // for folding

    bool finishing; // all rounds are done
    bool saved;     // and the result is; the silos are being told
    bool told[CR_SILOS];
    uint64_t fetched[CR_SILOS]; // by number: values of the result
    double finishing_since;     // or since a piece of the result was fetched
    enum cr_status status;      // why the run ends, once `ended`
    bool ended;
    char why[1024];
};

// Opens the run on disk or begins one, and all else but the door. What was opened when it fails is closed by
// cr_server_close, which frees the server too.
enum cr_status cr_server_open(struct cr_server *server);
void cr_server_close(struct cr_server *server);

// What is done with connections that come.
extern const struct cr_connection_handler cr_server_handler;

// Lets silos in from now on: "server.listening".
enum cr_status cr_server_listen(struct cr_server *server);

// The session speaks for its silo from now on: "server.joined".
enum cr_status cr_server_admit(struct cr_server_session *session);

const char *cr_server_silo_name(const struct cr_server *server, size_t silo);

// Gives the event to the state machine and does what it says.
enum cr_status cr_server_event(struct cr_server *server, enum cr_round_event_kind kind, size_t silo,
                               const struct cr_answer *answer);

// Drops the silo from the round, for the reason in cr_error_message, and ends its connection. With CR_TIMEOUT
// it is late, with any other its update is refused.
enum cr_status cr_server_drop(struct cr_server *server, size_t silo, enum cr_status reason);

// Begins to pull the updates of the machine's set, from the first value on.
enum cr_status cr_server_collect(struct cr_server *server);
void cr_server_stop_collecting(struct cr_server *server);

// The silo came back, and what it was asked for went with its connection.
enum cr_status cr_server_ask_again(struct cr_server *server, size_t silo);

// Refuses the update of a silo whose piece does not come, whether it is there or comes and goes.
enum cr_status cr_server_judge_pulls(struct cr_server *server);

// A silo's piece of its update.
enum cr_status cr_server_values(struct cr_server_session *session, const struct cr_message *message);

// Goes on with what the job has done, if it has.
enum cr_status cr_server_take_job(struct cr_server *server);

// The next values are stored: they are the global ones.
enum cr_status cr_server_close_round(struct cr_server *server);

// A silo wants a piece of what the round begins with.
enum cr_status cr_server_pull(struct cr_server_session *session, const struct cr_message *message);

// The server's own learner, which trains nothing; any thread may open one.
enum cr_status cr_server_open_learner(const struct cr_server *server, const struct cr_event_sink *sink,
                                      void **out);

// Begins to write the result; then the silos are told.
enum cr_status cr_server_finish(struct cr_server *server);
enum cr_status cr_server_saved(struct cr_server *server);
enum cr_status cr_server_tell_finished(struct cr_server_session *session);

#endif
