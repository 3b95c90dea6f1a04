// A host's table of certificates: nothing may fault, and what comes of it lies within the table.
#include "attestation/snp_table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_slice certificates[CR_SNP_TABLE_MOST];
    size_t count;
    if (cr_snp_table_parse((struct cr_slice){data, size}, certificates, &count) != CR_OK) return 0;
    if (count > CR_SNP_TABLE_MOST) abort();
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)(certificates[i].data - data);
        if (at > size || certificates[i].size > size - at) abort();
    }
    return 0;
}
