// The job manifest of a server: the one that the model's owner signed, or one that the server signs with a
// key of its own. The server works on it. `carrel invite`, which works without a server, puts its digest into
// tokens.
#ifndef CARREL_FEDERATION_SERVER_MANIFEST_H
#define CARREL_FEDERATION_SERVER_MANIFEST_H

#include "attestation/manifest.h"
#include "federation/config.h"
#include "tuning/base_digest.h"

// Makes a manifest of these settings, without roster, floors and owner. If `base` is NULL, it is read from
// the model's files. Makes the CA in federation.state_dir if there is none.
enum cr_status cr_server_manifest_make(const struct cr_config *config, const struct cr_base_digest *base,
                                       struct cr_manifest *out);

// Reads or makes the manifest, and also appends its signed form. With federation.job: reads that file and
// checks it against the settings, the federation's CA, the time and, if it is known, the base. Without: reads
// state_dir/job.cbor, or makes it again if it is not for these settings, this policy and this base. Callers
// that are not the server pass NULL as `base`: the base in the file is then taken to be right, and while a
// server runs on the directory its job is kept, so other settings are CR_INVALID.
enum cr_status cr_server_manifest(const struct cr_config *config, const struct cr_base_digest *base,
                                  struct cr_manifest *out, struct cr_buffer *form);

// Sets *out to the text of the appraisal policy that the settings name, which must be a valid policy. If they
// name none, *out stays unchanged. Release it with free.
enum cr_status cr_server_policy(const struct cr_federation_config *federation, char **out);

#endif
