// AMD's certificates for the keys that sign SNP reports: of a chip (VCEK) or of a cloud's fleet (VLEK).
//
// Source: AMD, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification" (57230).
#ifndef CARREL_ATTESTATION_AMD_H
#define CARREL_ATTESTATION_AMD_H

#include "attestation/report.h"
#include "crypto/x509.h"

// SHA-256 of the keys of "ARK-Milan", "ARK-Genoa" and "ARK-Turin".
enum { CR_AMD_ROOTS = 3 };
extern const unsigned char cr_amd_roots[CR_AMD_ROOTS][CR_SHA256_SIZE];

struct cr_amd_key {
    bool is_vlek;
    bool is_turin;           // its TCB has an FMC
    struct cr_snp_tcb tcb;   // the TCB version for which the key is derived
    struct cr_slice chip_id; // of a VCEK: 8 bytes for Turin, else 64; borrowed from the certificate
    char product[32];        // "Milan-B0"; of a VLEK the fleet's name (CSP id)
};

// Whether the certificate is for such a key: it has the extension for the bootloader's version.
bool cr_amd_key_is_one(const struct cr_x509 *certificate);

// CR_INVALID if an extension is missing or malformed.
enum cr_status cr_amd_key_parse(const struct cr_x509 *certificate, struct cr_amd_key *out);

// Whether a VCEK is of the chip that the report names.
bool cr_amd_key_is_of_chip(const struct cr_amd_key *key, struct cr_slice chip_id);

#endif
