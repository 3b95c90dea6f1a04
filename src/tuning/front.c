#include "tuning/front.h"

#include "base/file.h"
#include "base/scratch.h"
#include "crypto/hash.h"
#include "tuning/evaluate.h"
#include "tuning/lora.h"
#include "tuning/spf_select.h"

#include <stdlib.h>
#include <string.h>

struct example {
    size_t at; // its first row among all rows of the scratch file
    bool known;
    unsigned char digest[CR_SHA256_SIZE];
};

struct cr_front_cache {
    struct cr_cut *cut; // NULL: this is a clear front, which uses the rest
    struct cr_front *front;
    const struct cr_dataset *data;
    size_t hidden;
    struct cr_scratch *scratch;
    struct example *examples;
    struct cr_batch *missing; // those of a batch that have not been asked for yet
    struct cr_matrix values;  // [rows, d] F32 without gaps: on their way to or from the scratch file
};

enum cr_status cr_front_end(const struct cr_tuning_config *config, const struct cr_model_config *model,
                            size_t *layer)
{
    size_t first = model->layers, count;
    *layer = 0;
    // Prefixes adapt every layer. Places are in the order of layers.
    if (config->slicing.clear_front == CR_CLEAR_FRONT_NONE || config->method == CR_METHOD_PREFIX_TUNING)
        return CR_OK;
    if (cr_method_has_lora(config->method)) {
        CR_FREE struct cr_module_place *places = NULL;
        CR_TRY(cr_lora_places(&config->lora, model, &places, &count));
        first = places[0].layer;
    }
    if (cr_method_has_spf(config->method)) {
        CR_FREE struct cr_module_place *places = NULL;
        CR_TRY(cr_spf_places(&config->spf, model, &places, &count));
        first = cr_least(first, places[0].layer);
    }
    *layer = first;
    return CR_OK;
}

static enum cr_status make(struct cr_front_cache *cache, size_t rows, size_t sequences, const char *directory)
{
    size_t count = cr_dataset_count(cache->data), at = 0;
    float *values;
    CR_TRY(cr_allocate(count, sizeof *cache->examples, &cache->examples));
    for (size_t i = 0; i < count; i++) {
        cache->examples[i].at = at;
        at += cr_dataset_at(cache->data, i).count;
    }
    CR_TRY(cr_batch_new(sequences, rows, &cache->missing));
    CR_TRY(cr_allocate(rows * cache->hidden, sizeof *values, &values));
    cache->values = cr_matrix_of(values, CR_F32, rows, cache->hidden);
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "clear-front", &path));
    return cr_scratch_open(path, at * cache->hidden * sizeof *values, &cache->scratch);
}

enum cr_status cr_front_cache_new(struct cr_front *front, const struct cr_dataset *data, size_t hidden,
                                  size_t rows, size_t sequences, const char *directory,
                                  struct cr_front_cache **out)
{
    struct cr_front_cache *cache;
    CR_TRY(cr_allocate(1, sizeof *cache, &cache));
    cache->front = front;
    cache->data = data;
    cache->hidden = hidden;
    enum cr_status status = make(cache, rows, sequences, directory);
    if (status == CR_OK) {
        *out = cache;
        return CR_OK;
    }
    cr_front_cache_free(cache);
    return cr_fail_within(status, "the clear front");
}

enum cr_status cr_front_cache_of_cut(struct cr_cut *cut, struct cr_front_cache **out)
{
    CR_TRY(cr_allocate(1, sizeof **out, out));
    (*out)->cut = cut;
    return CR_OK;
}

void cr_front_cache_free(struct cr_front_cache *cache)
{
    if (!cache) return;
    cr_scratch_close(cache->scratch);
    cr_batch_free(cache->missing);
    free(cache->values.data);
    free(cache->examples);
    free(cache);
}

// The bytes of `count` rows of `values` from `row` on.
static struct cr_slice bytes_of(const struct cr_front_cache *cache, size_t row, size_t count)
{
    const float *values = (const float *)cache->values.data + row * cache->hidden;
    return (struct cr_slice){(const unsigned char *)values, count * cache->hidden * sizeof *values};
}

static size_t place_of(const struct cr_front_cache *cache, const struct example *example)
{
    return example->at * cache->hidden * sizeof(float);
}

static enum cr_status ask_for_missing(struct cr_front_cache *cache)
{
    const struct cr_batch *missing = cache->missing;
    const struct cr_rows rows = cr_rows_of(missing);
    CR_TRY(cr_front_ask(cache->front, &rows, cache->values));
    for (size_t s = 0; s < missing->sequences; s++) {
        struct example *example = &cache->examples[missing->example[s]];
        size_t first = missing->offset[s], count = missing->offset[s + 1] - first;
        const struct cr_slice bytes = bytes_of(cache, first, count);
        CR_TRY(cr_sha256(bytes, example->digest));
        CR_TRY(cr_scratch_write(cache->scratch, place_of(cache, example), bytes.data, bytes.size));
        example->known = true;
    }
    return CR_OK;
}

// The digest is checked on a copy in this process, and this copy is used.
static enum cr_status bring(struct cr_front_cache *cache, size_t number, struct cr_matrix stream)
{
    const struct example *example = &cache->examples[number];
    unsigned char digest[CR_SHA256_SIZE];
    const struct cr_slice bytes = bytes_of(cache, 0, stream.rows);
    CR_TRY(cr_scratch_read(cache->scratch, place_of(cache, example), cache->values.data, bytes.size));
    CR_TRY(cr_sha256(bytes, digest));
    if (memcmp(digest, example->digest, sizeof digest) != 0)
        return cr_fail(CR_DENIED, "what was kept of the clear front of example %zu was changed", number + 1);
    for (size_t i = 0; i < stream.rows; i++)
        memcpy(cr_row(&stream, i), bytes_of(cache, i, 1).data, cache->hidden * sizeof(float));
    return CR_OK;
}

static enum cr_status ask(struct cr_front_cache *cache, const struct cr_batch *batch)
{
    cr_batch_clear(cache->missing);
    for (size_t s = 0; s < batch->sequences; s++)
        if (!cache->examples[batch->example[s]].known)
            CR_TRY(cr_batch_add(cache->missing, cr_dataset_at(cache->data, batch->example[s])));
    return cache->missing->sequences > 0 ? ask_for_missing(cache) : CR_OK;
}

static enum cr_status load(struct cr_front_cache *cache, const struct cr_batch *batch,
                           struct cr_matrix stream)
{
    if (!cache->cut) CR_TRY(ask(cache, batch));
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t first = batch->offset[s], count = batch->offset[s + 1] - first;
        struct cr_matrix rows = cr_matrix_rows(stream, first, count);
        CR_TRY(cache->cut ? cache->cut->load(cache->cut, batch->example[s], rows)
                          : bring(cache, batch->example[s], rows));
    }
    return CR_OK;
}

size_t cr_front_cache_layer(const struct cr_front_cache *cache)
{
    if (!cache) return 0;
    return cache->cut ? cache->cut->layer : cr_front_layers(cache->front);
}

enum cr_status cr_front_forward(struct cr_front_cache *cache, struct cr_pass *pass,
                                const struct cr_tuned *tuned, const struct cr_batch *batch, size_t layers)
{
    struct cr_rows rows = cr_rows_of(batch);
    if (cache) {
        CR_TRY(load(cache, batch, cr_pass_stream(pass)));
        rows.tokens = NULL; // a cut has no tokens
    }
    return cr_pass_forward(pass, tuned, &rows, cr_front_cache_layer(cache), layers);
}
