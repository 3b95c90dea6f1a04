// The file that keeps the state of an interrupted run, from which it continues.
//
// Little-endian: "carrelst", u32 version 1, u32 number of moment vectors (0 to 2), 32 bytes that identify the
// run, u64 steps done, u64 updates of the optimiser, u64 count, then `count` fp32 values and each moment
// vector, and last the SHA-256 of everything before it. Nothing follows.
#ifndef CARREL_TUNING_STATE_H
#define CARREL_TUNING_STATE_H

#include "base/bytes.h"
#include "crypto/seal.h"

enum { CR_STATE_MOMENTS = 2 };

struct cr_state {
    unsigned char digest[CR_SHA256_SIZE]; // of everything that determines the run
    uint64_t steps;
    uint64_t updates;
    size_t count; // of values, and of each vector of moments
    size_t moment_count;
    struct cr_slice values; // fp32, not necessarily aligned; secret
    struct cr_slice moments[CR_STATE_MOMENTS];
};

// Writes the file atomically, with mode 0600 (see cr_file_begin); sealed unless `sealing` is NULL.
enum cr_status cr_state_write(const char *path, const struct cr_sealing *sealing,
                              const struct cr_state *state);

// Whether the bytes begin like a state.
bool cr_state_is_one(struct cr_slice start);

// Parses only the header of a state of `size` bytes, and checks that `size` is what it says; sets no slices.
// For sealed states, whose vectors are then read one after the other.
enum { CR_STATE_HEADER_SIZE = 72 };
enum cr_status cr_state_parse_header(struct cr_slice bytes, size_t size, const char *name,
                                     struct cr_state *out);

// Slices of the result point into `bytes`. CR_INVALID if truncated, padded or damaged; CR_UNSUPPORTED for
// another version. Error messages begin with `name`.
enum cr_status cr_state_parse(struct cr_slice bytes, const char *name, struct cr_state *out);

#endif
