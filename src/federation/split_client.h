// A silo of a split model: walks its layers over its data once, sends what they made to the server, and
// leaves when all of it is there. In place of rounds: client.c calls this where the job splits the model.
//
// Events (docs/PROTOCOL.md lists their fields): "split.warning", "split.sending", "split.sent", and
// "train.warning".
#ifndef CARREL_FEDERATION_SPLIT_CLIENT_H
#define CARREL_FEDERATION_SPLIT_CLIENT_H

#include "federation/client_parts.h"

// What the person must know who lets a silo send activations to this job's server: "split.warning".
void cr_split_client_warn(const struct cr_client *client);

// Sets client->split and begins to open model and data, in the background.
enum cr_status cr_split_client_open(struct cr_client *client);
void cr_split_client_close(struct cr_client *client);

// The job came again, on another connection.
enum cr_status cr_split_client_offer(struct cr_client *client);
enum cr_status cr_split_client_held(struct cr_client *client, const struct cr_message *message);

// Goes on with what was done in the background.
enum cr_status cr_split_client_step(struct cr_client *client);

#endif
