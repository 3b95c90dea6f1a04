#include "format/safetensors.h"
#include "base/file.h"
#include "base/mapping.h"
#include "format/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAX_HEADER = 100000000, // the reference implementation's limit
    MAX_INDEX = 64 << 20,
    MAX_SHARDS = 4096,
};

static const char metadata_key[] = "__metadata__";

// One file: its bytes and its parsed header, which owns the names of its tensors.
struct shard {
    const char *name; // for errors: the path
    char *path;       // owned; NULL if the caller owns the bytes
    struct cr_slice mapping;
    struct cr_json *header;
};

struct item {
    struct cr_tensor_entry entry;
    size_t shard;
};

struct cr_safetensors {
    char *name;
    struct shard *shards;
    size_t shard_count;
    struct item *items; // sorted by name
    size_t count;
};

static bool dtype_of(const struct cr_json *text, enum cr_dtype *out)
{
    for (enum cr_dtype dtype = CR_F32; dtype < CR_DTYPES; dtype++) {
        if (cr_json_is_string(text, cr_dtype_name(dtype))) {
            *out = dtype;
            return true;
        }
    }
    return false;
}

static bool read_size(const struct cr_json *value, size_t *out)
{
    int64_t number;
    if (!cr_json_is_integer(value, &number) || number < 0) return false;
    *out = (size_t)number;
    return true;
}

bool cr_tensor_size(const struct cr_tensor_entry *entry, size_t *out)
{
    size_t bits = cr_dtype_bits(entry->dtype);
    for (size_t i = 0; i < entry->rank; i++)
        if (__builtin_mul_overflow(bits, entry->shape[i], &bits)) return false;
    if (bits % 8 != 0) return false;
    *out = bits / 8;
    return true;
}

// Reads {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, with offsets into `data`.
static enum cr_status read_entry(const struct shard *shard, struct cr_slice data, const char *name,
                                 const struct cr_json *value, struct cr_tensor_entry *out)
{
    const char *file = shard->name;
    const struct cr_json *dtype = cr_json_member(value, "dtype");
    const struct cr_json *shape = cr_json_member(value, "shape");
    const struct cr_json *offsets = cr_json_member(value, "data_offsets");
    if (cr_json_kind(value) != CR_JSON_OBJECT || cr_json_count(value) != 3 ||
        cr_json_kind(dtype) != CR_JSON_STRING || cr_json_kind(shape) != CR_JSON_ARRAY ||
        cr_json_kind(offsets) != CR_JSON_ARRAY || cr_json_count(offsets) != 2)
        return cr_fail(CR_INVALID,
                       "%s: tensor \"%s\": its entry is not exactly a dtype, a shape and two data_offsets",
                       file, name);
    struct cr_tensor_entry entry = {.name = name, .rank = cr_json_count(shape)};
    if (!dtype_of(dtype, &entry.dtype))
        return cr_fail(CR_UNSUPPORTED, "%s: tensor \"%s\": type %s is none that safetensors has", file, name,
                       (const char *)cr_json_string(dtype).data);
    if (entry.rank > CR_MAX_RANK)
        return cr_fail(CR_UNSUPPORTED, "%s: tensor \"%s\": %zu dimensions, more than the %d supported", file,
                       name, entry.rank, CR_MAX_RANK);
    for (size_t i = 0; i < entry.rank; i++)
        if (!read_size(cr_json_at(shape, i), &entry.shape[i]))
            return cr_fail(CR_INVALID, "%s: tensor \"%s\": dimension %zu of its shape is not a size", file,
                           name, i);
    size_t size, begin, end;
    if (!cr_tensor_size(&entry, &size))
        return cr_fail(
            CR_INVALID,
            "%s: tensor \"%s\": its shape is larger than any memory, or no whole bytes of its type", file,
            name);
    if (!read_size(cr_json_at(offsets, 0), &begin) || !read_size(cr_json_at(offsets, 1), &end) || begin > end)
        return cr_fail(CR_INVALID, "%s: tensor \"%s\": its data_offsets are not a range", file, name);
    if (end > data.size)
        return cr_fail(CR_INVALID,
                       "%s: tensor \"%s\": its data end at byte %zu of %zu (is the file truncated?)", file,
                       name, end, data.size);
    if (end - begin != size)
        return cr_fail(CR_INVALID, "%s: tensor \"%s\": %zu bytes of data, but type and shape want %zu", file,
                       name, end - begin, size);
    entry.bytes = (struct cr_slice){data.data + begin, size};
    *out = entry;
    return CR_OK;
}

