// Checks that a silo's base model is the job's.
#ifndef CARREL_FEDERATION_CLIENT_BASE_H
#define CARREL_FEDERATION_CLIENT_BASE_H

#include "attestation/manifest.h"
#include "tuning/base_digest.h"

// Fail with CR_INVALID if the model, or its tokenizer, is not the job's. `base` has the digests of the model
// in `directory`.
enum cr_status cr_client_check_base(const struct cr_manifest *manifest, const char *directory,
                                    const struct cr_base_digest *base);
enum cr_status cr_client_check_tokenizer(const struct cr_manifest *manifest, const char *directory,
                                         const struct cr_base_digest *base);

#endif
