// The result of a job whose federation.release is owner: the tuned values, for the owner of the model alone.
//
// A sealed file (crypto/seal.h) whose purpose is "result", under a key for the job's owner
// (crypto/recipient.h) whose context is the job's digest; the 32 bytes that it is bound to are that key's
// share. Inside, little-endian: 32 bytes that name what was tuned (cr_trainer_digest), u64 the seed that its
// places were chosen with, then the values, float32. With the model and the job they are the adapter again.
#ifndef CARREL_FEDERATION_RELEASED_H
#define CARREL_FEDERATION_RELEASED_H

#include "attestation/manifest.h"
#include "federation/vector.h"

#define CR_RELEASED_FILE "result.sealed" // in output_dir

// What stands before the values.
struct cr_released_header {
    unsigned char structure[CR_SHA256_SIZE];
    uint64_t seed;
};

// Mode 0600, atomic. The job is signed.
enum cr_status cr_released_write(const char *path, const struct cr_manifest *job,
                                 const struct cr_released_header *header, const struct cr_vector *values);

// Reading. Zero-initialise it; release it, also after a failure.
struct cr_released {
    struct cr_sealing_key *key;
    struct cr_seal_reader *reader;
    struct cr_released_header header;
    size_t count; // of values
};
void cr_released_release(struct cr_released *released);

// CR_DENIED where the key is not that of the job's owner; CR_INVALID for what is no such file, one of another
// job, and one that was changed.
enum cr_status cr_released_open(const char *path, const struct cr_manifest *job,
                                const struct cr_identity *owner, struct cr_released *out);

// The values, [count], once. What was copied before a failure was right.
enum cr_status cr_released_values(struct cr_released *released, float *out);

#endif
