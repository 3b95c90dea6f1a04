// The result of a job with federation.release: owner. It contains the tuned values, and only the model's
// owner can open it.
//
// The format is a sealed file (crypto/seal.h) with purpose "result", under a key for the job's owner
// (crypto/recipient.h) with the job's digest as context; the 32 bytes bound to the file are that key's share.
// Its content, little-endian: 32 bytes that name what was tuned (cr_trainer_digest), u64 the seed with which
// places were chosen, and the values, float32. Model and job are needed to turn the values into an adapter
// again.
#ifndef CARREL_FEDERATION_RELEASED_H
#define CARREL_FEDERATION_RELEASED_H

#include "attestation/manifest.h"
#include "federation/vector.h"

#define CR_RELEASED_FILE "result.sealed" // in output_dir

// What the file has before the values.
struct cr_released_header {
    unsigned char structure[CR_SHA256_SIZE];
    uint64_t seed;
};

// Writes the file atomically, with mode 0600. `job` must be signed.
enum cr_status cr_released_write(const char *path, const struct cr_manifest *job,
                                 const struct cr_released_header *header, const struct cr_vector *values);

// For reading. Zero-initialise it; release it also after a failure.
struct cr_released {
    struct cr_sealing_key *key;
    struct cr_seal_reader *reader;
    struct cr_released_header header;
    size_t count; // number of values
};
void cr_released_release(struct cr_released *released);

// Fails with CR_DENIED if `owner` is not the key of the job's owner, and with CR_INVALID if the file is of
// another kind, of another job, or was changed.
enum cr_status cr_released_open(const char *path, const struct cr_manifest *job,
                                const struct cr_identity *owner, struct cr_released *out);

// Copies the values, [count]; can be called once. Values that were copied before a failure are correct.
enum cr_status cr_released_values(struct cr_released *released, float *out);

#endif
