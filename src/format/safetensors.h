// The safetensors format: an 8-byte length, a JSON header, and tensors without gaps or overlap.
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

// Bytes of a tensor of this type and shape. False where they pass SIZE_MAX or, with elements of less than a
// byte, are not whole.
bool cr_tensor_size(const struct cr_tensor_entry *entry, size_t *out);

struct cr_safetensors;
struct cr_json;

// The distinct file names of an index's weight_map, sorted. The array is the caller's; the names belong to
// the JSON. CR_INVALID where there are none, or one is not the name of a file beside the index.
enum cr_status cr_safetensors_shard_names(const struct cr_json *weight_map, const char *index_path,
                                          const char ***out, size_t *count);

// Maps and validates one file, or a Hugging Face directory (model.safetensors, or the shards that
// model.safetensors.index.json names). Bytes of entries are in the mapping and live as long as it. A tensor
// of a type that enum cr_dtype lacks is CR_UNSUPPORTED; anything that breaks the format's rules, CR_INVALID.
// A tensor may be of any type that the format has: who reads one looks whether it is one to compute with.
enum cr_status cr_safetensors_open(const char *path, struct cr_safetensors **out);

// The same over bytes in memory, which must outlive it; `name` stands in errors.
enum cr_status cr_safetensors_parse(struct cr_slice bytes, const char *name, struct cr_safetensors **out);
void cr_safetensors_free(struct cr_safetensors *file);     // NULL is allowed
void cr_safetensors_release(struct cr_safetensors **file); // frees *file; for CR_CLEANUP

size_t cr_safetensors_count(const struct cr_safetensors *file);
size_t cr_safetensors_shards(const struct cr_safetensors *file);    // files
const char *cr_safetensors_name(const struct cr_safetensors *file); // the path it was opened with

// The i-th entry by name, or that of a name; NULL where there is none.
const struct cr_tensor_entry *cr_safetensors_at(const struct cr_safetensors *file, size_t i);
const struct cr_tensor_entry *cr_safetensors_find(const struct cr_safetensors *file, const char *name);

// Writes entries atomically (cr_file_begin's rules), with {"format": "pt"} as metadata, which Transformers
// and PEFT want. Data stand in the given order within each element size, larger elements first, so that every
// tensor is aligned.
enum cr_status cr_safetensors_write(const char *path, const struct cr_tensor_entry *entries, size_t count,
                                    bool secret);

// The same without all bytes in memory at once: `make` sets *bytes to those of entry i, as many as
// entries[i].bytes has, which live until the next call.
enum cr_status
cr_safetensors_write_made(const char *path, const struct cr_tensor_entry *entries, size_t count, bool secret,
                          enum cr_status (*make)(void *context, size_t i, struct cr_slice *bytes),
                          void *context);

#endif
