// A sealing key for machines without a TEE, so that all that seals can be tried there. Whoever holds the disk
// has it too.
#ifndef CARREL_ATTESTATION_SEALING_DEVELOPMENT_H
#define CARREL_ATTESTATION_SEALING_DEVELOPMENT_H

#include "crypto/keystream.h"

// The key in directory/sealing.key (mode 0600), drawn and written where there is none; of two processes that
// do so at once, both get the same. CR_UNSUPPORTED in the build for TEEs.
enum cr_status cr_sealing_development(const char *directory, unsigned char out[CR_KEY_SIZE]);

#endif
