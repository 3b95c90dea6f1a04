// Parses AMD's SEV-SNP attestation reports, versions 2 to 5.
//
// Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), table "ATTESTATION_REPORT
// structure".
#ifndef CARREL_ATTESTATION_REPORT_H
#define CARREL_ATTESTATION_REPORT_H

#include "base/bytes.h"

enum { CR_SNP_REPORT_SIZE = 0x4a0, CR_SNP_SIGNED_SIZE = 0x2a0, CR_SNP_CHIP_ID_SIZE = 64 };

// Security versions of the platform's components. Processors before Turin have no FMC.
struct cr_snp_tcb {
    uint8_t fmc, bootloader, tee, snp, microcode;
};

// Splits the 64-bit TCB version; Turin (family 0x1a) lays it out differently from Milan and Genoa.
struct cr_snp_tcb cr_snp_tcb_of(uint64_t word, bool is_turin);

// Bits of `policy`.
enum {
    CR_SNP_POLICY_SMT = 1 << 16,
    CR_SNP_POLICY_MIGRATE = 1 << 18, // a migration agent may be associated
    CR_SNP_POLICY_DEBUG = 1 << 19,
    CR_SNP_POLICY_SINGLE_SOCKET = 1 << 20,
};

enum cr_snp_key { CR_SNP_VCEK = 0, CR_SNP_VLEK = 1, CR_SNP_UNSIGNED = 7 };

// All slices point into the report's bytes.
struct cr_snp_report {
    uint32_t version, guest_svn, vmpl;
    uint64_t policy, platform_info;
    uint64_t current_tcb, reported_tcb, committed_tcb, launch_tcb; // cr_snp_tcb_of
    uint8_t signing_key;                                           // enum cr_snp_key
    bool author_key, chip_masked;
    struct cr_slice signed_part, family_id, image_id, report_data, measurement; // .., 16, 16, 64, 48 bytes
    struct cr_slice host_data, id_key_digest, author_key_digest;                // 32, 48, 48
    struct cr_slice report_id, report_id_ma, chip_id;                           // 32, 32, 64
    bool has_cpuid;                                                             // from version 3 on
    uint8_t cpuid_family, cpuid_model, cpuid_stepping;
    uint8_t current[3], committed[3]; // of the firmware: major, minor, build
    bool has_mitigations;             // version 5
    uint64_t launch_mitigations, current_mitigations;
    unsigned char signature[96]; // r ‖ s, big-endian
    size_t trailing;             // bytes after the report's end
};

// Whether the bytes look like a report, well-formed or not.
bool cr_snp_report_is_one(struct cr_slice bytes);

// CR_INVALID if it is truncated or a reserved field is not zero, CR_UNSUPPORTED for other versions and
// algorithms.
enum cr_status cr_snp_report_parse(struct cr_slice bytes, struct cr_snp_report *out);

#endif
