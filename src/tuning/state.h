// The file in which a run is interrupted and taken up again.
//
// Little-endian: "carrelst", u32 version 1, u32 vectors of moments (0 to 2), 32 bytes that name the run, u64
// steps done, u64 updates of the optimiser, u64 count, then `count` fp32 values and each vector of moments,
// and last the SHA-256 of all before it. Nothing follows.
#ifndef CARREL_TUNING_STATE_H
#define CARREL_TUNING_STATE_H

#include "base/bytes.h"
#include "crypto/seal.h"

enum { CR_STATE_MOMENTS = 2 };

struct cr_state {
    unsigned char digest[CR_SHA256_SIZE]; // of everything that the run's course follows from
    uint64_t steps;
    uint64_t updates;
    size_t count; // of values, and of each vector of moments
    size_t moment_count;
    struct cr_slice values; // fp32, not necessarily aligned; secret
    struct cr_slice moments[CR_STATE_MOMENTS];
};

// Mode 0600, atomic (cr_file_begin's rules); sealed unless `sealing` is NULL.
enum cr_status cr_state_write(const char *path, const struct cr_sealing *sealing,
                              const struct cr_state *state);

// Whether the bytes begin as a state does.
bool cr_state_is_one(struct cr_slice start);

// The header alone of a state of `size` bytes, which are as many as it says; without slices. A sealed one is
// read so: its vectors follow one after the other.
enum { CR_STATE_HEADER_SIZE = 72 };
enum cr_status cr_state_parse_header(struct cr_slice bytes, size_t size, const char *name,
                                     struct cr_state *out);

// Slices of the result point into `bytes`. Truncated, padded or damaged: CR_INVALID; another version:
// CR_UNSUPPORTED. `name` stands in errors.
enum cr_status cr_state_parse(struct cr_slice bytes, const char *name, struct cr_state *out);

#endif
