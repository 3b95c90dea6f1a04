// Who may speak to whom: TLS 1.3 under one federation's CA, nothing else.
//
// No tickets, no resumption, no early data, no renegotiation, no configuration from outside the program.
#ifndef CARREL_CHANNEL_TLS_H
#define CARREL_CHANNEL_TLS_H

#include "crypto/identity.h"

// One way of opening connections; shared by any number of them, and outlives them.
struct cr_tls;

// The server: shows its certificate and the CA's; asks for a member's certificate and verifies it if one
// comes. A peer without one is anonymous, and may only enrol.
enum cr_status cr_tls_new_server(const struct cr_identity *identity, struct cr_tls **out);

// A member: both certificates verify under the CA, and the peer's role is "server".
enum cr_status cr_tls_new_member(const struct cr_identity *identity, struct cr_tls **out);

// A newcomer: shows nothing; the server's chain must hold the CA with this fingerprint.
enum cr_status cr_tls_new_enrol(const unsigned char fingerprint[CR_SHA256_SIZE], struct cr_tls **out);

// Members' connections of `tls`, from now on, begin with a challenge either way (channel/challenge.h), and
// open once both ends are admitted. Not called: nobody is attested.
struct cr_admission;
void cr_tls_set_admission(struct cr_tls *tls, const struct cr_admission *admission);

void cr_tls_free(struct cr_tls *tls); // NULL is allowed

// Who is at the other end, once a connection is open.
struct cr_peer {
    bool anonymous;
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    unsigned char key[CR_SHA256_SIZE]; // SHA-256 of the public key (SubjectPublicKeyInfo, DER)
};

// For connection.c: SSL_CTX *; and the peer of an SSL * after its handshake. A client refuses a peer whose
// role is not "server": CR_DENIED.
void *cr_tls_context(struct cr_tls *tls);
bool cr_tls_is_server(const struct cr_tls *tls);
const struct cr_admission *cr_tls_admission(const struct cr_tls *tls); // NULL where nobody is attested
enum cr_status cr_tls_peer(const struct cr_tls *tls, const void *ssl, struct cr_peer *out);

// This end as the peer sees it, and 32 bytes that both ends of this very connection have and nobody else (RFC
// 8446, section 7.5, under a label of our own).
enum { CR_TLS_EXPORTER_SIZE = 32 };
enum cr_status cr_tls_own(const void *ssl, struct cr_peer *out);
enum cr_status cr_tls_export(void *ssl, unsigned char out[CR_TLS_EXPORTER_SIZE]);

// The sentence for what libssl's error queue holds after a failed call on `ssl`; empties the queue. To a
// member it is CR_IO: what ends TLS may be of the moment (a proxy whose server is away, a clock that is
// wrong), and anybody can be it.
enum cr_status cr_tls_failure(const void *ssl, const char *peer);

#endif
