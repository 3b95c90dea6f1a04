// A split model's server once its tail is tuned, where the job has split.inference: answers what silos ask of
// it, each in its turn. What goes back is the token that follows a text, or sums of losses over examples.
//
// Events (docs/PROTOCOL.md lists their fields): "split.serving", "split.asked".
#ifndef CARREL_FEDERATION_SPLIT_SERVE_H
#define CARREL_FEDERATION_SPLIT_SERVE_H

#include "federation/server_parts.h"

struct cr_split_serve;

// Whether this is a split model whose silos may ask it afterwards: the server then goes on until it is
// stopped.
bool cr_split_serve_wanted(const struct cr_server *server);

// The failure that a silo is told which asks where nothing is served, or not yet.
enum cr_status cr_split_serve_refuse(const struct cr_server *server);

// Begins to open the tail and the result in output_dir, which has to be the run's. `front` is what silos have
// to have, `activation_size` the bytes of a token's activations.
enum cr_status cr_split_serve_open(struct cr_server *server, const unsigned char front[CR_SHA256_SIZE],
                                   size_t activation_size, struct cr_split_serve **out);
void cr_split_serve_close(struct cr_split_serve *serve); // NULL is allowed

// A silo's Ask or Cut; its connection ended.
enum cr_status cr_split_serve_received(struct cr_split_serve *serve, struct cr_server_session *session,
                                       const struct cr_message *message);
void cr_split_serve_left(struct cr_split_serve *serve, size_t silo);

// What is due: the next question, answers, and the end of who asks nothing.
enum cr_status cr_split_serve_tick(struct cr_split_serve *serve);

#endif
