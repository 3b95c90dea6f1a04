#include "tuning/spf_file.h"

#include "base/file.h"
#include "format/json.h"
#include "tuning/adapter.h"
#include "tuning/spf.h"

#include <stdio.h>
#include <string.h>

const char cr_spf_config_name[] = "spf_config.json";
const char cr_spf_model_name[] = "spf_model.safetensors";

enum { CONFIG_LIMIT = 1 << 20, NAME_SIZE = CR_PLACE_NAME_SIZE + 32, MOST_TENSORS = 3, VERSION = 1 };

static enum cr_status write_config(const char *directory, const struct cr_spf_config *config,
                                   const char *base_model)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text,
                            "{\n  \"format\": \"carrel-spf\",\n  \"version\": %d,\n"
                            "  \"base_model_name_or_path\": ",
                            VERSION));
    CR_TRY(cr_json_append_string(&text, cr_slice_of_string(base_model)));
    CR_TRY(cr_append_format(&text, ",\n  \"criterion\": \"%s\",\n  \"granularity\": \"%s\",\n  \"density\": ",
                            cr_spf_criteria[config->criterion], cr_spf_granularities[config->granularity]));
    CR_TRY(cr_json_append_number(&text, config->density));
    CR_TRY(cr_append_format(&text, ",\n  \"target_modules\": ["));
    for (size_t i = 0; i < config->targets.modules.count; i++) {
        CR_TRY(cr_append_format(&text, "%s", i ? ", " : ""));
        CR_TRY(cr_json_append_string(&text, cr_slice_of_string(config->targets.modules.items[i])));
    }
    CR_TRY(cr_append_format(&text, "],\n  \"layers_to_transform\": "));
    CR_TRY(cr_layers_append(&config->targets.layers, &text));
    CR_TRY(cr_append_format(&text, ",\n  \"calibration_batches\": %zu\n}\n",
                            cr_spf_calibrates(config) ? config->calibration_batches : 0));
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, cr_spf_config_name, &path));
    return cr_file_write(path, cr_buffer_slice(&text), true);
}

// A tensor to write, with a buffer for its name.
struct named {
    char name[NAME_SIZE];
};

static void entry(struct cr_tensor_entry *entries, struct named *names, size_t *count, const char *place,
                  const char *suffix, struct cr_tensor_entry tensor, const void *data)
{
    size_t elements = tensor.shape[0] * (tensor.rank > 1 ? tensor.shape[1] : 1);
    snprintf(names[*count].name, NAME_SIZE, "%s.weight.%s", place, suffix);
    tensor.name = names[*count].name;
    tensor.bytes = (struct cr_slice){data, elements * cr_dtype_size(tensor.dtype)};
    entries[(*count)++] = tensor;
}

static enum cr_status write_tensors(const char *directory, const struct cr_spf_selection *selection,
                                    const struct cr_model_config *model,
                                    const struct cr_parameters *parameters)
{
    CR_FREE struct cr_tensor_entry *entries = NULL;
    CR_FREE struct named *names = NULL;
    size_t count = 0;
    CR_TRY(cr_allocate(MOST_TENSORS * selection->count, sizeof *entries, &entries));
    CR_TRY(cr_allocate(MOST_TENSORS * selection->count, sizeof *names, &names));
    for (size_t i = 0; i < selection->count; i++) {
        const struct cr_spf_part *part = &selection->parts[i];
        const struct cr_parameter *item = &parameters->items[i];
        const struct cr_sparse *sparse = &part->elements;
        char place[CR_PLACE_NAME_SIZE];
        (void)cr_module_place_name(model, part->place, place);
        if (part->rows) {
            entry(entries, names, &count, place, "rows",
                  (struct cr_tensor_entry){.dtype = CR_I32, .rank = 1, .shape = {part->row_count}},
                  part->rows);
        } else {
            entry(entries, names, &count, place, "crow_indices",
                  (struct cr_tensor_entry){.dtype = CR_I32, .rank = 1, .shape = {part->out + 1}},
                  sparse->start);
            entry(entries, names, &count, place, "col_indices",
                  (struct cr_tensor_entry){.dtype = CR_I32, .rank = 1, .shape = {sparse->count}},
                  sparse->index);
        }
        entry(entries, names, &count, place, "values",
              (struct cr_tensor_entry){
                  .dtype = CR_F32, .rank = item->rank, .shape = {item->shape[0], item->shape[1]}},
              parameters->values + item->offset);
    }
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, cr_spf_model_name, &path));
    return cr_safetensors_write(path, entries, count, true);
}

