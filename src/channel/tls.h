// Who may connect to whom: TLS 1.3 with certificates from one federation's CA, and nothing else.
//
// No tickets, resumption, early data or renegotiation, and no configuration from outside the program.
#ifndef CARREL_CHANNEL_TLS_H
#define CARREL_CHANNEL_TLS_H

#include "crypto/identity.h"

// The TLS settings of one end; shared by any number of connections, and must outlive them.
struct cr_tls;

// A server: shows its certificate and the CA's, asks for a member's certificate, and verifies it if one is
// sent. A peer without a certificate is anonymous, and may only enrol.
enum cr_status cr_tls_new_server(const struct cr_identity *identity, struct cr_tls **out);

// A member: shows its certificate. The server's certificate must be from the CA and have the role "server".
enum cr_status cr_tls_new_member(const struct cr_identity *identity, struct cr_tls **out);

// A newcomer: shows no certificate. The server's chain must contain the CA with this fingerprint.
enum cr_status cr_tls_new_enrol(const unsigned char fingerprint[CR_SHA256_SIZE], struct cr_tls **out);

// From now on, members' connections with `tls` begin with a mutual challenge (channel/challenge.h), and open
// once both ends are admitted. Without this call there is no attestation. `admission` is borrowed.
struct cr_admission;
void cr_tls_set_admission(struct cr_tls *tls, const struct cr_admission *admission);

void cr_tls_free(struct cr_tls *tls); // NULL is allowed

// The other end of an open connection.
struct cr_peer {
    bool anonymous;
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    unsigned char key[CR_SHA256_SIZE]; // SHA-256 of the public key (SubjectPublicKeyInfo, DER)
};

// For connection.c. cr_tls_context returns the SSL_CTX *. cr_tls_peer describes the peer of an SSL * after
// its handshake; at a client it fails with CR_DENIED if the peer's role is not "server".
void *cr_tls_context(struct cr_tls *tls);
bool cr_tls_is_server(const struct cr_tls *tls);
const struct cr_admission *cr_tls_admission(const struct cr_tls *tls); // NULL if there is no attestation
enum cr_status cr_tls_peer(const struct cr_tls *tls, const void *ssl, struct cr_peer *out);

// cr_tls_own describes this end as the peer sees it. cr_tls_export writes 32 bytes that only the two ends of
// this connection know (RFC 8446, section 7.5, with a label of our own).
enum { CR_TLS_EXPORTER_SIZE = 32 };
enum cr_status cr_tls_own(const void *ssl, struct cr_peer *out);
enum cr_status cr_tls_export(void *ssl, unsigned char out[CR_TLS_EXPORTER_SIZE]);

// Fails with a message for what is in libssl's error queue after a failed call on `ssl`, and empties the
// queue. For a member the status is always CR_IO: the cause may be temporary (a proxy without its server, a
// wrong clock), and anybody on the network can bring it about.
enum cr_status cr_tls_failure(const void *ssl, const char *peer);

#endif
