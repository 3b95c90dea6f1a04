// Any bytes as a file of endorsements, and as one with evidence in it; the first byte chooses. What is found
// as evidence is found again in its own bytes.
#include "fuzz_support.h"

#include "attestation/endorsements.h"
#include "attestation/evidence.h"

static void endorse(struct cr_slice bytes)
{
    struct cr_endorsements *endorsements;
    check(cr_endorsements_new(&endorsements) == CR_OK);
    check(cr_endorsements_add(endorsements, bytes) == CR_OK);
    cr_endorsements_free(endorsements);
}

static void find(struct cr_slice bytes)
{
    struct cr_evidence first, again;
    enum cr_status status = cr_evidence_find(bytes, NULL, &first);
    check(status == CR_OK || status == CR_INVALID);
    if (status != CR_OK) return;
    check(cr_evidence_find(cr_buffer_slice(&first.bytes), NULL, &again) == CR_OK);
    check(first.type == again.type &&
          cr_slice_equal(cr_buffer_slice(&first.bytes), cr_buffer_slice(&again.bytes)));
    cr_evidence_release(&first);
    cr_evidence_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    if (data[0] % 2)
        endorse(rest);
    else
        find(rest);
    return 0;
}
