#include "attestation/appraisal_policy.h"
#include "attestation/collateral.h"
#include "attestation/evidence.h"
#include "attestation/tpm.h"
#include "base/file.h"
#include "base/parse.h"

#include <string.h>

enum { POLICY_LIMIT = 1 << 20 };

static const struct cr_option pcr_options[] = {
    {.key = "index",
     .type = CR_OPTION_SIZE,
     .offset = offsetof(struct cr_policy_pcr, index),
     .required = true,
     .most = CR_TPM_PCRS - 1,
     .help = "Index of the PCR."},
    {.key = "values",
     .type = CR_OPTION_STRINGS,
     .offset = offsetof(struct cr_policy_pcr, values),
     .required = true,
     .help = "Values that it may have, of 20, 32 or 48 bytes each: the length of its bank's hash."},
};

static const struct cr_option_table pcr_table = {
    .options = pcr_options,
    .count = sizeof pcr_options / sizeof *pcr_options,
    .struct_size = sizeof(struct cr_policy_pcr),
};

#define AT(member) .offset = offsetof(struct cr_appraisal_policy, member)

static const struct cr_option options[] = {
    {.key = "allow_debug",
     .type = CR_OPTION_BOOL,
     AT(allow_debug),
     .fallback = "false",
     .help = "Let evidence pass of debug enclaves, debug TDs and guests whose policy allows debugging. Their "
             "host can read their memory."},
    {.key = "allow_unknown_program",
     .type = CR_OPTION_BOOL,
     AT(allow_unknown_program),
     .fallback = "false",
     .help =
         "Let evidence pass although the policy has too few reference values to say which program it is."},
    {.key = "allow_tcb_status",
     .type = CR_OPTION_STRINGS,
     AT(allow_tcb_status),
     .fallback = "[UpToDate, SWHardeningNeeded]",
     .help = "TCB statuses of the platform that pass, as Intel spells them. `SWHardeningNeeded` means that "
             "the platform has all updates, and that the program itself has to be built with mitigations for "
             "known weaknesses."},
    {.key = "allow_missing_crl",
     .type = CR_OPTION_BOOL,
     AT(allow_missing_crl),
     .fallback = "false",
     .help = "Let keys pass for which there is no revocation list."},
    {.key = "allow_expired_collateral",
     .type = CR_OPTION_BOOL,
     AT(allow_expired_collateral),
     .fallback = "false",
     .help = "Let endorsements and certificates pass that have expired, or are not valid yet, at the time of "
             "appraisal."},
    {.key = "allow_revoked",
     .type = CR_OPTION_BOOL,
     AT(allow_revoked),
     .fallback = "false",
     .help = "Let keys pass that their issuer has revoked."},
    {.key = "allow_development",
     .type = CR_OPTION_BOOL,
     AT(allow_development),
     .fallback = "false",
     .help = "Admit evidence of the development attester, which proves nothing. It is for trials, where "
             "there is nothing to protect."},
    {.key = "trusted_roots",
     .type = CR_OPTION_STRINGS,
     AT(trusted_roots),
     .fallback = "[]",
     .help = "SHA-256 of the root keys (SubjectPublicKeyInfo) that are trusted instead of the vendors'."},
    {.key = "report_data",
     .type = CR_OPTION_STRINGS,
     AT(report_data),
     .fallback = "[]",
     .help = "Report data, to one of which the evidence must be bound, such as a challenge: up to 64 bytes, "
             "padded with zeros at the end."},
    {.key = "sgx.mrenclave",
     .type = CR_OPTION_STRINGS,
     AT(sgx.mrenclave),
     .fallback = "[]",
     .help = "Measurements of the enclaves that are accepted."},
    {.key = "sgx.mrsigner",
     .type = CR_OPTION_STRINGS,
     AT(sgx.mrsigner),
     .fallback = "[]",
     .help = "Signers whose enclaves are accepted; needs `sgx.isv_prod_id`."},
    {.key = "sgx.isv_prod_id",
     .type = CR_OPTION_SIZES,
     AT(sgx.isv_prod_id),
     .fallback = "[]",
     .most = UINT16_MAX,
     .help = "Product IDs of the signer that are accepted."},
    {.key = "sgx.min_isv_svn",
     .type = CR_OPTION_SIZE,
     AT(sgx.min_isv_svn),
     .fallback = "0",
     .most = UINT16_MAX,
     .help = "Lowest security version of the enclave that is accepted."},
    {.key = "tdx.mrtd",
     .type = CR_OPTION_STRINGS,
     AT(tdx.mrtd),
     .fallback = "[]",
     .help = "Measurements of the TD as it was built, that is, of its firmware."},
    {.key = "tdx.rtmr0",
     .type = CR_OPTION_STRINGS,
     AT(tdx.rtmr[0]),
     .fallback = "[]",
     .help = "Measurements of the firmware's configuration."},
    {.key = "tdx.rtmr1",
     .type = CR_OPTION_STRINGS,
     AT(tdx.rtmr[1]),
     .fallback = "[]",
     .help = "Measurements of the boot loader and the kernel."},
    {.key = "tdx.rtmr2",
     .type = CR_OPTION_STRINGS,
     AT(tdx.rtmr[2]),
     .fallback = "[]",
     .help = "Measurements of the kernel's command line and initial file system. `tdx.mrtd` and `tdx.rtmr0` "
             "to `tdx.rtmr2` together identify the program in a TD."},
    {.key = "tdx.rtmr3",
     .type = CR_OPTION_STRINGS,
     AT(tdx.rtmr[3]),
     .fallback = "[]",
     .help = "Measurements that software in the TD makes at run time."},
    {.key = "tdx.mrconfigid",
     .type = CR_OPTION_STRINGS,
     AT(tdx.mrconfigid),
     .fallback = "[]",
     .help = "Configurations that the TD's owner chose."},
    {.key = "tdx.mrowner",
     .type = CR_OPTION_STRINGS,
     AT(tdx.mrowner),
     .fallback = "[]",
     .help = "Owners of the TD."},
    {.key = "tdx.mrownerconfig",
     .type = CR_OPTION_STRINGS,
     AT(tdx.mrownerconfig),
     .fallback = "[]",
     .help = "Configurations that the TD's owner chose after the TD was built."},
    {.key = "tdx.allow_migration",
     .type = CR_OPTION_BOOL,
     AT(tdx.allow_migration),
     .fallback = "false",
     .help = "Let TDs pass that another TD may move to another machine."},
    {.key = "snp.measurement",
     .type = CR_OPTION_STRINGS,
     AT(snp.measurement),
     .fallback = "[]",
     .help = "Measurements of the guest as it was launched."},
    {.key = "snp.host_data",
     .type = CR_OPTION_STRINGS,
     AT(snp.host_data),
     .fallback = "[]",
     .help =
         "Data that the host gave the guest at its launch, such as a digest of the guest's configuration."},
    {.key = "snp.id_key_digest",
     .type = CR_OPTION_STRINGS,
     AT(snp.id_key_digest),
     .fallback = "[]",
     .help = "Digests of the keys that signed the guest's identity block."},
    {.key = "snp.author_key_digest",
     .type = CR_OPTION_STRINGS,
     AT(snp.author_key_digest),
     .fallback = "[]",
     .help = "Digests of the keys that signed those identity keys."},
    {.key = "snp.chip_id",
     .type = CR_OPTION_STRINGS,
     AT(snp.chip_id),
     .fallback = "[]",
     .help = "Chips on which the guest may run."},
    {.key = "snp.vmpl",
     .type = CR_OPTION_SIZES,
     AT(snp.vmpl),
     .fallback = "[0]",
     .most = 3,
     .help = "Privilege levels (VMPL) from which the report may have been requested; 0 is the highest."},
    {.key = "snp.min_guest_svn",
     .type = CR_OPTION_SIZE,
     AT(snp.min_guest_svn),
     .fallback = "0",
     .most = UINT32_MAX,
     .help = "Lowest security version of the guest that is accepted."},
    {.key = "snp.min_tcb.bootloader",
     .type = CR_OPTION_SIZE,
     AT(snp.min_tcb.bootloader),
     .fallback = "0",
     .most = UINT8_MAX,
     .help = "Lowest security version of the boot loader that is accepted. Unless one of the `snp.min_tcb` "
             "keys is set, nothing says whether a TCB is out of date."},
    {.key = "snp.min_tcb.tee",
     .type = CR_OPTION_SIZE,
     AT(snp.min_tcb.tee),
     .fallback = "0",
     .most = UINT8_MAX,
     .help = "Lowest security version of the TEE's operating system that is accepted."},
    {.key = "snp.min_tcb.snp",
     .type = CR_OPTION_SIZE,
     AT(snp.min_tcb.snp),
     .fallback = "0",
     .most = UINT8_MAX,
     .help = "Lowest security version of the SNP firmware that is accepted."},
    {.key = "snp.min_tcb.microcode",
     .type = CR_OPTION_SIZE,
     AT(snp.min_tcb.microcode),
     .fallback = "0",
     .most = UINT8_MAX,
     .help = "Lowest security version of the microcode that is accepted."},
    {.key = "snp.min_tcb.fmc",
     .type = CR_OPTION_SIZE,
     AT(snp.min_tcb.fmc),
     .fallback = "0",
     .most = UINT8_MAX,
     .help = "Lowest security version of the FMC that is accepted. Processors from Turin on have an FMC."},
    {.key = "snp.allow_migration",
     .type = CR_OPTION_BOOL,
     AT(snp.allow_migration),
     .fallback = "false",
     .help = "Let guests pass whose policy allows a migration agent."},
    {.key = "tpm.allow_measured_boot",
     .type = CR_OPTION_BOOL,
     AT(tpm.allow_measured_boot),
     .fallback = "false",
     .help =
         "Let TPM quotes pass. A TPM measures what was booted; it does not keep the machine's owner out."},
    {.key = "tpm.pcrs",
     .type = CR_OPTION_RECORDS,
     AT(tpm.pcrs),
     .records = &pcr_table,
     .help = "Values that PCRs must have."},
};