enum cr_status cr_spf_write(const char *directory, const struct cr_spf_config *config, const char *base_model,
                            const struct cr_model_config *model, const struct cr_spf_selection *selection,
                            const struct cr_parameters *parameters)
{
    CR_TRY(cr_directory_make(directory, true));
    CR_TRY(write_tensors(directory, selection, model, parameters));
    return write_config(directory, config, base_model);
}

static enum cr_status read_choice(const struct cr_json *root, const char *name, const char *key,
                                  const char *const *choices, int *out)
{
    const struct cr_json *value = cr_json_member(root, key);
    for (int i = 0; choices[i]; i++)
        if (cr_json_is_string(value, choices[i])) {
            *out = i;
            return CR_OK;
        }
    return cr_fail(CR_UNSUPPORTED, "%s: %s: missing, or none that this version knows", name, key);
}

static enum cr_status read_config(const struct cr_json *root, const char *name, struct cr_spf_config *out)
{
    size_t version;
    if (!cr_json_is_string(cr_json_member(root, "format"), "carrel-spf"))
        return cr_fail(CR_INVALID, "%s: format: must be \"carrel-spf\"", name);
    CR_TRY(cr_json_require_size(root, name, "version", 1, SIZE_MAX / 2, &version));
    if (version != VERSION)
        return cr_fail(CR_UNSUPPORTED, "%s: version: %zu: only %d is supported", name, version, VERSION);
    CR_TRY(read_choice(root, name, "criterion", cr_spf_criteria, &out->criterion));
    CR_TRY(read_choice(root, name, "granularity", cr_spf_granularities, &out->granularity));
    CR_TRY(cr_json_get_number(root, name, "density", 0, &out->density));
    if (!(out->density >= 0 && out->density <= 1))
        return cr_fail(CR_INVALID, "%s: density: %g: must be at least 0 and at most 1", name, out->density);
    CR_TRY(cr_json_get_size(root, name, "calibration_batches", 0, UINT32_MAX, 0, &out->calibration_batches));
    return cr_targets_read(root, name, &out->targets);
}

enum cr_status cr_spf_config_parse(struct cr_slice json, const char *name, struct cr_spf_config *out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_parse_file(json, name, &root));
    CR_CLEANUP(cr_spf_config_release) struct cr_spf_config config = {0};
    CR_TRY(read_config(root, name, &config));
    *out = config;
    config = (struct cr_spf_config){0};
    return CR_OK;
}

// The module whose tensors are being read.
struct reading {
    const struct cr_safetensors *file;
    char place[CR_PLACE_NAME_SIZE];
    size_t found; // tensors of the file that have been recognised, in all modules
};

static const struct cr_tensor_entry *find(struct reading *reading, const char *suffix)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight.%s", reading->place, suffix);
    const struct cr_tensor_entry *found = cr_safetensors_find(reading->file, name);
    reading->found += found != NULL;
    return found;
}

static enum cr_status fail_missing(const struct reading *reading, const char *suffix)
{
    return cr_fail(CR_INVALID, "%s: %s.weight.%s: missing", cr_safetensors_name(reading->file),
                   reading->place, suffix);
}

// Checks a list of at least one index: I32 of rank 1.
static enum cr_status check_list(const struct reading *reading, const struct cr_tensor_entry *tensor)
{
    if (tensor->dtype == CR_I32 && tensor->rank == 1 && tensor->shape[0] > 0) return CR_OK;
    return cr_fail(CR_INVALID, "%s: %s: must be I32 of one dimension that is not empty",
                   cr_safetensors_name(reading->file), tensor->name);
}

