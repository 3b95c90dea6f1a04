// Invitations: who may enrol. `invite` writes one into the server's state directory, a running server picks
// it up when the token is shown; the two need not talk to each other.
//
// The directory keeps the SHA-256 of the token's secret as the file's name, never the secret: whoever reads
// the directory cannot enrol, and looking the hash up tells nothing about the secret by its time.
#ifndef CARREL_FEDERATION_INVITATION_H
#define CARREL_FEDERATION_INVITATION_H

#include "attestation/manifest.h"
#include "channel/token.h"
#include "federation/config.h"
#include "federation/state.h"

// A join token for a silo of that name and role ("silo"), good for `seconds`; appends its text. The address
// in it is federation.advertise, else federation.address; a port 0 there stands for the one the server
// listens on. The job in it is that of federation/server_manifest.h, whose roster, if it has one, has to have
// the name. Makes the state directory and the CA where there are none yet.
enum cr_status cr_invite(const struct cr_config *config, const char *name, const char *role, double seconds,
                         struct cr_buffer *token);

// The server's side: takes a secret and a certificate request, enrols the invited name, and appends the
// certificate. Unknown, expired and used tokens, and keys that
// the manifest does not admit, are CR_DENIED, each with its own sentence. A used token is
// accepted again from the same key: its holder may have lost our answer.
enum cr_status cr_redeem(struct cr_state_dir *state, const struct cr_manifest *manifest,
                         const unsigned char secret[CR_SECRET_SIZE], struct cr_slice request, int64_t now,
                         struct cr_member *member, struct cr_buffer *certificate);

#endif
