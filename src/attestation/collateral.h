// Compares a platform with Intel's TCB infos and QE identities, which list levels of patches of its parts.
//
// Source: Intel, "API for Provisioning Certification Service", TCB info versions 2 and 3, enclave identity
// version 2, and the algorithms described with them.
#ifndef CARREL_ATTESTATION_COLLATERAL_H
#define CARREL_ATTESTATION_COLLATERAL_H

#include "attestation/pck.h"
#include "attestation/quote.h"

struct cr_json;

enum cr_tcb_status {
    CR_TCB_UP_TO_DATE,
    CR_TCB_SW_HARDENING_NEEDED,
    CR_TCB_CONFIGURATION_NEEDED,
    CR_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED,
    CR_TCB_OUT_OF_DATE,
    CR_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED,
    CR_TCB_REVOKED,
    CR_TCB_UNRECOGNIZED, // below every level in the list
    CR_TCB_UNKNOWN,      // there is nothing to compare with
    CR_TCB_STATUSES,
};
const char *cr_tcb_status_name(enum cr_tcb_status status); // Intel's names; the last two are carrel's

struct cr_tcb_level {
    enum cr_tcb_status status;
    const char *date;                 // tcbDate, or NULL; borrowed from the JSON
    const struct cr_json *advisories; // a list of strings, or NULL
};

// Whether the TCB info is for this platform: FMSPC and PCE-ID are equal.
bool cr_tcb_info_is_for(const struct cr_json *info, const struct cr_pck *pck);

// The platform's level in a TCB info: the first one that requires no more than the SVNs of the PCK
// certificate and, for a TD (td is not NULL), of its tee_tcb_svn. CR_INVALID if the JSON is malformed.
enum cr_status cr_tcb_info_level(const struct cr_json *info, const struct cr_pck *pck,
                                 const struct cr_td_report *td, struct cr_tcb_level *out);

// Compares a TD's module (signer and attributes) with a TCB info for TDX, and sets *out to the module's own
// level; CR_TCB_UP_TO_DATE for a module of version 0, whose SVN is part of the platform's level. CR_DENIED if
// it is another module.
enum cr_status cr_tdx_module_level(const struct cr_json *info, const struct cr_td_report *td,
                                   struct cr_tcb_level *out);

// Compares a quoting enclave with its identity, and sets *out to its level. CR_DENIED, naming the field, if
// it is another enclave.
enum cr_status cr_qe_identity_level(const struct cr_json *identity, const struct cr_sgx_report *qe,
                                    struct cr_tcb_level *out);

// The platform's status combined with the status of its QE or TDX module.
enum cr_tcb_status cr_tcb_status_with(enum cr_tcb_status platform, enum cr_tcb_status part);

#endif
