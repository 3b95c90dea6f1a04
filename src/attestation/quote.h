// Parses Intel's DCAP quotes of SGX enclaves (versions 3 to 5) and TDs (versions 4 and 5).
//
// Source: Intel, "SGX ECDSA Quote Library Reference DCAP API", "TDX DCAP Quoting Library API", appendices A.
#ifndef CARREL_ATTESTATION_QUOTE_H
#define CARREL_ATTESTATION_QUOTE_H

#include "base/bytes.h"

// An enclave's report, 384 bytes: the body of an SGX quote, and in every quote the quoting enclave's own
// report.
struct cr_sgx_report {
    struct cr_slice whole;
    struct cr_slice cpu_svn, isv_ext_prod_id, attributes, mrenclave, mrsigner; // 16, 16, 16, 32, 32 bytes
    struct cr_slice config_id, isv_family_id, report_data;                     // 64, 16, 64
    uint32_t miscselect;
    uint16_t isv_prod_id, isv_svn, config_svn;
};

// A TD's report. The last two members are empty in a report of TDX 1.0.
struct cr_td_report {
    struct cr_slice tee_tcb_svn, mrseam, mrsignerseam, seam_attributes, td_attributes,
        xfam;                                                                       // 16, 48, 48, 8, 8, 8
    struct cr_slice mrtd, mrconfigid, mrowner, mrownerconfig, rtmr[4], report_data; // 48 each, 64
    struct cr_slice tee_tcb_svn_2, mrservicetd;                                     // 16, 48
};

// What identifies the key that signed the QE's report (certification data).
enum cr_certification {
    CR_CERTIFIED_BY_ID_FIRST = 1, // 1 to 3: the platform's id, plain or encrypted; no certificate
    CR_CERTIFIED_BY_LEAF = 4,     // the PCK certificate
    CR_CERTIFIED_BY_CHAIN = 5,    // the PCK certificate and its issuers, in PEM
};

// All slices point into the quote's bytes.
struct cr_quote {
    uint16_t version;
    bool is_td;
    struct cr_slice user_data;      // 20 bytes
    struct cr_slice signed_part;    // header and body
    struct cr_sgx_report sgx;       // if not is_td
    struct cr_td_report td;         // if is_td
    struct cr_slice signature, key; // 64 bytes each: the attestation key's signature, and the key
    struct cr_sgx_report qe;
    struct cr_slice qe_signature, qe_auth; // 64 bytes; any size
    uint16_t certification;                // enum cr_certification
    struct cr_slice certification_data;
    size_t trailing; // bytes after the quote's end, which are not signed
};

// Whether the bytes start like a quote, well-formed or not: whether Intel's QE vendor id is in its place.
bool cr_quote_is_one(struct cr_slice bytes);

// CR_INVALID if a length or type is wrong, CR_UNSUPPORTED for other versions, keys and vendors; the message
// names it. Nothing is verified.
enum cr_status cr_quote_parse(struct cr_slice bytes, struct cr_quote *out);

#endif
