// The job manifest: all that a federation is to do, signed by the owner of the model. Its digest is in every
// join token and in all evidence, so that neither server nor silo can be made to do anything else.
//
// The signed form is a COSE_Sign1 message (attestation/cose.h) of the payload, a CBOR map in its
// deterministic form (RFC 8949, section 4.2): keys 1 to 11 in this order, of which 2 and 8 may be missing.
//
//    1  version                                 1
//    2  owner's key, a point x ‖ y of P-256     64 bytes; missing until it is signed
//    3  digest of the model                     32 bytes (tuning/base_digest.h)
//    4  digest of the tokenizer                 32 bytes
//    5  fingerprint of the federation's CA      32 bytes (crypto/identity.h)
//    6  roster                                  list of [name, SHA-256 of the public key], sorted by name
//    7  settings                                text: canonical YAML
//    8  appraisal policy                        text: YAML; missing where there is none
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

// Zero-initialise it; release it.
struct cr_manifest {
    bool has_owner;
    unsigned char owner[CR_IDENTITY_POINT_SIZE];
    unsigned char model[CR_SHA256_SIZE], tokenizer[CR_SHA256_SIZE], authority[CR_SHA256_SIZE];
    struct cr_manifest_silo *roster; // NULL where anyone may be a silo whom the server invites
    size_t roster_count;
    char *settings;
    char *policy; // or NULL
    uint64_t version[3];
    int64_t time_floor, collateral_floor;
    unsigned char digest[CR_SHA256_SIZE]; // SHA-256 of the payload, set by whatever reads or signs
};

void cr_manifest_release(struct cr_manifest *manifest);

// Appends the payload. A roster that is not sorted, and texts that a reader would not take, are CR_INVALID.
enum cr_status cr_manifest_write(const struct cr_manifest *manifest, struct cr_buffer *out);

// Takes exactly the bytes that cr_manifest_write writes of what they say; anything else is CR_INVALID. So is
// a policy that is none.
enum cr_status cr_manifest_parse(struct cr_slice payload, struct cr_manifest *out);

// Makes the identity the owner and appends the signed form.
enum cr_status cr_manifest_sign(struct cr_manifest *manifest, const struct cr_identity *owner,
                                struct cr_buffer *out);

// The signed form, whose signature is verified with the owner's key inside: CR_DENIED where it is not his.
// Whether that owner is the right one, the digest says.
enum cr_status cr_manifest_open(struct cr_slice bytes, struct cr_manifest *out);

// Either form from a file: one that is not signed has no owner. Also appends the bytes to `form`, unless that
// is NULL.
enum cr_status cr_manifest_read(const char *path, struct cr_manifest *out, struct cr_buffer *form);

// The silo of that name, or NULL.
const struct cr_manifest_silo *cr_manifest_find(const struct cr_manifest *manifest, const char *name);

// CR_DENIED where there is a roster, and no silo of that name and key in it.
enum cr_status cr_manifest_admits(const struct cr_manifest *manifest, const char *name,
                                  const unsigned char key[CR_SHA256_SIZE]);

// CR_DENIED where this program is older than the job asks for, or the time is before its floor.
enum cr_status cr_manifest_check(const struct cr_manifest *manifest, int64_t now);

// The version of this program.
void cr_manifest_program(uint64_t version[3]);

// Appends, for a sentence, what differs between two: "the owner's key, federation.rounds". Nothing where
// they are equal.
enum cr_status cr_manifest_difference(const struct cr_manifest *a, const struct cr_manifest *b,
                                      struct cr_buffer *out);

// The same of two settings that are not the same bytes.
enum cr_status cr_manifest_settings_difference(const char *a, const char *b, struct cr_buffer *out);

#endif
