// What a server keeps on disk, in federation.state_dir, so that a restarted one goes on where it was:
//
//   authority/, server/      the CA and the server's own certificate (crypto/identity.h)
//   invitations/HASH.json    one per join token, by the SHA-256 of its secret (federation/invitation.h)
//   state.sealed             run, round, members, as JSON; replaced as a whole
//   values-N.sealed          the global values that round N begins with, float32; bound to the run's job
//   port                     the port it listens on
//   seed.sealed              a secret of 32 bytes, where a run has needed one: for seeds
//                            (federation/discretion.h), and for a split model's activations
//   seed-JOB.sealed          that of a job that its owner signed
//   job.cbor, owner/         the signed job, and who signs it where nobody else does
//   run.cbor                 the signed job of the run, whatever settings another start or an invitation had
//   audit.jsonl              who was admitted (attestation/audit.h)
//   sealing.key, sealing.tpm what the sealing key is made from, where it is a file
//   activations/             a split model's examples (federation/cut_store.h)
//   trainer-RUN.sealed       what trains on them
//   lock, serving            held by whoever changes the directory, and by the one server that runs on it
//
// Everything is written to a new file and renamed, values before the state.sealed that names them; values of
// rounds before that, and what was half written, are removed when a server opens the directory. Private
// keys but owner/'s, and what is called sealed, are sealed (crypto/seal.h).
#ifndef CARREL_FEDERATION_STATE_H
#define CARREL_FEDERATION_STATE_H

#include "crypto/identity.h"
#include "federation/discretion.h"
#include "federation/rollback.h"
#include "federation/round.h"
#include "federation/vector.h"

#define CR_STATE_RUN_JOB "run.cbor"

struct cr_member {
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    unsigned char key[CR_SHA256_SIZE]; // SHA-256 of the public key of its certificate
    bool came;                         // to this run, and was not refused: written with the round's end
};

struct cr_state_dir {
    char *path;
    const struct cr_sealing_key *key; // the caller's
    int serving_fd;
    struct cr_identity *authority, *server;
    bool begun;                           // a run is there: the fields below say which
    unsigned char run[CR_SHA256_SIZE];    // its name, random
    unsigned char job[CR_SHA256_SIZE];    // SHA-256 of its job
    uint64_t round;                       // that comes next
    bool finished;                        // no round comes next
    bool settled;                         // and the silos know
    bool delivered;                       // and the result is where the job's release says
    unsigned char digest[CR_SHA256_SIZE]; // of the global values
    uint64_t count;                       // of the global values
    struct cr_member members[CR_SILOS];
    size_t member_count;
};

// Makes what is missing, reads what is there, and takes the directory for this process: CR_INVALID where
// another server runs on it. `key` outlives it. Free with cr_state_close.
enum cr_status cr_state_open(const char *path, const struct cr_sealing_key *key, struct cr_state_dir **out);
void cr_state_close(struct cr_state_dir *state); // NULL is allowed

// Whether a server runs on the directory, which is there.
bool cr_state_is_served(const char *path);

// Holds the directory's lock until cr_file_close(fd). To try waits for nobody: CR_IO while another holds it.
enum cr_status cr_state_lock(const char *path, int *fd);
enum cr_status cr_state_try_lock(const char *path, int *fd);

// A new run, before its first round.
enum cr_status cr_state_begin(struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                              const struct cr_vector *values);

// Writes the values that `round` will begin with, and tells their digest; the state does not name them yet.
// Reads nothing of *state but its path, its key and its job, so that another thread may do it.
enum cr_status cr_state_store(const struct cr_state_dir *state, uint64_t round,
                              const struct cr_vector *values, unsigned char digest[CR_SHA256_SIZE]);

// `round` comes next, from the values stored for it; or all is done.
enum cr_status cr_state_advance(struct cr_state_dir *state, uint64_t round, bool finished,
                                const unsigned char digest[CR_SHA256_SIZE]);

// Notes that the silos know that all is done; that the result was delivered, and need not stay here.
enum cr_status cr_state_settle(struct cr_state_dir *state);
enum cr_status cr_state_deliver(struct cr_state_dir *state);

// The global values of state->round; what is damaged is CR_INVALID.
enum cr_status cr_state_values(const struct cr_state_dir *state, struct cr_vector **out);

// How files of that purpose are sealed that belong to the run's job.
struct cr_sealing cr_state_sealing(const struct cr_state_dir *state, const char *purpose);

// How far the run is, as silos are told, with its receipt.
enum cr_status cr_state_seen(const struct cr_state_dir *state, struct cr_seen *out);

// Adds the member, or gives the one of that name its new key; written before it returns.
enum cr_status cr_state_enrol(struct cr_state_dir *state, const struct cr_member *member);

// The member's number, or SIZE_MAX where there is none of that name.
size_t cr_state_find(const struct cr_state_dir *state, const char *name);

// The secret for seeds and for a split model's activations, drawn and written when it is first asked for: of
// the job of that digest, which its owner signed, or, where the digest is zeros, of all that the server signs
// itself. So whoever runs the server does not get an owner's seeds by a job of his own.
enum cr_status cr_state_seed_secret(const struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                                    unsigned char out[CR_SEED_SECRET_SIZE]);

// The port that the server listens on, or last did; 0: unknown.
enum cr_status cr_state_write_port(const struct cr_state_dir *state, unsigned port);
enum cr_status cr_state_read_port(const char *path, unsigned *port);

#endif
