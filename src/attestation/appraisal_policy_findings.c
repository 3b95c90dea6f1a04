// Compares values in evidence with a policy, as findings.
#include "attestation/appraisal_policy.h"
#include "attestation/evidence.h"

#include <string.h>

static enum cr_status refuse_value(struct cr_appraisal *appraisal, const char *check_name,
                                   struct cr_slice value)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer hex = {0};
    CR_TRY(cr_append_hex(&hex, value));
    return cr_found_wrong(appraisal, check_name, NULL, false, "%s is not among the policy's values of %s",
                          cr_buffer_text(&hex), check_name);
}

enum cr_status cr_appraisal_policy_compare(struct cr_appraisal *appraisal, const char *check_name,
                                           const struct cr_string_list *list, struct cr_slice value)
{
    if (list->count == 0) return CR_OK;
    for (size_t i = 0; i < list->count; i++) {
        unsigned char wanted[CR_REPORT_DATA_SIZE];
        if (strlen(list->items[i]) != 2 * value.size) continue; // a value of another PCR bank
        CR_TRY(cr_hex_decode(list->items[i], wanted, value.size));
        if (memcmp(wanted, value.data, value.size) == 0) return cr_found_passed(appraisal, check_name);
    }
    return refuse_value(appraisal, check_name, value);
}

enum cr_status cr_appraisal_policy_compare_number(struct cr_appraisal *appraisal, const char *check_name,
                                                  const struct cr_size_list *list, size_t value)
{
    if (list->count == 0) return CR_OK;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == value) return cr_found_passed(appraisal, check_name);
    return cr_found_wrong(appraisal, check_name, NULL, false, "%zu is not among the policy's values of %s",
                          value, check_name);
}

enum cr_status cr_appraisal_policy_compare_least(struct cr_appraisal *appraisal, const char *check_name,
                                                 size_t least, size_t value)
{
    if (least == 0) return CR_OK;
    if (value >= least) return cr_found_passed(appraisal, check_name);
    return cr_found_wrong(appraisal, check_name, NULL, false, "%zu is below the policy's %zu", value, least);
}

enum cr_status cr_appraisal_policy_program_unknown(struct cr_appraisal *appraisal,
                                                   const struct cr_appraisal_policy *policy,
                                                   const char *wanted)
{
    return cr_found_unknown(
        appraisal, "program", "allow_unknown_program", policy->allow_unknown_program,
        "nothing says that this is the right program: the policy has too few reference values (%s)", wanted);
}

enum cr_status cr_appraisal_policy_compare_report_data(struct cr_appraisal *appraisal,
                                                       const struct cr_appraisal_policy *policy,
                                                       struct cr_slice report_data)
{
    const struct cr_string_list *list = &policy->report_data;
    if (list->count == 0) return CR_OK;
    bool found = false;
    for (size_t i = 0; i < list->count && !found; i++) {
        unsigned char wanted[CR_REPORT_DATA_SIZE] = {0};
        CR_TRY(cr_hex_decode(list->items[i], wanted, strlen(list->items[i]) / 2));
        found = memcmp(wanted, report_data.data, sizeof wanted) == 0;
    }
    return found ? cr_found_passed(appraisal, "report_data")
                 : refuse_value(appraisal, "report_data", report_data);
}
