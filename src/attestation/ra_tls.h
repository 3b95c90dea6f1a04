// Evidence inside a certificate (RA-TLS): checks that it is bound to the certificate's key.
//
// Source: Confidential Computing Consortium, "Interoperable RA-TLS X.509 Cert and Evidence Formats";
// Gramine's RA-TLS for certificates without claims.
#ifndef CARREL_ATTESTATION_RA_TLS_H
#define CARREL_ATTESTATION_RA_TLS_H

#include "attestation/appraise.h"

// Adds findings about what surrounds the evidence, whose report data (64 bytes) are given: "claims" (the
// evidence is bound to the claims beside it), "certificate_key" (the claims, or the report data themselves,
// are bound to the certificate's key), and "certificate" (it is signed and valid at the time). Adds none if
// the evidence came without a certificate.
enum cr_status cr_ra_tls_judge(const struct cr_evidence *evidence, struct cr_slice report_data,
                               const struct cr_grounds *grounds, struct cr_appraisal *appraisal);

#endif
