// What a vendor puts into its certificates; the first byte chooses: Intel's SGX extension by itself, or a
// certificate with AMD's.
#include "fuzz_support.h"

#include "attestation/amd.h"
#include "attestation/pck.h"

static void read_amd(struct cr_slice der)
{
    struct cr_x509_pool *pool;
    size_t found = 0;
    check(cr_x509_pool_new(&pool) == CR_OK && cr_x509_pool_add(pool, der, &found) == CR_OK);
    for (size_t i = 0; i < cr_x509_pool_count(pool); i++) {
        struct cr_amd_key key;
        const struct cr_x509 *one = cr_x509_pool_at(pool, i);
        if (cr_amd_key_is_one(one) && cr_amd_key_parse(one, &key) == CR_OK)
            check(key.is_vlek || key.chip_id.size == 8 || key.chip_id.size == CR_SNP_CHIP_ID_SIZE);
    }
    cr_x509_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    struct cr_pck pck;
    if (data[0] % 2)
        read_amd(rest);
    else
        (void)(cr_pck_parse(rest, &pck) == CR_OK);
    return 0;
}
