// Inside of a silo's client: what client.c (the connection and the loop), client_manifest.c (whether that is
// the job agreed to), client_job.c (what it wants of this silo) and client_round.c (what is done round by
// round) share. Included by these four, split_client.h and split_ask.c alone.
#ifndef CARREL_FEDERATION_CLIENT_PARTS_H
#define CARREL_FEDERATION_CLIENT_PARTS_H

#include "channel/connection.h"
#include "federation/attested.h"
#include "federation/client.h"
#include "federation/client_base.h"
#include "federation/client_state.h"
#include "federation/worker.h"

struct cr_split_client;

struct cr_client {
    const struct cr_client_options *options;
    const struct cr_learner_kind *kind;
    const struct cr_event_sink *sink; // the worker's, which takes one event at a time
    struct cr_token token;
    struct cr_client_state *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    bool attested_known;          // once this silo is a member: the next one is what its job wants
    struct cr_attested *attested; // NULL: nobody is
    struct cr_connection *connection;
    bool open, ready_sent;
    bool enrolling; // of the connection: this silo is not a member on it
    double timeout, alone_since, retry_at, pause;
    char last_why[1024];

    bool manifest_came; // on this connection, and it is the agreed one
    unsigned char run[CR_SHA256_SIZE];
    uint64_t seed;             // with slicing
    struct cr_sealing sealing; // of the learner's states
    struct cr_config config;
    bool has_config;
    struct cr_worker *worker;
    char *worker_state; // a path that the task at hand uses
    char *kept_state;   // of the last answer, which it may go back to; NULL: none
    bool learner_open;
    unsigned char structure[CR_SHA256_SIZE];
    size_t count, total_steps;

    struct cr_split_client *split; // of a split model, which has no rounds; NULL: it is not
    bool begun;                    // the next two: the round at hand
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE];
    bool training;              // the worker is at it
    bool restart;               // it is at another round, and is to stop
    bool unwanted;              // what it trained last is no part of any answer
    bool final;                 // all rounds are done, and the result is being fetched as if it were one
    struct cr_vector *incoming; // what the round begins with
    size_t pulled, asked;       // values of it that came, and that were asked for
    double progress_at;
    struct cr_vector *update; // of state->answer; NULL: none

    bool ended;
    enum cr_status status;
    char why[1024];
};

// The run goes on over this connection: should it be lost, this silo comes back at once. A connection that
// fails before that, as with a full disk here, is one try more after the pauses of those before.
void cr_client_gets_on(struct cr_client *client);
enum cr_status cr_client_say(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_say_hello(struct cr_client *client); // a member's first word

// Sets client->tls for the next connection, as a member or as one who is to be, and what it is attested by.
enum cr_status cr_client_prepare(struct cr_client *client);

// The server's manifest, which has to be the agreed one.
enum cr_status cr_client_on_manifest(struct cr_client *client, const struct cr_message *message);

// The job came; the worker opened what it is about.
enum cr_status cr_client_on_job(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_opened(struct cr_client *client, const struct cr_worker_result *result);

// Rounds: what the server says of them, and what this silo does between its messages.
enum cr_status cr_client_on_begin(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_values(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_pull(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_finished(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_take_result(struct cr_client *client);
enum cr_status cr_client_done(struct cr_client *client); // all of it: ends the client
enum cr_status cr_client_show_progress(struct cr_client *client, double now);

#endif