static int by_place(const void *left, const void *right)
{
    const struct cr_tensor_entry *a = &((const struct item *)left)->entry;
    const struct cr_tensor_entry *b = &((const struct item *)right)->entry;
    if (a->bytes.data != b->bytes.data) return a->bytes.data < b->bytes.data ? -1 : 1;
    // An empty tensor sorts before the one that begins at the same byte.
    return a->bytes.size < b->bytes.size ? -1 : a->bytes.size > b->bytes.size;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct item *)left)->entry.name, ((const struct item *)right)->entry.name);
}

// The tensors must cover the data from first to last byte without gap or overlap: no hidden bytes, and no
// shared ones.
static enum cr_status check_cover(const struct shard *shard, struct cr_slice data, struct item *items,
                                  size_t count)
{
    if (count > 0) qsort(items, count, sizeof *items, by_place);
    const char *before = NULL;
    size_t covered = 0;
    for (size_t i = 0; i < count; i++) {
        const struct cr_tensor_entry *entry = &items[i].entry;
        size_t begin = (size_t)(entry->bytes.data - data.data);
        if (begin < covered)
            return cr_fail(CR_INVALID, "%s: tensor \"%s\": its data overlap those of \"%s\"", shard->name,
                           entry->name, before);
        if (begin > covered)
            return cr_fail(CR_INVALID, "%s: tensor \"%s\": %zu bytes before its data belong to no tensor",
                           shard->name, entry->name, begin - covered);
        covered = begin + entry->bytes.size;
        before = entry->name;
    }
    if (covered != data.size)
        return cr_fail(CR_INVALID, "%s: %zu bytes after the last tensor belong to none", shard->name,
                       data.size - covered);
    return CR_OK;
}

static enum cr_status check_metadata(const struct shard *shard, const struct cr_json *metadata)
{
    const char *key;
    const struct cr_json *value;
    void *position = NULL;
    bool good = cr_json_kind(metadata) == CR_JSON_OBJECT;
    while (good && cr_json_next(metadata, &position, &key, &value))
        good = cr_json_kind(value) == CR_JSON_STRING;
    if (!good) return cr_fail(CR_INVALID, "%s: __metadata__ is not a map of strings", shard->name);
    return CR_OK;
}

// Reads the header of shard number `index`, whose name is set, and adds its tensors to the file's items.
static enum cr_status read_shard(struct cr_safetensors *file, size_t index, struct cr_slice bytes)
{
    struct shard *shard = &file->shards[index];
    struct cr_cursor cursor = cr_cursor_over(bytes);
    uint64_t header_size = cr_read_u64(&cursor);
    if (cursor.failed)
        return cr_fail(CR_INVALID, "%s: %zu bytes are too few for a safetensors file", shard->name,
                       bytes.size);
    if (header_size > MAX_HEADER)
        return cr_fail(CR_INVALID, "%s: a header of %llu bytes, more than the %d allowed (not safetensors?)",
                       shard->name, (unsigned long long)header_size, MAX_HEADER);
    struct cr_slice text = cr_read_slice(&cursor, (size_t)header_size);
    if (cursor.failed)
        return cr_fail(CR_INVALID, "%s: a header of %llu bytes in a file of %zu (is the file truncated?)",
                       shard->name, (unsigned long long)header_size, bytes.size);
    struct cr_slice data = cr_read_slice(&cursor, cr_cursor_left(&cursor));
    if (text.size == 0 || text.data[0] != '{')
        return cr_fail(CR_INVALID, "%s: the header does not begin with {", shard->name);
    CR_TRY(cr_json_parse(text, shard->name, &shard->header));

