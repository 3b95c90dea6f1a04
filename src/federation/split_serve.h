// A split model's server after training, if the job has split.inference: it answers silos' questions to the
// tuned tail, in turn. It answers with the next token of a text, or with sums of losses over examples.
//
// Events (docs/PROTOCOL.md lists their fields): "split.serving", "split.asked".
#ifndef CARREL_FEDERATION_SPLIT_SERVE_H
#define CARREL_FEDERATION_SPLIT_SERVE_H

#include "federation/server_parts.h"

struct cr_split_serve;

// Whether this is a split model that silos may ask after training. The server then runs until it is stopped.
bool cr_split_serve_wanted(const struct cr_server *server);

// Fails with what to tell a silo that asks although nothing is served, or not yet.
enum cr_status cr_split_serve_refuse(const struct cr_server *server);

// Begins to open the tail with the result in output_dir, which must be this run's. `front` is the digest of
// the front that silos must have, `activation_size` the bytes of one token's activations.
enum cr_status cr_split_serve_open(struct cr_server *server, const unsigned char front[CR_SHA256_SIZE],
                                   size_t activation_size, struct cr_split_serve **out);
void cr_split_serve_close(struct cr_split_serve *serve); // NULL is allowed

// cr_split_serve_received handles a silo's Ask or Cut, cr_split_serve_left the end of its connection.
enum cr_status cr_split_serve_received(struct cr_split_serve *serve, struct cr_server_session *session,
                                       const struct cr_message *message);
void cr_split_serve_left(struct cr_split_serve *serve, size_t silo);

// Does what is due: sends answers, starts the next question, and ends idle askers.
enum cr_status cr_split_serve_tick(struct cr_split_serve *serve);

#endif
