#include "federation/client_base.h"

#include <string.h>

enum cr_status cr_client_check_tokenizer(const struct cr_manifest *manifest, const char *directory,
                                         const struct cr_base_digest *base)
{
    if (memcmp(base->tokenizer, manifest->tokenizer, CR_SHA256_SIZE) == 0) return CR_OK;
    return cr_fail(CR_INVALID, "%s has another tokenizer than the job's model", directory);
}

enum cr_status cr_client_check_base(const struct cr_manifest *manifest, const char *directory,
                                    const struct cr_base_digest *base)
{
    if (memcmp(base->model, manifest->model, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_INVALID, "%s is not the job's model (give this silo's with --model DIR)",
                       directory);
    return cr_client_check_tokenizer(manifest, directory, base);
}
