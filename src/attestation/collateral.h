// What Intel's TCB infos and QE identities say of a platform's parts: which level of patches they have.
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
    CR_TCB_UNRECOGNIZED, // below every level that is listed
    CR_TCB_UNKNOWN,      // nothing says what to compare with
    CR_TCB_STATUSES,
};
const char *cr_tcb_status_name(enum cr_tcb_status status); // as Intel writes it; the last two are ours

struct cr_tcb_level {
    enum cr_tcb_status status;
    const char *date;                 // tcbDate, or NULL; lives as long as the JSON
    const struct cr_json *advisories; // a list of strings, or NULL
};

// Whether the TCB info is for the platform: FMSPC and PCE-ID are equal.
bool cr_tcb_info_is_for(const struct cr_json *info, const struct cr_pck *pck);

// The platform's level in a TCB info: the first that asks for no more than the PCK certificate's SVNs and, of
// a TD (td is not NULL), its tee_tcb_svn have. CR_INVALID where the JSON is malformed.
enum cr_status cr_tcb_info_level(const struct cr_json *info, const struct cr_pck *pck,
                                 const struct cr_td_report *td, struct cr_tcb_level *out);

// Compares a TD's module (signer and attributes) with a TCB info for TDX, and sets *out to the module's own
// level; CR_TCB_UP_TO_DATE with a module of version 0, whose SVN is the platform level's matter. CR_DENIED
// where it is another module.
enum cr_status cr_tdx_module_level(const struct cr_json *info, const struct cr_td_report *td,
                                   struct cr_tcb_level *out);

// Compares a quoting enclave with its identity, and sets *out to its level. CR_DENIED, naming the field,
// where it is another enclave.
enum cr_status cr_qe_identity_level(const struct cr_json *identity, const struct cr_sgx_report *qe,
                                    struct cr_tcb_level *out);

// The platform's status once that of its QE or TDX module is taken in.
enum cr_tcb_status cr_tcb_status_with(enum cr_tcb_status platform, enum cr_tcb_status part);

#endif
