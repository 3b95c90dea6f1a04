// Puts all memory that OpenSSL allocates, such as keys of sessions, pads and certificates, into secret pages
// (base/secret.h). Not for other layers.
#ifndef CARREL_CRYPTO_HEAP_H
#define CARREL_CRYPTO_HEAP_H

#include <stdbool.h>

// To be called before OpenSSL allocates anything; later it has no effect. Freed blocks are wiped and kept for
// reuse by blocks of their size, so memory stays at the most that was ever in use. False if there is no
// memory to begin with.
bool cr_openssl_heap_start(void);

#endif
