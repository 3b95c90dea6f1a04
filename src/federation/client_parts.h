// The inside of a silo's client, shared by client.c (connection and loop), client_manifest.c (the check of
// the manifest), client_job.c (what the job asks) and client_round.c (the rounds). Only these four,
// split_client.h and split_ask.c include it.
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
    const struct cr_event_sink *sink; // the worker's sink, which passes on one event at a time
    struct cr_token token;
    struct cr_client_state *state;
    struct cr_loop *loop;
    struct cr_tls *tls;
    bool attested_known;          // `attested` is set as the job requires (once this silo is a member)
    struct cr_attested *attested; // NULL: no attestation
    struct cr_connection *connection;
    bool enrolling; // this connection is for enrolling
    double timeout, alone_since, retry_at, pause;
    char last_why[1024];

    // On this connection: the agreed manifest and its job came, and Ready or Offer was sent.
    bool manifest_came, job_came, ready_sent;
    unsigned char run[CR_SHA256_SIZE];
    uint64_t seed;             // with slicing: the job's
    struct cr_sealing sealing; // for the learner's states
    struct cr_config config;
    bool has_config;
    struct cr_worker *worker;
    char *worker_state; // path used by the current task
    char *kept_state;   // path of the last answer's state, to go back to; NULL: none
    bool learner_open;
    unsigned char structure[CR_SHA256_SIZE];
    size_t count, total_steps;

    struct cr_split_client *split; // for a split model, which has no rounds; otherwise NULL
    bool begun;                    // the next two are set: the current round
    uint64_t round;
    unsigned char start[CR_SHA256_SIZE];
    bool training;              // the worker is training it
    bool restart;               // the worker is training another round, and must stop
    bool unwanted;              // what the worker trained last was not used in an answer
    bool final;                 // all rounds are done, and the result is fetched like a round's values
    struct cr_vector *incoming; // the round's start values
    size_t pulled, asked;       // number of start values that have arrived, and that were requested
    double progress_at;
    struct cr_vector *update; // the values of state->answer; NULL: none

    bool ended;
    enum cr_status status;
    char why[1024];
};

// Call it once the run makes progress on this connection: if it is lost, this silo reconnects at once. After
// a connection that fails earlier, for instance because of a full disk here, the pauses between attempts keep
// growing.
void cr_client_gets_on(struct cr_client *client);
enum cr_status cr_client_say(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_say_hello(struct cr_client *client); // the first message of a member

// Sets client->tls for the next connection, as a member or for enrolling, and its attestation.
enum cr_status cr_client_prepare(struct cr_client *client);

// Handles the server's manifest, which must be the agreed one.
enum cr_status cr_client_on_manifest(struct cr_client *client, const struct cr_message *message);

// Called when the job arrives, and when the worker has opened model and data.
enum cr_status cr_client_on_job(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_opened(struct cr_client *client, const struct cr_worker_result *result);

// Rounds: messages from the server, and what this silo does between them.
enum cr_status cr_client_on_begin(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_values(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_pull(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_on_finished(struct cr_client *client, const struct cr_message *message);
enum cr_status cr_client_take_result(struct cr_client *client);
enum cr_status cr_client_done(struct cr_client *client); // everything is done: ends the client
enum cr_status cr_client_show_progress(struct cr_client *client, double now);

#endif