static enum cr_status check_values(const struct reading *reading, const struct cr_tensor_entry *tensor,
                                   size_t rows, size_t columns)
{
    const char *file = cr_safetensors_name(reading->file);
    if (!cr_dtype_of_weights(tensor->dtype))
        return cr_fail(CR_UNSUPPORTED, "%s: %s: only F32, F16 and BF16 are supported", file, tensor->name);
    if (tensor->rank == (columns > 0 ? 2U : 1U) && tensor->shape[0] == rows &&
        (columns == 0 || tensor->shape[1] == columns))
        return CR_OK;
    if (columns == 0)
        return cr_fail(CR_INVALID, "%s: %s: its shape must be [%zu], as col_indices' is", file, tensor->name,
                       rows);
    return cr_fail(CR_INVALID,
                   "%s: %s: its shape must be [%zu, %zu]: as many rows as are listed, and the "
                   "module's columns",
                   file, tensor->name, rows, columns);
}

// Checks that indices from `first` on are in ascending order and below `end`.
static enum cr_status check_ascending(const struct reading *reading, const struct cr_tensor_entry *tensor,
                                      const uint32_t *index, size_t first, size_t count, size_t end)
{
    const char *file = cr_safetensors_name(reading->file);
    for (size_t i = first; i < first + count; i++) {
        if (index[i] >= end) // a negative one is larger than any other here
            return cr_fail(CR_INVALID, "%s: %s: number %zu is %d: the module has 0 to %zu", file,
                           tensor->name, i, (int)index[i], end - 1);
        if (i > first && index[i] <= index[i - 1])
            return cr_fail(CR_INVALID, "%s: %s: number %zu, %u, comes after %u: must ascend, each once", file,
                           tensor->name, i, index[i], index[i - 1]);
    }
    return CR_OK;
}

static enum cr_status read_rows(struct reading *reading, const struct cr_tensor_entry *rows,
                                const struct cr_tensor_entry *values, struct cr_spf_part *part)
{
    CR_TRY(check_list(reading, rows));
    CR_TRY(check_values(reading, values, rows->shape[0], part->in));
    CR_TRY(cr_spf_part_allocate(part, false, rows->shape[0]));
    memcpy(part->rows, rows->bytes.data, rows->bytes.size);
    return check_ascending(reading, rows, part->rows, 0, part->row_count, part->out);
}

static enum cr_status check_starts(const struct reading *reading, const struct cr_tensor_entry *tensor,
                                   const struct cr_sparse *sparse)
{
    const char *file = cr_safetensors_name(reading->file);
    for (size_t r = 0; r <= sparse->rows; r++) {
        uint32_t start = sparse->start[r], least = r > 0 ? sparse->start[r - 1] : 0;
        bool good = r == 0 ? start == 0 : start >= least && start <= sparse->count;
        if (!good || (r == sparse->rows && start != sparse->count))
            return cr_fail(CR_INVALID,
                           "%s: %s: number %zu is %d: must go from 0 to %zu, the count of col_indices, and "
                           "never fall",
                           file, tensor->name, r, (int)start, sparse->count);
    }
    return CR_OK;
}

static enum cr_status read_elements(struct reading *reading, const struct cr_tensor_entry *starts,
                                    const struct cr_tensor_entry *columns,
                                    const struct cr_tensor_entry *values, struct cr_spf_part *part)
{
    const struct cr_sparse *sparse = &part->elements;
    CR_TRY(check_list(reading, starts));
    CR_TRY(check_list(reading, columns));
    CR_TRY(check_values(reading, values, columns->shape[0], 0));
    if (starts->shape[0] != part->out + 1)
        return cr_fail(CR_INVALID, "%s: %s: its shape must be [%zu], one more than the module has rows",
                       cr_safetensors_name(reading->file), starts->name, part->out + 1);
    CR_TRY(cr_spf_part_allocate(part, true, columns->shape[0]));
    memcpy(sparse->start, starts->bytes.data, starts->bytes.size);
    memcpy(sparse->index, columns->bytes.data, columns->bytes.size);
    CR_TRY(check_starts(reading, starts, sparse));
    for (size_t r = 0; r < part->out; r++)
        CR_TRY(check_ascending(reading, columns, sparse->index, sparse->start[r],
                               sparse->start[r + 1] - sparse->start[r], part->in));
    cr_sparse_by_columns(&part->elements);
    return CR_OK;
}

