// The safetensors format: an 8-byte length, a JSON header, then the tensors' data without gaps or overlap.
// Source: https://github.com/huggingface/safetensors (format section of its README).
#ifndef CARREL_FORMAT_SAFETENSORS_H
#define CARREL_FORMAT_SAFETENSORS_H

#include "base/bytes.h"
#include "base/dtype.h"

enum { CR_MAX_RANK = 8 };

struct cr_tensor_entry {
    const char *name;
    enum cr_dtype dtype;
    size_t rank;
    size_t shape[CR_MAX_RANK];
    struct cr_slice bytes; // row-major, little-endian; not necessarily aligned
};

// The size in bytes of a tensor with this type and shape. False if it exceeds SIZE_MAX or, for elements
// smaller than a byte, is not a whole number of bytes.
bool cr_tensor_size(const struct cr_tensor_entry *entry, size_t *out);

struct cr_safetensors;
struct cr_json;

// The distinct file names in an index's weight_map, sorted. The caller frees the array; the names belong to
// the JSON. CR_INVALID if there are none, or if one is not a plain name of a file beside the index.
enum cr_status cr_safetensors_shard_names(const struct cr_json *weight_map, const char *index_path,
                                          const char ***out, size_t *count);

// Maps and validates one file, or a Hugging Face directory (model.safetensors, or the shards named in
// model.safetensors.index.json). Entries point into the mapping and live as long as the object.
// CR_UNSUPPORTED for a tensor of a type that enum cr_dtype lacks; CR_INVALID for a violation of the format.
// Any type of the format is accepted: callers check whether they can compute with it.
enum cr_status cr_safetensors_open(const char *path, struct cr_safetensors **out);

// The same for bytes in memory, which must outlive the object; `name` is for error messages.
enum cr_status cr_safetensors_parse(struct cr_slice bytes, const char *name, struct cr_safetensors **out);
void cr_safetensors_free(struct cr_safetensors *file);     // NULL is allowed
void cr_safetensors_release(struct cr_safetensors **file); // frees *file; for CR_CLEANUP

size_t cr_safetensors_count(const struct cr_safetensors *file);
size_t cr_safetensors_shards(const struct cr_safetensors *file);    // number of files
const char *cr_safetensors_name(const struct cr_safetensors *file); // the path it was opened with

// The i-th entry in the order of names, or the entry with a name; NULL if there is none.
const struct cr_tensor_entry *cr_safetensors_at(const struct cr_safetensors *file, size_t i);
const struct cr_tensor_entry *cr_safetensors_find(const struct cr_safetensors *file, const char *name);

// Writes a file atomically (see cr_file_begin), with {"format": "pt"} as metadata, which Transformers and
// PEFT require. Larger elements come first, in the given order within each element size, so that every tensor
// is aligned.
enum cr_status cr_safetensors_write(const char *path, const struct cr_tensor_entry *entries, size_t count,
                                    bool secret);

// The same without having all data in memory at once: `make` sets *bytes to entry i's data, of size
// entries[i].bytes.size, valid until the next call.
enum cr_status
cr_safetensors_write_made(const char *path, const struct cr_tensor_entry *entries, size_t count, bool secret,
                          enum cr_status (*make)(void *context, size_t i, struct cr_slice *bytes),
                          void *context);

#endif
