// Replaces development_make.c in what a TEE measures.
#include "attestation/development.h"

enum cr_status cr_development_make(const unsigned char report_data[CR_DEVELOPMENT_PART],
                                   struct cr_buffer *out)
{
    (void)report_data, (void)out;
    return cr_fail(CR_UNSUPPORTED,
                   "the development attester is not part of a program that is built for TEEs");
}
