// Invitations: who may enrol. `invite` writes one into the server's state directory, and a running server
// reads it when the token is shown; the two need not communicate otherwise.
//
// A file's name is the SHA-256 of the token's secret, and the secret itself is not stored. So whoever reads
// the directory cannot enrol, and the time of looking up the hash reveals nothing about the secret.
#ifndef CARREL_FEDERATION_INVITATION_H
#define CARREL_FEDERATION_INVITATION_H

#include "attestation/manifest.h"
#include "channel/token.h"
#include "federation/config.h"
#include "federation/state.h"

// Appends a join token for a silo of this name and role ("silo"), valid for `seconds`. Its address is
// federation.advertise, or else federation.address; port 0 there is replaced by the port the server listens
// on. Its job is that of federation/server_manifest.h; if that has a roster, the name must be in it. Makes
// the state directory and the CA if there are none yet.
enum cr_status cr_invite(const struct cr_config *config, const char *name, const char *role, double seconds,
                         struct cr_buffer *token);

// The server's side: takes a token's secret and a certificate request, enrols the invited name, and appends
// the certificate. Fails with CR_DENIED, each with its own message, for tokens that are unknown, expired or
// used, and for keys that the manifest does not admit. A used token is accepted again from the same key: its
// holder may have lost the answer.
enum cr_status cr_redeem(struct cr_state_dir *state, const struct cr_manifest *manifest,
                         const unsigned char secret[CR_SECRET_SIZE], struct cr_slice request, int64_t now,
                         struct cr_member *member, struct cr_buffer *certificate);

#endif
