// A hostile sparse change: spf_config.json, or the places in a safetensors file. What is accepted lies within
// the model's modules, in order and each once, so that no walk leaves them.
#include "fuzz_support.h"

#include "tuning/spf.h"
#include "tuning/spf_file.h"

static void check_ascending(const uint32_t *index, size_t count, size_t end)
{
    for (size_t i = 0; i < count; i++) check(index[i] < end && (i == 0 || index[i] > index[i - 1]));
}

static void check_part(const struct cr_spf_part *part)
{
    const struct cr_sparse *sparse = &part->elements;
    check(cr_spf_part_values(part) > 0);
    check_ascending(part->rows, part->row_count, part->out);
    if (part->rows) return;
    check(sparse->rows == part->out && sparse->columns == part->in);
    check(sparse->start[0] == 0 && sparse->start[sparse->rows] == sparse->count);
    check(sparse->column_start[0] == 0 && sparse->column_start[sparse->columns] == sparse->count);
    for (size_t r = 0; r < sparse->rows; r++) {
        check(sparse->start[r] <= sparse->start[r + 1]);
        check_ascending(sparse->index + sparse->start[r], sparse->start[r + 1] - sparse->start[r],
                        sparse->columns);
    }
    for (size_t i = 0; i < sparse->count; i++)
        check(sparse->row[i] < sparse->rows && sparse->place[i] < sparse->count);
}

static void read_places(struct cr_slice bytes)
{
    static const struct cr_model_config model = {.layers = 3,
                                                 .hidden = 16,
                                                 .heads = 2,
                                                 .kv_heads = 1,
                                                 .head_dim = 8,
                                                 .intermediate = 24,
                                                 .vocabulary = 9,
                                                 .context = 64};
    struct cr_safetensors *file;
    if (cr_safetensors_parse(bytes, "spf_model.safetensors", &file) != CR_OK) return;
    struct cr_spf_selection selection;
    if (cr_spf_places_read(file, &model, &selection) == CR_OK) {
        for (size_t i = 0; i < selection.count; i++) check_part(&selection.parts[i]);
        cr_spf_selection_release(&selection);
    }
    cr_safetensors_free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_slice bytes = {data, size};
    struct cr_spf_config config;
    if (size > 0 && data[0] != '{') {
        read_places(bytes);
    } else if (cr_spf_config_parse(bytes, "spf_config.json", &config) == CR_OK) {
        check(cr_spf_criteria[config.criterion] && cr_spf_granularities[config.granularity]);
        check(config.density >= 0 && config.density <= 1);
        cr_spf_config_release(&config);
    }
    return 0;
}