// Reads the part of one module, if the file has one.
static enum cr_status read_part(struct reading *reading, struct cr_module_place place,
                                const struct cr_model_config *model, struct cr_spf_selection *out)
{
    if (!cr_module_place_name(model, place, reading->place)) return CR_OK;
    const struct cr_tensor_entry *rows = find(reading, "rows"), *starts = find(reading, "crow_indices"),
                                 *columns = find(reading, "col_indices"), *values = find(reading, "values");
    if (!rows && !starts && !columns && !values) return CR_OK;
    if (!values) return fail_missing(reading, "values");
    if (rows && (starts || columns))
        return cr_fail(CR_INVALID, "%s: %s.weight: has both rows and elements",
                       cr_safetensors_name(reading->file), reading->place);
    if (!rows && !starts) return fail_missing(reading, columns ? "crow_indices" : "rows");
    if (!rows && !columns) return fail_missing(reading, "col_indices");
    if (out->count > 0 && out->elements == (rows != NULL))
        return cr_fail(CR_INVALID, "%s: %s.weight: %s where modules before it have %s",
                       cr_safetensors_name(reading->file), reading->place, rows ? "rows" : "elements",
                       rows ? "elements" : "rows");
    out->elements = !rows;
    struct cr_spf_part *part = &out->parts[out->count++];
    part->place = place;
    cr_module_shape(model, place.module, &part->out, &part->in);
    CR_TRY(rows ? read_rows(reading, rows, values, part)
                : read_elements(reading, starts, columns, values, part));
    out->values += cr_spf_part_values(part);
    return CR_OK;
}

// Fails and names a tensor that was not looked for.
static enum cr_status fail_surplus(const struct cr_safetensors *file, const struct cr_model_config *model)
{
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const char *name = cr_safetensors_at(file, i)->name;
        bool known = false;
        for (size_t p = 0; !known && p < model->layers * CR_MODULES; p++) {
            struct cr_module_place place = cr_module_place_at(p);
            struct reading reading = {.file = file};
            if (!cr_module_place_name(model, place, reading.place)) continue;
            static const char *const suffixes[] = {"rows", "crow_indices", "col_indices", "values"};
            for (size_t s = 0; s < sizeof suffixes / sizeof *suffixes; s++) {
                const struct cr_tensor_entry *found = find(&reading, suffixes[s]);
                known = known || (found && strcmp(found->name, name) == 0);
            }
        }
        if (!known)
            return cr_fail(CR_INVALID, "%s: %.200s: no tensor of a change of this model",
                           cr_safetensors_name(file), name);
    }
    return CR_OK;
}

enum cr_status cr_spf_places_read(const struct cr_safetensors *file, const struct cr_model_config *model,
                                  struct cr_spf_selection *out)
{
    CR_CLEANUP(cr_spf_selection_release) struct cr_spf_selection read = {0};
    struct reading reading = {.file = file};
    size_t places = model->layers * CR_MODULES;
    CR_TRY(cr_allocate(places, sizeof *read.parts, &read.parts));
    for (size_t i = 0; i < places; i++) CR_TRY(read_part(&reading, cr_module_place_at(i), model, &read));
    if (reading.found != cr_safetensors_count(file)) CR_TRY(fail_surplus(file, model));
    *out = read;
    read = (struct cr_spf_selection){0};
    return CR_OK;
}

enum cr_status cr_spf_open(const char *directory, struct cr_model *model, struct cr_structure **out)
{
    CR_FREE char *config_path = NULL;
    CR_FREE char *model_path = NULL;
    CR_TRY(cr_path_join(directory, cr_spf_config_name, &config_path));
    CR_TRY(cr_path_join(directory, cr_spf_model_name, &model_path));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(config_path, CONFIG_LIMIT, &text));
    CR_CLEANUP(cr_spf_config_release) struct cr_spf_config config = {0};
    CR_TRY(cr_spf_config_parse(cr_buffer_slice(&text), config_path, &config));
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_safetensors_open(model_path, &file));
    struct cr_spf_selection selection = {0};
    CR_TRY(cr_spf_places_read(file, &model->config, &selection));
    struct cr_structure *structure;
    CR_TRY(cr_spf_new(&config, &selection, model, false, &structure));
    return cr_adapter_fill(structure, file, out);
}
