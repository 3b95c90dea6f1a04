// Evidence that a certificate carries (RA-TLS): that it speaks of the certificate's very key.
//
// Source: Confidential Computing Consortium, "Interoperable RA-TLS X.509 Cert and Evidence Formats";
// Gramine's RA-TLS for certificates without claims.
#ifndef CARREL_ATTESTATION_RA_TLS_H
#define CARREL_ATTESTATION_RA_TLS_H

#include "attestation/appraise.h"

// Findings about what lies around the evidence, whose report data these are (64 bytes): "claims" that it is
// bound to the claims beside it, "certificate_key" that they, or the report data by itself, are about the
// key, and "certificate" that this is signed and good at the time. Nothing where the evidence came by itself.
enum cr_status cr_ra_tls_judge(const struct cr_evidence *evidence, struct cr_slice report_data,
                               const struct cr_grounds *grounds, struct cr_appraisal *appraisal);

#endif
