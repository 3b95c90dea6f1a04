// Replaces sealing_development_make.c in what a TEE measures.
#include "attestation/sealing_development.h"

enum cr_status cr_sealing_development(const char *directory, unsigned char out[CR_KEY_SIZE])
{
    (void)directory, (void)out;
    return cr_fail(CR_UNSUPPORTED,
                   "sealing: no TEE with a sealing key is to be seen here, and a program that is "
                   "built for TEEs seals under no other");
}
