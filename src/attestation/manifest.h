// The job manifest: all that a federation is to do, signed by the owner of the model. Its digest is in every
// join token and in all evidence, so that neither server nor silo can be made to do anything else.
//
// The signed form is a COSE_Sign1 message (attestation/cose.h) of the payload, a CBOR map in its
// deterministic form (RFC 8949, section 4.2): keys 1 to 11 in this order, of which 2 and 8 may be absent.
//
//    1  version                                 1
//    2  owner's key, a point x ‖ y of P-256     64 bytes; absent until it is signed
//    3  digest of the model                     32 bytes (tuning/base_digest.h)
//    4  digest of the tokenizer                 32 bytes
//    5  fingerprint of the federation's CA      32 bytes (crypto/identity.h)
//    6  roster                                  list of [name, SHA-256 of the public key], sorted by name
//    7  settings                                text: canonical YAML
//    8  appraisal policy                        text: YAML; absent if there is none
//    9  least version of the program            [major, minor, patch]
//   10  earliest time at which it is worked on  Unix seconds
//   11  earliest issue of collateral            Unix seconds
#ifndef CARREL_ATTESTATION_MANIFEST_H
#define CARREL_ATTESTATION_MANIFEST_H

#include "crypto/identity.h"

enum {
    CR_MANIFEST_LIMIT = 1 << 20, // bytes of the signed form
    CR_MANIFEST_SILOS = 1024,
};

struct cr_manifest_silo {
    char name[CR_NAME_SIZE]; // 1 to 63 of [a-z0-9-]
    unsigned char key[CR_SHA256_SIZE];
};

// Zero-initialise it; release it with cr_manifest_release.
struct cr_manifest {
    bool has_owner;
    unsigned char owner[CR_IDENTITY_POINT_SIZE];
    unsigned char model[CR_SHA256_SIZE], tokenizer[CR_SHA256_SIZE], authority[CR_SHA256_SIZE];
    struct cr_manifest_silo *roster; // NULL: any silo that the server invites is admitted
    size_t roster_count;
    char *settings;
    char *policy; // or NULL
    uint64_t version[3];
    int64_t time_floor, collateral_floor;
    unsigned char digest[CR_SHA256_SIZE]; // SHA-256 of the payload, set by reading and signing
};

void cr_manifest_release(struct cr_manifest *manifest);

// Appends the payload. CR_INVALID if the roster is not sorted, or a text is one that a reader would refuse.
enum cr_status cr_manifest_write(const struct cr_manifest *manifest, struct cr_buffer *out);

// Parses a payload. CR_INVALID unless the bytes are exactly those that cr_manifest_write would write for this
// content, and the policy, if any, is valid.
enum cr_status cr_manifest_parse(struct cr_slice payload, struct cr_manifest *out);

// Makes the identity the owner and appends the signed form.
enum cr_status cr_manifest_sign(struct cr_manifest *manifest, const struct cr_identity *owner,
                                struct cr_buffer *out);

// Parses the signed form and verifies its signature with the owner's key that it contains: CR_DENIED if that
// fails. Whether this is the right owner, only the digest shows.
enum cr_status cr_manifest_open(struct cr_slice bytes, struct cr_manifest *out);

// Reads either form from a file; an unsigned one has no owner. Also appends the file's bytes to `form`,
// unless that is NULL.
enum cr_status cr_manifest_read(const char *path, struct cr_manifest *out, struct cr_buffer *form);

// The roster's silo with this name, or NULL.
const struct cr_manifest_silo *cr_manifest_find(const struct cr_manifest *manifest, const char *name);

// CR_DENIED if there is a roster and it has no silo with this name and key.
enum cr_status cr_manifest_admits(const struct cr_manifest *manifest, const char *name,
                                  const unsigned char key[CR_SHA256_SIZE]);

// CR_DENIED if this program is older than the job requires, or the time is before the job's floor.
enum cr_status cr_manifest_check(const struct cr_manifest *manifest, int64_t now);

// The version of this program.
void cr_manifest_program(uint64_t version[3]);

// Appends the names of what differs between two manifests, for a message: "the owner's key,
// federation.rounds". Nothing if they are equal.
enum cr_status cr_manifest_difference(const struct cr_manifest *a, const struct cr_manifest *b,
                                      struct cr_buffer *out);

// The same for two texts of settings that are not byte-equal.
enum cr_status cr_manifest_settings_difference(const char *a, const char *b, struct cr_buffer *out);

#endif
