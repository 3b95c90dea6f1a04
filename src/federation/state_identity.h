// The CA and the server's own certificate, authority/ and server/ in a state directory (federation/state.h).
#ifndef CARREL_FEDERATION_STATE_IDENTITY_H
#define CARREL_FEDERATION_STATE_IDENTITY_H

#include "crypto/identity.h"
#include "federation/config.h"

// What lies in the directory `path`, whose lock is held (two processes would make two CAs), or a new one,
// which is put there. `key` seals the private keys. Free with cr_identity_free.
enum cr_status cr_state_authority(const char *path, const struct cr_sealing_key *key,
                                  struct cr_identity **out);

// The same; a certificate that is about to run out is followed by another for the same key.
enum cr_status cr_state_server(const char *path, const struct cr_sealing_key *key,
                               const struct cr_identity *authority, struct cr_identity **out);

// The fingerprint of the CA, for `invite`, which needs no server: where there is no CA one is made, under
// this machine's sealing key. Takes the directory's lock itself.
enum cr_status cr_state_fingerprint(const struct cr_config *config, unsigned char out[CR_SHA256_SIZE]);

#endif
