// What a silo keeps on disk, so that it need not be invited again, nor train again what it trained:
//
//   key.sealed, certificate.pem, authority.pem   who it is (crypto/identity.h)
//   job.cbor                                     the signed job that it agreed to (attestation/manifest.h)
//   server.token                                 the join token without its secret: where the server is
//   seen.sealed                                  the newest that the server told it (federation/rollback.h)
//   update.sealed                                the last round it trained, and of which run
//   trainer-N.sealed                             the learner after that round N; holds the update's values
//   fetched                                      where the result was saved, if it was
//   audit.jsonl                                  the servers it met, on what grounds (attestation/audit.h)
//   sealing.key, sealing.tpm                     what the sealing key is made from, where it is a file
//   lock                                         held by the one process that uses the directory
//
// What is called sealed is sealed (crypto/seal.h) and bound to the job; the key to nothing, since it is there
// before.
#ifndef CARREL_FEDERATION_CLIENT_STATE_H
#define CARREL_FEDERATION_CLIENT_STATE_H

#include "attestation/manifest.h"
#include "channel/token.h"
#include "federation/rollback.h"
#include "federation/round.h"

struct cr_client_state {
    char *path;
    const struct cr_sealing_key *key;  // the caller's
    unsigned char job[CR_SHA256_SIZE]; // the token's
    int lock_fd;
    struct cr_identity *identity;
    bool enrolled; // the identity has its certificate, which was good when the state was opened
    char *manifest_path;
    bool has_manifest; // job.cbor is there
    struct cr_manifest manifest;
    bool has_answer; // update.sealed is there: the next two
    unsigned char run[CR_SHA256_SIZE];
    struct cr_answer answer;
    bool has_seen; // seen.sealed is there: the next
    struct cr_seen seen;
};

// Makes what is missing, a key among it, and reads what is there. An identity of another federation, or of
// another name than the token's, is CR_INVALID, and so is another job than the token's. `key` outlives it.
// Free with cr_client_state_close.
enum cr_status cr_client_state_open(const char *path, const struct cr_token *token,
                                    const struct cr_sealing_key *key, struct cr_client_state **out);
void cr_client_state_close(struct cr_client_state *state); // NULL is allowed

// What lies there for a silo that comes with this token; changes nothing, and opens nothing that is sealed.
struct cr_client_look {
    bool enrolled;     // it has a certificate
    bool expired;      // which is no longer good: it enrols once more
    bool has_manifest; // the job that it agreed to, which is the token's
    struct cr_manifest manifest;
};
void cr_client_look_release(struct cr_client_look *look); // usable with CR_CLEANUP

// CR_INVALID as for cr_client_state_open.
enum cr_status cr_client_state_look(const char *path, const struct cr_token *token,
                                    struct cr_client_look *out);

// Keeps the token that it joins with, without the secret that lets a newcomer in; and finds it again, for
// whoever has none at hand and is a member. CR_NOT_FOUND where there is none.
enum cr_status cr_client_state_keep_token(const struct cr_client_state *state, const struct cr_token *token);
enum cr_status cr_client_state_token(const char *path, struct cr_token *out);

// Takes and keeps the certificate.
enum cr_status cr_client_state_enrol(struct cr_client_state *state, struct cr_slice certificate,
                                     struct cr_slice authority);

// Keeps the signed job, which was found right.
enum cr_status cr_client_state_agree(struct cr_client_state *state, struct cr_slice manifest);

// Where the learner's state after `round` is; free with free.
enum cr_status cr_client_state_trainer(const struct cr_client_state *state, uint64_t round, char **out);

// Keeps the answer, whose learner's state is written already; removes that of the round before.
enum cr_status cr_client_state_keep(struct cr_client_state *state, const unsigned char run[CR_SHA256_SIZE],
                                    const struct cr_answer *answer);

// Keeps where the result was saved; and whether it was saved there.
enum cr_status cr_client_state_fetch(const struct cr_client_state *state, const char *output);
enum cr_status cr_client_state_fetched(const struct cr_client_state *state, const char *output,
                                       bool *fetched);

// Keeps what the server told.
enum cr_status cr_client_state_see(struct cr_client_state *state, const struct cr_seen *seen);

// How files of that purpose are sealed here.
struct cr_sealing cr_client_state_sealing(const struct cr_client_state *state, const char *purpose);

#endif
