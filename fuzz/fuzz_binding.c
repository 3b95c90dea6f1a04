// Any bytes as what evidence is bound to: what is accepted is written back as it came.
#include "channel/binding.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cr_slice cbor = {data, size};
    struct cr_binding binding;
    struct cr_buffer again = {0};
    if (cr_binding_parse(cbor, &binding) != CR_OK) return 0;
    if (cr_binding_write(&binding, &again) != CR_OK || !cr_slice_equal(cbor, cr_buffer_slice(&again)))
        abort();
    if (cr_binding_compare(&binding, &binding, &(struct cr_binding){.role = "?"}) != CR_OK) abort();
    cr_buffer_release(&again);
    return 0;
}
