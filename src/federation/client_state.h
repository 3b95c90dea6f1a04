// What a silo stores on disk, so that it need not be invited again nor repeat its training:
//
//   key.sealed, certificate.pem, authority.pem   its identity (crypto/identity.h)
//   job.cbor                                     the signed job that it agreed to (attestation/manifest.h)
//   server.token                                 the join token without its secret: where the server is
//   seen.sealed                                  the server's newest announcement (federation/rollback.h)
//   update.sealed                                the last round that it trained, and of which run
//   trainer-N.sealed                             the learner after that round N; holds the update's values
//   fetched                                      where the result was saved, if it was
//   audit.jsonl                                  the servers it met, and the grounds (attestation/audit.h)
//   sealing.key, sealing.tpm                     what the sealing key is made from, if that is a file
//   lock                                         held by the one process that uses the directory
//
// Files named *.sealed are sealed (crypto/seal.h) and bound to the job, except key.sealed, which is bound to
// nothing, since it exists before there is a job.
#ifndef CARREL_FEDERATION_CLIENT_STATE_H
#define CARREL_FEDERATION_CLIENT_STATE_H

#include "attestation/manifest.h"
#include "channel/token.h"
#include "federation/rollback.h"
#include "federation/round.h"

struct cr_client_state {
    char *path;
    const struct cr_sealing_key *key;  // borrowed
    unsigned char job[CR_SHA256_SIZE]; // digest from the token
    int lock_fd;
    struct cr_identity *identity;
    bool enrolled; // has a certificate that was valid when the state was opened
    char *manifest_path;
    bool has_manifest; // job.cbor exists
    struct cr_manifest manifest;
    bool has_answer; // update.sealed exists; the next two are set
    unsigned char run[CR_SHA256_SIZE];
    struct cr_answer answer;
    bool has_seen; // seen.sealed exists; the next one is set
    struct cr_seen seen;
};

// Opens the directory: reads what exists and makes what is missing, such as the key. Fails with CR_INVALID if
// the identity is from another federation or has another name than the token, or if the job is another one.
// `key` must outlive the state. Free with cr_client_state_close.
enum cr_status cr_client_state_open(const char *path, const struct cr_token *token,
                                    const struct cr_sealing_key *key, struct cr_client_state **out);
void cr_client_state_close(struct cr_client_state *state); // NULL is allowed

// What the directory has for a silo with this token. Changes nothing, and opens no sealed file.
struct cr_client_look {
    bool enrolled;     // there is a certificate
    bool expired;      // which has expired: the silo will enrol again
    bool has_manifest; // there is the agreed job, and it is the token's
    struct cr_manifest manifest;
};
void cr_client_look_release(struct cr_client_look *look); // usable with CR_CLEANUP

// Fails with CR_INVALID as cr_client_state_open does.
enum cr_status cr_client_state_look(const char *path, const struct cr_token *token,
                                    struct cr_client_look *out);

// cr_client_state_keep_token stores the token without the secret for enrolling. cr_client_state_token reads
// it again, for members that have no token at hand; CR_NOT_FOUND if there is none.
enum cr_status cr_client_state_keep_token(const struct cr_client_state *state, const struct cr_token *token);
enum cr_status cr_client_state_token(const char *path, struct cr_token *out);

// Takes the certificate into the identity and stores it.
enum cr_status cr_client_state_enrol(struct cr_client_state *state, struct cr_slice certificate,
                                     struct cr_slice authority);

// Stores the signed job, after it was checked.
enum cr_status cr_client_state_agree(struct cr_client_state *state, struct cr_slice manifest);

// Sets *out to the path of the learner's state after `round`; release it with free.
enum cr_status cr_client_state_trainer(const struct cr_client_state *state, uint64_t round, char **out);

// Stores the answer, whose learner's state has been written; removes the state of the previous answer.
enum cr_status cr_client_state_keep(struct cr_client_state *state, const unsigned char run[CR_SHA256_SIZE],
                                    const struct cr_answer *answer);

// cr_client_state_fetch stores where the result was saved; cr_client_state_fetched tells whether it was saved
// in `output`.
enum cr_status cr_client_state_fetch(const struct cr_client_state *state, const char *output);
enum cr_status cr_client_state_fetched(const struct cr_client_state *state, const char *output,
                                       bool *fetched);

// Stores the server's announcement.
enum cr_status cr_client_state_see(struct cr_client_state *state, const struct cr_seen *seen);

// How files of this purpose are sealed in this directory.
struct cr_sealing cr_client_state_sealing(const struct cr_client_state *state, const char *purpose);

#endif