const struct cr_option_table cr_appraisal_policy_table = {
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(struct cr_appraisal_policy),
};

// The lists of hexadecimal text, and the size of their entries in bytes.
static const struct {
    const char *key;
    size_t offset, size;
} values[] = {
    {"trusted_roots", offsetof(struct cr_appraisal_policy, trusted_roots), CR_SHA256_SIZE},
    {"sgx.mrenclave", offsetof(struct cr_appraisal_policy, sgx.mrenclave), 32},
    {"sgx.mrsigner", offsetof(struct cr_appraisal_policy, sgx.mrsigner), 32},
    {"tdx.mrtd", offsetof(struct cr_appraisal_policy, tdx.mrtd), 48},
    {"tdx.rtmr0", offsetof(struct cr_appraisal_policy, tdx.rtmr[0]), 48},
    {"tdx.rtmr1", offsetof(struct cr_appraisal_policy, tdx.rtmr[1]), 48},
    {"tdx.rtmr2", offsetof(struct cr_appraisal_policy, tdx.rtmr[2]), 48},
    {"tdx.rtmr3", offsetof(struct cr_appraisal_policy, tdx.rtmr[3]), 48},
    {"tdx.mrconfigid", offsetof(struct cr_appraisal_policy, tdx.mrconfigid), 48},
    {"tdx.mrowner", offsetof(struct cr_appraisal_policy, tdx.mrowner), 48},
    {"tdx.mrownerconfig", offsetof(struct cr_appraisal_policy, tdx.mrownerconfig), 48},
    {"snp.measurement", offsetof(struct cr_appraisal_policy, snp.measurement), 48},
    {"snp.host_data", offsetof(struct cr_appraisal_policy, snp.host_data), 32},
    {"snp.id_key_digest", offsetof(struct cr_appraisal_policy, snp.id_key_digest), 48},
    {"snp.author_key_digest", offsetof(struct cr_appraisal_policy, snp.author_key_digest), 48},
    {"snp.chip_id", offsetof(struct cr_appraisal_policy, snp.chip_id), 64},
};

