// An appraisal policy: what evidence must say, and what may be overlooked.
#ifndef CARREL_ATTESTATION_APPRAISAL_POLICY_H
#define CARREL_ATTESTATION_APPRAISAL_POLICY_H

#include "attestation/appraisal.h"
#include "crypto/hash.h"
#include "format/options.h"

struct cr_policy_pcr {
    size_t index;
    struct cr_string_list values;
};

// Lists of strings are of hexadecimal text (but for the statuses); an empty one asks for nothing.
struct cr_appraisal_policy {
    bool allow_debug, allow_unknown_program, allow_missing_crl, allow_expired_collateral, allow_revoked,
        allow_development;
    struct cr_string_list allow_tcb_status, trusted_roots, report_data;
    struct {
        struct cr_string_list mrenclave, mrsigner;
        struct cr_size_list isv_prod_id;
        size_t min_isv_svn;
    } sgx;
    struct {
        struct cr_string_list mrtd, rtmr[4], mrconfigid, mrowner, mrownerconfig;
        bool allow_migration;
    } tdx;
    struct {
        struct cr_string_list measurement, host_data, id_key_digest, author_key_digest, chip_id;
        struct cr_size_list vmpl;
        size_t min_guest_svn;
        struct {
            size_t fmc, bootloader, tee, snp, microcode;
        } min_tcb;
        bool allow_migration;
    } snp;
    struct {
        bool allow_measured_boot;
        struct cr_record_list pcrs; // struct cr_policy_pcr
    } tpm;
};

extern const struct cr_option_table cr_appraisal_policy_table;

// The policy that asks for no program and overlooks nothing.
enum cr_status cr_appraisal_policy_default(struct cr_appraisal_policy *out);

// From a YAML file; values that are no hexadecimal text of the right size, and a signer without products, are
// refused.
enum cr_status cr_appraisal_policy_read(const char *path, struct cr_appraisal_policy *out);
enum cr_status cr_appraisal_policy_parse(struct cr_slice yaml, const char *name,
                                         struct cr_appraisal_policy *out);
void cr_appraisal_policy_release(struct cr_appraisal_policy *policy);

// The roots that the policy trusts, or these `count` where it names none; *roots (free with free) and *total.
enum cr_status cr_appraisal_policy_roots(const struct cr_appraisal_policy *policy,
                                         const unsigned char (*usual)[CR_SHA256_SIZE], size_t count,
                                         unsigned char (**roots)[CR_SHA256_SIZE], size_t *total);

bool cr_appraisal_policy_allows_status(const struct cr_appraisal_policy *policy, const char *tcb_status);

// Compares with a list of the policy's, where it is not empty, or with a least value above 0: a finding named
// `check`, which is the list's key.
enum cr_status cr_appraisal_policy_compare(struct cr_appraisal *appraisal, const char *check,
                                           const struct cr_string_list *list, struct cr_slice value);
enum cr_status cr_appraisal_policy_compare_number(struct cr_appraisal *appraisal, const char *check,
                                                  const struct cr_size_list *list, size_t value);
enum cr_status cr_appraisal_policy_compare_least(struct cr_appraisal *appraisal, const char *check,
                                                 size_t least, size_t value);

// The same for the 64 bytes of report data: what the policy lists may be shorter, the rest is zeros then.
enum cr_status cr_appraisal_policy_compare_report_data(struct cr_appraisal *appraisal,
                                                       const struct cr_appraisal_policy *policy,
                                                       struct cr_slice report_data);

// The finding that the policy does not say which program is right; `wanted` names the keys that would.
enum cr_status cr_appraisal_policy_program_unknown(struct cr_appraisal *appraisal,
                                                   const struct cr_appraisal_policy *policy,
                                                   const char *wanted);

#endif
