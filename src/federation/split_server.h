// A split model's server: stores the examples that silos send and, once federation.min_clients silos have
// sent all of theirs, trains the tail on them without the silos. It replaces rounds: the server calls this if
// the settings split the model.
//
// Events (docs/PROTOCOL.md lists their fields): "split.receiving", "split.held", "split.begin",
// "train.resumed", and those of training.
#ifndef CARREL_FEDERATION_SPLIT_SERVER_H
#define CARREL_FEDERATION_SPLIT_SERVER_H

#include "federation/server_parts.h"

// Sets server->split, reads what is on disk and, if nothing is missing, begins to train.
enum cr_status cr_split_server_open(struct cr_server *server);
void cr_split_server_close(struct cr_server *server);

// cr_split_server_received handles a silo's message, cr_split_server_left the end of its connection; `clean`:
// it sent Close.
enum cr_status cr_split_server_received(struct cr_server_session *session, const struct cr_message *message);
void cr_split_server_left(struct cr_server *server, size_t silo, bool clean);

// Does what is due: sends acknowledgements, trains the next steps, writes the result.
enum cr_status cr_split_server_tick(struct cr_server *server);

// Whether every silo that sent all its data was told so, or had the time to be told.
bool cr_split_server_told(const struct cr_server *server);

#endif
