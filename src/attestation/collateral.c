#include "attestation/collateral.h"
#include "format/json.h"

#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
    [CR_TCB_UP_TO_DATE] = "UpToDate",
    [CR_TCB_SW_HARDENING_NEEDED] = "SWHardeningNeeded",
    [CR_TCB_CONFIGURATION_NEEDED] = "ConfigurationNeeded",
    [CR_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED] = "ConfigurationAndSWHardeningNeeded",
    [CR_TCB_OUT_OF_DATE] = "OutOfDate",
    [CR_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED] = "OutOfDateConfigurationNeeded",
    [CR_TCB_REVOKED] = "Revoked",
    [CR_TCB_UNRECOGNIZED] = "Unrecognized",
    [CR_TCB_UNKNOWN] = "Unknown",
};

const char *cr_tcb_status_name(enum cr_tcb_status status)
{
    return status_names[status];
}

enum cr_tcb_status cr_tcb_status_with(enum cr_tcb_status platform, enum cr_tcb_status part)
{
    if (platform >= CR_TCB_REVOKED) return platform;
    if (part >= CR_TCB_REVOKED) return part;
    if (part != CR_TCB_OUT_OF_DATE) return platform;
    bool configuration = platform == CR_TCB_CONFIGURATION_NEEDED ||
                         platform == CR_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED ||
                         platform == CR_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
    return configuration ? CR_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED : CR_TCB_OUT_OF_DATE;
}

static enum cr_status parse_level(const struct cr_json *level, const char *context, struct cr_tcb_level *out)
{
    const char *name, *date;
    CR_TRY(cr_json_get_string(level, context, "tcbStatus", "", &name));
    CR_TRY(cr_json_get_string(level, context, "tcbDate", NULL, &date));
    for (size_t i = 0; i < CR_TCB_UNRECOGNIZED; i++) {
        if (strcmp(status_names[i], name) != 0) continue;
        *out = (struct cr_tcb_level){(enum cr_tcb_status)i, date, cr_json_member(level, "advisoryIDs")};
        return CR_OK;
    }
    return cr_fail(CR_INVALID, "%s: a tcbStatus \"%s\", which is not known", context, name);
}

bool cr_tcb_info_is_for(const struct cr_json *info, const struct cr_pck *pck)
{
    unsigned char fmspc[CR_FMSPC_SIZE], pce_id[CR_PCEID_SIZE];
    return cr_json_get_hex(info, "TCB info", "fmspc", fmspc, sizeof fmspc) == CR_OK &&
           cr_json_get_hex(info, "TCB info", "pceId", pce_id, sizeof pce_id) == CR_OK &&
           memcmp(fmspc, pck->fmspc, sizeof fmspc) == 0 && memcmp(pce_id, pck->pce_id, sizeof pce_id) == 0;
}

// Reads the SVNs that a level requires: in version 3 a list of objects, in version 2 separate members.
static enum cr_status read_components(const struct cr_json *tcb, const char *list,
                                      unsigned char out[CR_PCK_COMPONENTS])
{
    const struct cr_json *items = cr_json_member(tcb, list);
    if (items && cr_json_count(items) != CR_PCK_COMPONENTS)
        return cr_fail(CR_INVALID, "TCB info: %s of %zu components, not %d", list, cr_json_count(items),
                       CR_PCK_COMPONENTS);
    for (size_t i = 0; i < CR_PCK_COMPONENTS; i++) {
        char key[24];
        size_t svn;
        snprintf(key, sizeof key, "sgxtcbcomp%02zusvn", i + 1);
        if (items)
            CR_TRY(cr_json_require_size(cr_json_at(items, i), "TCB info", "svn", 0, UINT8_MAX, &svn));
        else
            CR_TRY(cr_json_require_size(tcb, "TCB info", key, 0, UINT8_MAX, &svn));
        out[i] = (unsigned char)svn;
    }
    return CR_OK;
}

static bool reaches(const unsigned char *have, const unsigned char *wanted, size_t from)
{
    for (size_t i = from; i < CR_PCK_COMPONENTS; i++)
        if (have[i] < wanted[i]) return false;
    return true;
}

static enum cr_status reaches_level(const struct cr_json *tcb, const struct cr_pck *pck,
                                    const struct cr_td_report *td, bool *out)
{
    unsigned char wanted[CR_PCK_COMPONENTS];
    size_t pce_svn;
    CR_TRY(read_components(tcb, "sgxtcbcomponents", wanted));
    CR_TRY(cr_json_require_size(tcb, "TCB info", "pcesvn", 0, UINT16_MAX, &pce_svn));
    bool reached = reaches(pck->components, wanted, 0) && pck->pce_svn >= pce_svn;
    if (td) {
        if (!cr_json_member(tcb, "tdxtcbcomponents"))
            return cr_fail(CR_INVALID, "TCB info: a level for TDX without tdxtcbcomponents");
        CR_TRY(read_components(tcb, "tdxtcbcomponents", wanted));
        // A module whose version (byte 1) is not 0 has levels of its own; then the first two bytes are not
        // compared here.
        reached = reached && reaches(td->tee_tcb_svn.data, wanted, td->tee_tcb_svn.data[1] > 0 ? 2 : 0);
    }
    *out = reached;
    return CR_OK;
}

