// Reads Intel's PCK certificate extension about its platform, 1.2.840.113741.1.13.1.
//
// Source: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification", section 1.3.5.
#ifndef CARREL_ATTESTATION_PCK_H
#define CARREL_ATTESTATION_PCK_H

#include "base/bytes.h"

#define CR_PCK_OID "1.2.840.113741.1.13.1"

enum { CR_PCK_COMPONENTS = 16, CR_FMSPC_SIZE = 6, CR_PCEID_SIZE = 2 };

struct cr_pck {
    unsigned char fmspc[CR_FMSPC_SIZE]; // family, model, stepping, platform, custom SKU
    unsigned char pce_id[CR_PCEID_SIZE];
    unsigned char components[CR_PCK_COMPONENTS]; // SVNs of the platform's components
    uint16_t pce_svn;
};

// `extension` is the extension's content.
enum cr_status cr_pck_parse(struct cr_slice extension, struct cr_pck *out);

#endif