static enum cr_status check_values(const struct cr_appraisal_policy *policy, const char *name)
{
    unsigned char bytes[CR_REPORT_DATA_SIZE];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const struct cr_string_list *list =
            (const struct cr_string_list *)((const char *)policy + values[i].offset);
        for (size_t k = 0; k < list->count; k++)
            if (cr_hex_decode(list->items[k], bytes, values[i].size) != CR_OK)
                return cr_fail(CR_INVALID, "%s: %s: \"%s\" is not %zu bytes in hexadecimal", name,
                               values[i].key, list->items[k], values[i].size);
    }
    const struct cr_policy_pcr *pcrs = policy->tpm.pcrs.items;
    for (size_t i = 0; i < policy->tpm.pcrs.count; i++) {
        for (size_t k = 0; k < pcrs[i].values.count; k++) {
            const char *value = pcrs[i].values.items[k];
            size_t size = strlen(value) / 2;
            if ((size != 20 && size != 32 && size != 48) || cr_hex_decode(value, bytes, size) != CR_OK)
                return cr_fail(CR_INVALID, "%s: tpm.pcrs: \"%s\" is not 20, 32 or 48 bytes in hexadecimal",
                               name, value);
        }
    }
    for (size_t k = 0; k < policy->report_data.count; k++) {
        size_t size = strlen(policy->report_data.items[k]) / 2;
        if (size == 0 || size > sizeof bytes ||
            cr_hex_decode(policy->report_data.items[k], bytes, size) != CR_OK)
            return cr_fail(CR_INVALID, "%s: report_data: \"%s\" is not 1 to %d bytes in hexadecimal", name,
                           policy->report_data.items[k], CR_REPORT_DATA_SIZE);
    }
    return CR_OK;
}

