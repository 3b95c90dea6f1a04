// The CA and the server's own certificate: authority/ and server/ in a state directory (federation/state.h).
#ifndef CARREL_FEDERATION_STATE_IDENTITY_H
#define CARREL_FEDERATION_STATE_IDENTITY_H

#include "crypto/identity.h"
#include "federation/config.h"

// Opens the CA in the state directory `path`, or makes one there. The caller holds the directory's lock,
// since two processes would make two CAs. `key` seals the private key. Free with cr_identity_free.
enum cr_status cr_state_authority(const char *path, const struct cr_sealing_key *key,
                                  struct cr_identity **out);

// The same for the server's identity. A certificate that is about to expire is replaced by another for the
// same key.
enum cr_status cr_state_server(const char *path, const struct cr_sealing_key *key,
                               const struct cr_identity *authority, struct cr_identity **out);

// The fingerprint of the CA, for `invite`, which works without a server. If there is no CA, makes one under
// this machine's sealing key. Takes the directory's lock itself.
enum cr_status cr_state_fingerprint(const struct cr_config *config, unsigned char out[CR_SHA256_SIZE]);

#endif
