// Settings of all TLS connections: only version 1.3, no tickets, no resumption, no early data, no
// renegotiation, no configuration from outside the program.
#ifndef CARREL_CRYPTO_TLS_BASIS_H
#define CARREL_CRYPTO_TLS_BASIS_H

#include "base/status.h"

#include <stdbool.h>

// Makes an SSL_CTX * with these settings and no identity, for a server or client; the caller frees it.
enum cr_status cr_tls_basis_context(bool server, void **out);

// Reports what libssl's error queue contains after a failed call that was not about a certificate, and
// empties the queue. Closed connections and bytes changed in transit are CR_IO, a refusal by the peer is
// CR_DENIED, the rest CR_PROTOCOL.
enum cr_status cr_tls_basis_failure(const char *peer);

#endif
