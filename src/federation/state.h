// What a server stores on disk, in federation.state_dir, so that a restarted server can continue:
//
//   authority/, server/      the CA and the server's own certificate (crypto/identity.h)
//   invitations/HASH.json    one for each join token, named by the SHA-256 of its secret
//                            (federation/invitation.h)
//   state.sealed             run, round, members, as JSON; replaced as a whole
//   values-N.sealed          the global values that round N begins with, float32; bound to the run's job
//   port                     the port it listens on
//   seed.sealed              a secret of 32 bytes, if a run has needed one: for seeds
//                            (federation/discretion.h), and for a split model's activations
//   seed-JOB.sealed          the same for a job that its owner signed
//   job.cbor, owner/         the signed job, and the key that signs it if no owner did
//   run.cbor                 the signed job of the run, whatever settings later starts or invitations have
//   audit.jsonl              who was admitted (attestation/audit.h)
//   sealing.key, sealing.tpm what the sealing key is made from, if that is a file
//   activations/             a split model's examples (federation/cut_store.h)
//   trainer-RUN.sealed       state of the trainer of a split model's tail
//   lock, serving            held by whoever changes the directory, and by the one server that runs on it
//
// Every file is written under a temporary name and renamed, and values are written before the state.sealed
// that names them. When a server opens the directory it removes older rounds' values and half-written files.
// Files named *.sealed, and private keys except that in owner/, are sealed (crypto/seal.h).
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
    unsigned char key[CR_SHA256_SIZE]; // SHA-256 of its certificate's public key
    bool came;                         // it came to this run and was not refused; written when a round closes
};

struct cr_state_dir {
    char *path;
    const struct cr_sealing_key *key; // borrowed
    int serving_fd;
    struct cr_identity *authority, *server;
    bool begun;                           // there is a run, which the fields below describe
    unsigned char run[CR_SHA256_SIZE];    // the run's random name
    unsigned char job[CR_SHA256_SIZE];    // digest of the run's job
    uint64_t round;                       // the next round, from 0
    bool finished;                        // all rounds are done
    bool settled;                         // the silos know that all is done
    bool delivered;                       // the result was delivered as the job's release says
    unsigned char digest[CR_SHA256_SIZE]; // digest of the global values
    uint64_t count;                       // number of the global values
    struct cr_member members[CR_SILOS];
    size_t member_count;
};

// Opens the directory: reads what exists, makes what is missing, and reserves the directory for this process.
// Fails with CR_INVALID if another server runs on it. `key` must outlive the state. Free with cr_state_close.
enum cr_status cr_state_open(const char *path, const struct cr_sealing_key *key, struct cr_state_dir **out);
void cr_state_close(struct cr_state_dir *state); // NULL is allowed

// Whether a server runs on the directory, which must exist.
bool cr_state_is_served(const char *path);

// Takes the directory's lock, which is held until cr_file_close(fd). cr_state_try_lock does not wait: it
// fails with CR_IO while another process holds the lock.
enum cr_status cr_state_lock(const char *path, int *fd);
enum cr_status cr_state_try_lock(const char *path, int *fd);

// Begins a new run of this job with these start values.
enum cr_status cr_state_begin(struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                              const struct cr_vector *values);

// Writes the values with which `round` will begin, and sets their digest; the state does not name them yet.
// Reads only path, key and job of *state, so another thread may do it.
enum cr_status cr_state_store(const struct cr_state_dir *state, uint64_t round,
                              const struct cr_vector *values, unsigned char digest[CR_SHA256_SIZE]);

// Makes `round` the next round, with the values that were stored for it; `finished`: all rounds are done.
enum cr_status cr_state_advance(struct cr_state_dir *state, uint64_t round, bool finished,
                                const unsigned char digest[CR_SHA256_SIZE]);

// cr_state_settle records that the silos know that all is done; cr_state_deliver that the result was
// delivered, and need not stay here.
enum cr_status cr_state_settle(struct cr_state_dir *state);
enum cr_status cr_state_deliver(struct cr_state_dir *state);

// Reads the global values of state->round; CR_INVALID if they are damaged.
enum cr_status cr_state_values(const struct cr_state_dir *state, struct cr_vector **out);

// How files of this purpose are sealed that belong to the run's job.
struct cr_sealing cr_state_sealing(const struct cr_state_dir *state, const char *purpose);

// The announcement of where the run is, as silos receive it, with its receipt.
enum cr_status cr_state_seen(const struct cr_state_dir *state, struct cr_seen *out);

// Adds the member, or gives the member of that name a new key. It is on disk when this returns.
enum cr_status cr_state_enrol(struct cr_state_dir *state, const struct cr_member *member);

// The member's index, or SIZE_MAX if there is none of that name.
size_t cr_state_find(const struct cr_state_dir *state, const char *name);

// Reads the secret for seeds and for a split model's activations; it is drawn and written when it is first
// needed. `job` is the digest of a job that its owner signed, or zeros for all jobs that the server signs
// itself. So an operator cannot get an owner's seeds by making a job of his own.
enum cr_status cr_state_seed_secret(const struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                                    unsigned char out[CR_SEED_SECRET_SIZE]);

// The port that the server listens on, or last listened on; 0: unknown.
enum cr_status cr_state_write_port(const struct cr_state_dir *state, unsigned port);
enum cr_status cr_state_read_port(const char *path, unsigned *port);

#endif
