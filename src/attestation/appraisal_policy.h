// An appraisal policy: what evidence must contain, and which findings are tolerated.
#ifndef CARREL_ATTESTATION_APPRAISAL_POLICY_H
#define CARREL_ATTESTATION_APPRAISAL_POLICY_H

#include "attestation/appraisal.h"
#include "crypto/hash.h"
#include "format/options.h"

struct cr_policy_pcr {
    size_t index;
    struct cr_string_list values;
};

// Lists of strings contain hexadecimal text (except allow_tcb_status); an empty list makes no demand.
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

// The policy that demands no program and tolerates nothing.
enum cr_status cr_appraisal_policy_default(struct cr_appraisal_policy *out);

// Reads a YAML file; values that are not hexadecimal text of the right size, and a signer without product
// ids, are CR_INVALID.
enum cr_status cr_appraisal_policy_read(const char *path, struct cr_appraisal_policy *out);
enum cr_status cr_appraisal_policy_parse(struct cr_slice yaml, const char *name,
                                         struct cr_appraisal_policy *out);
void cr_appraisal_policy_release(struct cr_appraisal_policy *policy);

// Sets *roots (to be freed with free) and *total to the roots that the policy trusts or, if it names none, to
// the `count` roots in `usual`.
enum cr_status cr_appraisal_policy_roots(const struct cr_appraisal_policy *policy,
                                         const unsigned char (*usual)[CR_SHA256_SIZE], size_t count,
                                         unsigned char (**roots)[CR_SHA256_SIZE], size_t *total);

bool cr_appraisal_policy_allows_status(const struct cr_appraisal_policy *policy, const char *tcb_status);

// Compare a value with a list in the policy, unless the list is empty, or with a minimum, unless it is 0; add
// a finding named `check`, the key in the policy.
enum cr_status cr_appraisal_policy_compare(struct cr_appraisal *appraisal, const char *check,
                                           const struct cr_string_list *list, struct cr_slice value);
enum cr_status cr_appraisal_policy_compare_number(struct cr_appraisal *appraisal, const char *check,
                                                  const struct cr_size_list *list, size_t value);
enum cr_status cr_appraisal_policy_compare_least(struct cr_appraisal *appraisal, const char *check,
                                                 size_t least, size_t value);

// The same for the 64 bytes of report data; an entry of the policy may be shorter, and is then padded with
// zeros.
enum cr_status cr_appraisal_policy_compare_report_data(struct cr_appraisal *appraisal,
                                                       const struct cr_appraisal_policy *policy,
                                                       struct cr_slice report_data);

// Adds the finding that the policy does not say which program is right; `wanted` names the keys that would.
enum cr_status cr_appraisal_policy_program_unknown(struct cr_appraisal *appraisal,
                                                   const struct cr_appraisal_policy *policy,
                                                   const char *wanted);

#endif