static enum cr_status check_statuses(const struct cr_appraisal_policy *policy, const char *name)
{
    const char *names[CR_TCB_STATUSES];
    for (size_t i = 0; i < CR_TCB_STATUSES; i++) names[i] = cr_tcb_status_name((enum cr_tcb_status)i);
    for (size_t k = 0; k < policy->allow_tcb_status.count; k++) {
        const char *given = policy->allow_tcb_status.items[k];
        bool known = false;
        for (size_t i = 0; i < CR_TCB_STATUSES; i++) known = known || strcmp(names[i], given) == 0;
        if (known) continue;
        const char *nearest = cr_nearest_name(given, names, CR_TCB_STATUSES);
        return cr_fail(CR_INVALID, "%s: allow_tcb_status: \"%s\" is no state of a TCB%s%s%s", name, given,
                       nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "");
    }
    return CR_OK;
}

static enum cr_status check(const struct cr_appraisal_policy *policy, const char *name)
{
    CR_TRY(check_values(policy, name));
    CR_TRY(check_statuses(policy, name));
    if (policy->sgx.mrsigner.count > 0 && policy->sgx.isv_prod_id.count == 0 &&
        policy->sgx.mrenclave.count == 0)
        return cr_fail(CR_INVALID,
                       "%s: sgx.mrsigner: needs sgx.isv_prod_id, since a signer signs many programs", name);
    return CR_OK;
}

enum cr_status cr_appraisal_policy_parse(struct cr_slice yaml, const char *name,
                                         struct cr_appraisal_policy *out)
{
    struct cr_appraisal_policy policy;
    CR_TRY(cr_options_parse(&cr_appraisal_policy_table, yaml, name, &policy, NULL));
    enum cr_status status = check(&policy, name);
    if (status == CR_OK)
        *out = policy;
    else
        cr_appraisal_policy_release(&policy);
    return status;
}

enum cr_status cr_appraisal_policy_default(struct cr_appraisal_policy *out)
{
    return cr_appraisal_policy_parse(cr_slice_of_string("{}"), "the default policy", out);
}

enum cr_status cr_appraisal_policy_read(const char *path, struct cr_appraisal_policy *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
    CR_TRY(cr_file_read(path, POLICY_LIMIT, &yaml));
    return cr_appraisal_policy_parse(cr_buffer_slice(&yaml), path, out);
}

void cr_appraisal_policy_release(struct cr_appraisal_policy *policy)
{
    cr_options_release(&cr_appraisal_policy_table, policy);
}

enum cr_status cr_appraisal_policy_roots(const struct cr_appraisal_policy *policy,
                                         const unsigned char (*usual)[CR_SHA256_SIZE], size_t count,
                                         unsigned char (**roots)[CR_SHA256_SIZE], size_t *total)
{
    const struct cr_string_list *named = &policy->trusted_roots;
    size_t wanted = named->count > 0 ? named->count : count;
    CR_FREE unsigned char(*list)[CR_SHA256_SIZE] = NULL;
    CR_TRY(cr_allocate(wanted, CR_SHA256_SIZE, &list));
    for (size_t i = 0; i < wanted; i++) {
        if (named->count > 0)
            CR_TRY(cr_hex_decode(named->items[i], list[i], CR_SHA256_SIZE));
        else
            memcpy(list[i], usual[i], CR_SHA256_SIZE);
    }
    *roots = list;
    *total = wanted;
    list = NULL;
    return CR_OK;
}

bool cr_appraisal_policy_allows_status(const struct cr_appraisal_policy *policy, const char *tcb_status)
{
    for (size_t i = 0; i < policy->allow_tcb_status.count; i++)
        if (strcmp(policy->allow_tcb_status.items[i], tcb_status) == 0) return true;
    return false;
}
