// A silo of a split model: runs its layers over its data once, sends the activations to the server, and ends
// when the server has all of them. It replaces rounds: client.c calls this if the job splits the model.
//
// Events (docs/PROTOCOL.md lists their fields): "split.warning", "split.sending", "split.sent", and
// "train.warning".
#ifndef CARREL_FEDERATION_SPLIT_CLIENT_H
#define CARREL_FEDERATION_SPLIT_CLIENT_H

#include "federation/client_parts.h"

// Warns the user about what it means to send activations to this job's server: "split.warning".
void cr_split_client_warn(const struct cr_client *client);

// Sets client->split, and begins to open model and data in the background.
enum cr_status cr_split_client_open(struct cr_client *client);
void cr_split_client_close(struct cr_client *client);

// cr_split_client_offer sends the offer on a new connection, once the data are open. cr_split_client_held
// handles the server's Held.
enum cr_status cr_split_client_offer(struct cr_client *client);
enum cr_status cr_split_client_held(struct cr_client *client, const struct cr_message *message);

// Takes the results of background work, and continues.
enum cr_status cr_split_client_step(struct cr_client *client);

#endif
