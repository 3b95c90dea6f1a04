#include "attestation/pck.h"
#include "attestation/der.h"

#include <string.h>

// The DER of 1.2.840.113741.1.13.1, the prefix of all OIDs in the extension.
static const unsigned char base_oid[] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};

enum { TCB = 2, PCE_ID = 3, FMSPC = 4, TCB_PCE_SVN = 17 };

// The arc that follows `depth` known arcs of an OID in the extension; 0 for any other OID.
static unsigned last_arc(struct cr_slice oid, size_t depth)
{
    size_t size = sizeof base_oid + depth + 1;
    if (oid.size != size || memcmp(oid.data, base_oid, sizeof base_oid) != 0) return 0;
    if (depth == 1 && oid.data[sizeof base_oid] != TCB) return 0;
    return oid.data[size - 1];
}

static bool copy(struct cr_slice from, unsigned char *to, size_t size)
{
    if (from.size != size) return false;
    memcpy(to, from.data, size);
    return true;
}

// Parses a sequence of pairs, one for each component and one for the PCE's SVN. (The CPU's SVN repeats the
// components.)
static bool parse_tcb(struct cr_slice sequence, struct cr_pck *pck)
{
    uint32_t seen = 0;
    struct cr_cursor items = cr_cursor_over(sequence);
    while (cr_cursor_left(&items) > 0) {
        struct cr_cursor pair = cr_cursor_over(cr_der_read(&items, CR_DER_SEQUENCE));
        unsigned arc = last_arc(cr_der_read(&pair, CR_DER_OID), 1);
        if (items.failed || pair.failed) return false;
        if (arc < 1 || arc > TCB_PCE_SVN) continue;
        uint32_t number = cr_der_read_number(&pair);
        if (pair.failed || cr_cursor_left(&pair) > 0 || seen & 1u << arc) return false;
        seen |= 1u << arc;
        if (arc == TCB_PCE_SVN) {
            if (number > UINT16_MAX) return false;
            pck->pce_svn = (uint16_t)number;
        } else {
            if (number > UINT8_MAX) return false;
            pck->components[arc - 1] = (unsigned char)number;
        }
    }
    return !items.failed && seen == (1u << (TCB_PCE_SVN + 1)) - 2;
}

enum cr_status cr_pck_parse(struct cr_slice extension, struct cr_pck *out)
{
    struct cr_pck pck = {0};
    unsigned seen = 0;
    struct cr_cursor all = cr_cursor_over(extension);
    struct cr_cursor items = cr_cursor_over(cr_der_read(&all, CR_DER_SEQUENCE));
    bool good = !all.failed && cr_cursor_left(&all) == 0;
    while (good && cr_cursor_left(&items) > 0) {
        struct cr_cursor pair = cr_cursor_over(cr_der_read(&items, CR_DER_SEQUENCE));
        unsigned arc = last_arc(cr_der_read(&pair, CR_DER_OID), 0);
        good = !items.failed && !pair.failed;
        if (!good || (arc != TCB && arc != PCE_ID && arc != FMSPC)) continue;
        struct cr_slice value = cr_der_read(&pair, arc == TCB ? CR_DER_SEQUENCE : CR_DER_OCTETS);
        good = !pair.failed && cr_cursor_left(&pair) == 0 && !(seen & 1u << arc) &&
               (arc == TCB      ? parse_tcb(value, &pck)
                : arc == PCE_ID ? copy(value, pck.pce_id, sizeof pck.pce_id)
                                : copy(value, pck.fmspc, sizeof pck.fmspc));
        seen |= 1u << arc;
    }
    if (!good || items.failed) return cr_fail(CR_INVALID, "PCK certificate: its SGX extension is malformed");
    if (seen != (1u << TCB | 1u << PCE_ID | 1u << FMSPC))
        return cr_fail(CR_INVALID, "PCK certificate: its SGX extension lacks TCB, PCE-ID or FMSPC");
    *out = pck;
    return CR_OK;
}
