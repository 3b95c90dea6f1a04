// OpenSSL's memory: all that it allocates, keys of sessions, pads and certificates among it, lies in secret
// pages (base/secret.h). Not for other layers.
#ifndef CARREL_CRYPTO_HEAP_H
#define CARREL_CRYPTO_HEAP_H

// To be called before OpenSSL allocates anything; later it is too late and does nothing. What is freed is
// wiped, and kept for the next of its size: memory grows to the most that was ever in use.
void cr_openssl_heap_start(void);

#endif
