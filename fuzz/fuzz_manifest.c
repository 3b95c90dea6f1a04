// A job manifest, signed or not: what is read is written the same, and only its owner's signature passes.
#include "attestation/cose.h"
#include "attestation/manifest.h"

#include <stdlib.h>

static void read_payload(struct cr_slice bytes)
{
    struct cr_manifest manifest = {0};
    struct cr_buffer again = {0}, difference = {0};
    if (cr_manifest_parse(bytes, &manifest) != CR_OK) return;
    if (cr_manifest_write(&manifest, &again) != CR_OK || !cr_slice_equal(cr_buffer_slice(&again), bytes) ||
        cr_manifest_difference(&manifest, &manifest, &difference) != CR_OK || difference.size > 0)
        abort();
    (void)!cr_manifest_check(&manifest, 0);
    (void)!cr_manifest_settings_difference(manifest.settings, "a: 1\nb:\n  c: 2\n", &difference);
    cr_buffer_release(&again);
    cr_buffer_release(&difference);
    cr_manifest_release(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_manifest manifest = {0};
    struct cr_slice payload, signature, bytes = {data, size};
    read_payload(bytes);
    if (cr_cose_parse(bytes, "application/vnd.carrel.job+cbor", &payload, &signature) == CR_OK)
        read_payload(payload);
    if (cr_manifest_open(bytes, &manifest) == CR_OK) cr_manifest_release(&manifest);
    return 0;
}