enum cr_status cr_tcb_info_level(const struct cr_json *info, const struct cr_pck *pck,
                                 const struct cr_td_report *td, struct cr_tcb_level *out)
{
    size_t version, type;
    CR_TRY(cr_json_require_size(info, "TCB info", "version", 2, 3, &version));
    CR_TRY(cr_json_get_size(info, "TCB info", "tcbType", 0, 0, 0, &type)); // no other type is known
    const struct cr_json *levels = cr_json_member(info, "tcbLevels");
    for (size_t i = 0; i < cr_json_count(levels); i++) {
        const struct cr_json *level = cr_json_at(levels, i);
        bool reached = false;
        CR_TRY(reaches_level(cr_json_member(level, "tcb"), pck, td, &reached));
        if (reached) return parse_level(level, "TCB info", out);
    }
    *out = (struct cr_tcb_level){.status = CR_TCB_UNRECOGNIZED};
    return CR_OK;
}

// Finds the first level whose isvsvn is at most `svn`.
static enum cr_status level_by_svn(const struct cr_json *levels, const char *context, size_t svn,
                                   struct cr_tcb_level *out)
{
    for (size_t i = 0; i < cr_json_count(levels); i++) {
        const struct cr_json *level = cr_json_at(levels, i);
        size_t wanted;
        CR_TRY(cr_json_require_size(cr_json_member(level, "tcb"), context, "isvsvn", 0, UINT16_MAX, &wanted));
        if (svn >= wanted) return parse_level(level, context, out);
    }
    *out = (struct cr_tcb_level){.status = CR_TCB_UNRECOGNIZED};
    return CR_OK;
}

// Compares the masked bytes of `have` with a member of the JSON; CR_DENIED if they differ.
static enum cr_status compare(const struct cr_json *object, const char *context, const char *key,
                              const char *mask_key, struct cr_slice have)
{
    unsigned char wanted[48], mask[48];
    memset(mask, 0xff, sizeof mask);
    CR_TRY(cr_json_get_hex(object, context, key, wanted, have.size));
    if (mask_key) CR_TRY(cr_json_get_hex(object, context, mask_key, mask, have.size));
    for (size_t i = 0; i < have.size; i++)
        if ((have.data[i] & mask[i]) != (wanted[i] & mask[i]))
            return cr_fail(CR_DENIED, "%s: another %s than Intel's", context, key);
    return CR_OK;
}

static enum cr_status compare_module(const struct cr_json *module, const struct cr_td_report *td)
{
    if (!module) return cr_fail(CR_DENIED, "TDX module: of a version that the TCB info does not know");
    CR_TRY(compare(module, "TDX module", "mrsigner", NULL, td->mrsignerseam));
    return compare(module, "TDX module", "attributes", "attributesMask", td->seam_attributes);
}

enum cr_status cr_tdx_module_level(const struct cr_json *info, const struct cr_td_report *td,
                                   struct cr_tcb_level *out)
{
    unsigned char svn = td->tee_tcb_svn.data[0], version = td->tee_tcb_svn.data[1];
    if (version == 0) {
        CR_TRY(compare_module(cr_json_member(info, "tdxModule"), td));
        *out = (struct cr_tcb_level){.status = CR_TCB_UP_TO_DATE};
        return CR_OK;
    }
    char id[8];
    snprintf(id, sizeof id, "TDX_%02X", version);
    const struct cr_json *all = cr_json_member(info, "tdxModuleIdentities"), *module = NULL;
    for (size_t i = 0; i < cr_json_count(all) && !module; i++)
        if (cr_json_is_string(cr_json_member(cr_json_at(all, i), "id"), id)) module = cr_json_at(all, i);
    CR_TRY(compare_module(module, td));
    return level_by_svn(cr_json_member(module, "tcbLevels"), "TDX module", svn, out);
}

enum cr_status cr_qe_identity_level(const struct cr_json *identity, const struct cr_sgx_report *qe,
                                    struct cr_tcb_level *out)
{
    static const char context[] = "QE identity";
    unsigned char miscselect[4]; // little-endian, as in the report
    for (size_t i = 0; i < sizeof miscselect; i++) miscselect[i] = (unsigned char)(qe->miscselect >> (8 * i));
    size_t version, product;
    CR_TRY(cr_json_require_size(identity, context, "version", 2, 2, &version));
    CR_TRY(cr_json_require_size(identity, context, "isvprodid", 0, UINT16_MAX, &product));
    CR_TRY(compare(identity, context, "mrsigner", NULL, qe->mrsigner));
    CR_TRY(compare(identity, context, "attributes", "attributesMask", qe->attributes));
    CR_TRY(compare(identity, context, "miscselect", "miscselectMask",
                   (struct cr_slice){miscselect, sizeof miscselect}));
    if (product != qe->isv_prod_id) return cr_fail(CR_DENIED, "%s: another isvprodid than Intel's", context);
    return level_by_svn(cr_json_member(identity, "tcbLevels"), context, qe->isv_svn, out);
}