    const struct cr_json *metadata = cr_json_member(shard->header, metadata_key);
    size_t added = cr_json_count(shard->header);
    if (metadata) {
        CR_TRY(check_metadata(shard, metadata));
        added--;
    }
    CR_TRY(cr_reallocate(file->count + added, sizeof *file->items, &file->items));
    struct item *items = file->items + file->count;
    const char *name;
    const struct cr_json *value;
    void *position = NULL;
    for (size_t i = 0; cr_json_next(shard->header, &position, &name, &value);) {
        if (value == metadata) continue;
        items[i] = (struct item){.shard = index};
        CR_TRY(read_entry(shard, data, name, value, &items[i].entry));
        i++;
    }
    CR_TRY(check_cover(shard, data, items, added));
    file->count += added;
    return CR_OK;
}

static enum cr_status sort_by_name(struct cr_safetensors *file)
{
    if (file->count > 0) qsort(file->items, file->count, sizeof *file->items, by_name);
    for (size_t i = 1; i < file->count; i++) {
        const struct item *a = &file->items[i - 1], *b = &file->items[i];
        if (strcmp(a->entry.name, b->entry.name) == 0)
            return cr_fail(CR_INVALID, "%s: tensor \"%s\" stands in %s too", file->shards[b->shard].name,
                           b->entry.name, file->shards[a->shard].name);
    }
    return CR_OK;
}

static enum cr_status new_file(const char *name, size_t shards, struct cr_safetensors **out)
{
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(cr_allocate(1, sizeof *file, &file));
    CR_TRY(cr_copy_string(name, &file->name));
    CR_TRY(cr_allocate(shards, sizeof *file->shards, &file->shards));
    file->shard_count = shards;
    *out = file;
    file = NULL;
    return CR_OK;
}

enum cr_status cr_safetensors_parse(struct cr_slice bytes, const char *name, struct cr_safetensors **out)
{
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(new_file(name, 1, &file));
    file->shards[0].name = file->name;
    CR_TRY(read_shard(file, 0, bytes));
    CR_TRY(sort_by_name(file));
    *out = file;
    file = NULL;
    return CR_OK;
}

// Takes ownership of `path`.
static enum cr_status map_shard(struct cr_safetensors *file, size_t index, char *path)
{
    struct shard *shard = &file->shards[index];
    shard->path = path;
    shard->name = path;
    CR_TRY(cr_file_map(path, &shard->mapping));
    CR_TRY(cr_file_refuse_pointer(path, shard->mapping));
    return read_shard(file, index, shard->mapping);
}

static enum cr_status open_one(const char *name, const char *path, struct cr_safetensors **out)
{
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(new_file(name, 1, &file));
    char *copy;
    CR_TRY(cr_copy_string(path, &copy));
    CR_TRY(map_shard(file, 0, copy));
    CR_TRY(sort_by_name(file));
    *out = file;
    file = NULL;
    return CR_OK;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

enum cr_status cr_safetensors_shard_names(const struct cr_json *weight_map, const char *index_path,
                                          const char ***out, size_t *count)
{
    size_t tensors = cr_json_count(weight_map), filled = 0, distinct = 0;
    if (cr_json_kind(weight_map) != CR_JSON_OBJECT || tensors == 0)
        return cr_fail(CR_INVALID, "%s: \"weight_map\" names no tensors", index_path);
    CR_FREE const char **names = NULL;
    CR_TRY(cr_allocate(tensors, sizeof *names, &names));
    const char *tensor;
    const struct cr_json *value;
    void *position = NULL;
    while (cr_json_next(weight_map, &position, &tensor, &value)) {
        struct cr_slice name = cr_json_string(value);
        // A plain file name only: an index from anywhere must not lead out of its directory.
        if (name.size == 0 || name.data[0] == '.' || memchr(name.data, 0, name.size) ||
            memchr(name.data, '/', name.size))
            return cr_fail(CR_INVALID,
                           "%s: tensor \"%s\": its file is not the name of a file beside the index",
                           index_path, tensor);
        names[filled++] = (const char *)name.data;
    }
    qsort(names, filled, sizeof *names, by_text);
    for (size_t i = 0; i < filled; i++)
        if (i == 0 || strcmp(names[i], names[distinct - 1]) != 0) names[distinct++] = names[i];
    if (distinct > MAX_SHARDS)
        return cr_fail(CR_INVALID, "%s: %zu files, more than the %d allowed", index_path, distinct,
                       MAX_SHARDS);
    *out = names;
    names = NULL;
    *count = distinct;
    return CR_OK;
}

// Index and shards must agree: each tensor lies in the file that the index names, and there are no others.
static enum cr_status check_index(const struct cr_safetensors *file, const struct cr_json *weight_map,
                                  const char *const *names, const char *index_path)
{
    const char *tensor;
    const struct cr_json *value;
    void *position = NULL;
    while (cr_json_next(weight_map, &position, &tensor, &value)) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, tensor);
        // An entry is the first member of its item.
        const struct item *item = (const struct item *)entry;
        if (!entry || !cr_json_is_string(value, names[item->shard]))
            return cr_fail(CR_INVALID, "%s: tensor \"%s\" is not in %s", index_path, tensor,
                           (const char *)cr_json_string(value).data);
    }
    if (file->count != cr_json_count(weight_map))
        for (size_t i = 0; i < file->count; i++)
            if (!cr_json_member(weight_map, file->items[i].entry.name))
                return cr_fail(CR_INVALID, "%s: tensor \"%s\" of %s is not listed", index_path,
                               file->items[i].entry.name, names[file->items[i].shard]);
    return CR_OK;
}

