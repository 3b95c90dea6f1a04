// A split model's server: keeps what silos send it of their examples, and trains the tail on that, without
// them, once so many as federation.min_clients have sent all. In place of rounds: the server calls this where
// the settings split the model.
//
// Events (docs/PROTOCOL.md lists their fields): "split.receiving", "split.held", "split.begin",
// "train.resumed", and those of training.
#ifndef CARREL_FEDERATION_SPLIT_SERVER_H
#define CARREL_FEDERATION_SPLIT_SERVER_H

#include "federation/server_parts.h"

// Sets server->split: takes up what is on the disk and, where nothing lacks, begins to train.
enum cr_status cr_split_server_open(struct cr_server *server);
void cr_split_server_close(struct cr_server *server);

// A silo's message; its connection ended, `clean` by its Close.
enum cr_status cr_split_server_received(struct cr_server_session *session, const struct cr_message *message);
void cr_split_server_left(struct cr_server *server, size_t silo, bool clean);

// What is due: acknowledgements, the next steps, the result.
enum cr_status cr_split_server_tick(struct cr_server *server);

// Whoever sent all has heard so, or had time to.
bool cr_split_server_told(const struct cr_server *server);

#endif
