// A sealing key for machines without a TEE, so that everything that seals can be tried there. Whoever has the
// disk also has the key.
#ifndef CARREL_ATTESTATION_SEALING_DEVELOPMENT_H
#define CARREL_ATTESTATION_SEALING_DEVELOPMENT_H

#include "crypto/keystream.h"

// The key in directory/sealing.key (mode 0600), which is created if there is none; processes that do so at
// the same time all get the same key. CR_UNSUPPORTED in builds for TEEs.
enum cr_status cr_sealing_development(const char *directory, unsigned char out[CR_KEY_SIZE]);

#endif
