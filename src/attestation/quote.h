// Intel's DCAP quotes: what an SGX enclave (versions 3 to 5) or a TD (versions 4 and 5) shows of itself.
//
// Source: Intel, "SGX ECDSA Quote Library Reference DCAP API", "TDX DCAP Quoting Library API", appendices A.
#ifndef CARREL_ATTESTATION_QUOTE_H
#define CARREL_ATTESTATION_QUOTE_H

#include "base/bytes.h"

// An enclave's report, 384 bytes: the body of an SGX quote, and the quoting enclave's own in every quote.
struct cr_sgx_report {
    struct cr_slice whole;
    struct cr_slice cpu_svn, isv_ext_prod_id, attributes, mrenclave, mrsigner; // 16, 16, 16, 32, 32 bytes
    struct cr_slice config_id, isv_family_id, report_data;                     // 64, 16, 64
    uint32_t miscselect;
    uint16_t isv_prod_id, isv_svn, config_svn;
};

// A TD's report. The last two are empty in one of TDX 1.0.
struct cr_td_report {
    struct cr_slice tee_tcb_svn, mrseam, mrsignerseam, seam_attributes, td_attributes,
        xfam;                                                                       // 16, 48, 48, 8, 8, 8
    struct cr_slice mrtd, mrconfigid, mrowner, mrownerconfig, rtmr[4], report_data; // 48 each, 64
    struct cr_slice tee_tcb_svn_2, mrservicetd;                                     // 16, 48
};

// What stands for the key that signed the QE's report (certification data).
enum cr_certification {
    CR_CERTIFIED_BY_ID_FIRST = 1, // 1 to 3: the platform's id, in the clear or encrypted; no certificate
    CR_CERTIFIED_BY_LEAF = 4,     // the PCK certificate
    CR_CERTIFIED_BY_CHAIN = 5,    // the PCK certificate and its issuers, in PEM
};

// All slices lie in the quote's bytes.
struct cr_quote {
    uint16_t version;
    bool is_td;
    struct cr_slice user_data;      // 20 bytes
    struct cr_slice signed_part;    // header and body
    struct cr_sgx_report sgx;       // unless is_td
    struct cr_td_report td;         // where is_td
    struct cr_slice signature, key; // 64 bytes each: by the attestation key, and that key
    struct cr_sgx_report qe;
    struct cr_slice qe_signature, qe_auth; // 64 bytes; any number
    uint16_t certification;                // enum cr_certification
    struct cr_slice certification_data;
    size_t trailing; // bytes after the quote's end, which nothing vouches for
};

// Whether the bytes begin as a quote does, well-formed or not: Intel's QE vendor id has its place there.
bool cr_quote_is_one(struct cr_slice bytes);

// CR_INVALID where a length or a type is wrong, CR_UNSUPPORTED for other versions, keys and vendors; each
// sentence names what it is. Nothing is verified yet.
enum cr_status cr_quote_parse(struct cr_slice bytes, struct cr_quote *out);

#endif