static enum cr_status open_sharded(const char *directory, const char *index_path, struct cr_safetensors **out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *index = NULL;
    CR_TRY(cr_json_read(index_path, MAX_INDEX, &index));
    const struct cr_json *weight_map = cr_json_member(index, "weight_map");
    CR_FREE const char **names = NULL;
    size_t count = 0;
    CR_TRY(cr_safetensors_shard_names(weight_map, index_path, &names, &count));
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    CR_TRY(new_file(directory, count, &file));
    for (size_t i = 0; i < count; i++) {
        char *path;
        CR_TRY(cr_path_join(directory, names[i], &path));
        CR_TRY(map_shard(file, i, path));
    }
    CR_TRY(sort_by_name(file));
    CR_TRY(check_index(file, weight_map, names, index_path));
    *out = file;
    file = NULL;
    return CR_OK;
}

enum cr_status cr_safetensors_open(const char *path, struct cr_safetensors **out)
{
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode)) return open_one(path, path, out);
    CR_FREE char *whole = NULL, *index = NULL;
    CR_TRY(cr_path_join(path, "model.safetensors", &whole));
    CR_TRY(cr_path_join(path, "model.safetensors.index.json", &index));
    if (cr_file_exists(whole)) return open_one(path, whole, out);
    if (cr_file_exists(index)) return open_sharded(path, index, out);
    if (cr_directory_has(path, "pytorch_model.bin") || cr_directory_has(path, "pytorch_model.bin.index.json"))
        return cr_fail(CR_UNSUPPORTED,
                       "%s: pytorch_model.bin: only safetensors are read (in Python, load the model with "
                       "Transformers and call save_pretrained(..., safe_serialization=True))",
                       path);
    return cr_fail(CR_NOT_FOUND, "%s: neither model.safetensors nor model.safetensors.index.json is there",
                   path);
}

void cr_safetensors_free(struct cr_safetensors *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->shard_count; i++) {
        cr_json_free(file->shards[i].header);
        cr_file_unmap(&file->shards[i].mapping);
        free(file->shards[i].path);
    }
    free(file->shards);
    free(file->items);
    free(file->name);
    free(file);
}

void cr_safetensors_release(struct cr_safetensors **file)
{
    cr_safetensors_free(*file);
    *file = NULL;
}

size_t cr_safetensors_count(const struct cr_safetensors *file)
{
    return file->count;
}

size_t cr_safetensors_shards(const struct cr_safetensors *file)
{
    return file->shard_count;
}

const struct cr_tensor_entry *cr_safetensors_at(const struct cr_safetensors *file, size_t i)
{
    return i < file->count ? &file->items[i].entry : NULL;
}

const struct cr_tensor_entry *cr_safetensors_find(const struct cr_safetensors *file, const char *name)
{
    const struct item wanted = {.entry = {.name = name}};
    const struct item *found =
        file->count > 0 ? bsearch(&wanted, file->items, file->count, sizeof wanted, by_name) : NULL;
    return found ? &found->entry : NULL;
}

const char *cr_safetensors_name(const struct cr_safetensors *file)
{
    return file->name;
}
