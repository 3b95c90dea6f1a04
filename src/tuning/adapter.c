#include "tuning/adapter.h"

#include "base/file.h"
#include "tensor/ops.h"
#include "tuning/pair.h"
#include "tuning/peft.h"
#include "tuning/spf_file.h"

#include <string.h>

struct cr_adapter_kinds cr_adapter_look(const char *directory)
{
    return (struct cr_adapter_kinds){cr_directory_has(directory, "adapter_config.json"),
                                     cr_directory_has(directory, cr_spf_config_name)};
}

enum cr_status cr_adapter_check(const char *directory)
{
    const struct cr_adapter_kinds kinds = cr_adapter_look(directory);
    if (kinds.peft || kinds.spf) return CR_OK;
    return cr_fail(CR_NOT_FOUND,
                   "%s/adapter_config.json: not there (an adapter is a PEFT directory, or one with %s)",
                   directory, cr_spf_config_name);
}

enum cr_status cr_adapter_open(const char *directory, struct cr_model *model, struct cr_structure **out)
{
    CR_TRY(cr_adapter_check(directory));
    const struct cr_adapter_kinds kinds = cr_adapter_look(directory);
    if (!kinds.spf) return cr_peft_open(directory, model, out);
    if (!kinds.peft) return cr_spf_open(directory, model, out);
    struct cr_structure *peft, *spf;
    CR_TRY(cr_peft_open(directory, model, &peft));
    enum cr_status status = peft->tuned.prefix > 0
                                ? cr_fail(CR_UNSUPPORTED, "%s: a prefix beside %s is not supported",
                                          directory, cr_spf_config_name)
                                : cr_spf_open(directory, model, &spf);
    if (status == CR_OK) return cr_pair_new(peft, spf, out);
    cr_structure_free(peft);
    return status;
}

static enum cr_status fill_item(struct cr_compute *compute, const struct cr_safetensors *file,
                                const struct cr_parameter *item, float *values)
{
    const struct cr_tensor_entry *entry = cr_safetensors_find(file, item->name);
    CR_FREE void *aligned = NULL; // a file's bytes may start at any address
    CR_TRY(cr_allocate(item->count, cr_dtype_size(entry->dtype), &aligned));
    memcpy(aligned, entry->bytes.data, entry->bytes.size);
    cr_convert(compute, aligned, entry->dtype, values, CR_F32, item->count);
    cr_wipe(aligned, entry->bytes.size);
    if (cr_all_finite(compute, values, item->count)) return CR_OK;
    return cr_fail(CR_INVALID, "%s: %s: holds NaN or infinity", cr_safetensors_name(file), item->name);
}

enum cr_status cr_adapter_fill(struct cr_structure *structure, const struct cr_safetensors *file,
                               struct cr_structure **out)
{
    struct cr_parameters *parameters = &structure->parameters;
    enum cr_status status = CR_OK;
    for (size_t i = 0; status == CR_OK && i < parameters->item_count; i++)
        status = fill_item(structure->model->compute, file, &parameters->items[i],
                           parameters->values + parameters->items[i].offset);
    if (status == CR_OK) status = structure->kind->refresh(structure);
    if (status == CR_OK)
        *out = structure;
    else
        cr_structure_free(structure);
    return status;
}
