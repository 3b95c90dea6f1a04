// The job manifest of a server: the one that the model's owner signed, or one of the server's own, signed by
// a key of its own. A server works on it; `carrel invite`, which needs no server, puts its digest into
// tokens.
#ifndef CARREL_FEDERATION_SERVER_MANIFEST_H
#define CARREL_FEDERATION_SERVER_MANIFEST_H

#include "attestation/manifest.h"
#include "federation/config.h"
#include "tuning/base_digest.h"

// A manifest of these settings, without roster, floors and owner. `base` NULL: read from the model's files.
// Makes the CA in federation.state_dir where there is none.
enum cr_status cr_server_manifest_make(const struct cr_config *config, const struct cr_base_digest *base,
                                       struct cr_manifest *out);

// With federation.job that file, held against the settings, the federation's CA, the time and the base, where
// it is known. Without, state_dir/job.cbor, which is made anew where it is not of these settings, this policy
// and this base. `base` NULL is for who is not the server: the file's is taken to be right, and a server that
// runs on the directory keeps its job, so that other settings are CR_INVALID. Also appends the signed form.
enum cr_status cr_server_manifest(const struct cr_config *config, const struct cr_base_digest *base,
                                  struct cr_manifest *out, struct cr_buffer *form);

// The text of the appraisal policy that the settings name, a policy indeed; *out stays as it is where they
// name none. Free with free.
enum cr_status cr_server_policy(const struct cr_federation_config *federation, char **out);

#endif
