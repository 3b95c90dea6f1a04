// What every TLS connection has in common: version 1.3 alone, no tickets, no resumption, no early data, no
// renegotiation, no configuration from outside the program.
#ifndef CARREL_CRYPTO_TLS_BASIS_H
#define CARREL_CRYPTO_TLS_BASIS_H

#include "base/status.h"

#include <stdbool.h>

// SSL_CTX * with these settings and no identity, for one side; the caller frees it.
enum cr_status cr_tls_basis_context(bool server, void **out);

// The sentence for what libssl's error queue holds after a failed call that was not about a certificate;
// empties the queue. Ends of connections and bytes that were changed on their way are CR_IO, what a peer
// refuses CR_DENIED, the rest CR_PROTOCOL.
enum cr_status cr_tls_basis_failure(const char *peer);

#endif
