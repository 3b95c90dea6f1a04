#include "federation/cut_store.h"

#include "base/file.h"
#include "base/secret.h"
#include "tensor/compute.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct example {
    struct cr_cut_file *file;
    struct cr_cut_record record;
};

struct silo {
    struct cr_cut_owner owner;
    struct cr_cut_offer offer; // no examples: there is no offer
    struct cr_cut_file **files;
    size_t file_count;
    bool appending; // the last file was made by this process
    struct example *examples;
    size_t count, capacity, synced;
    uint64_t rows, synced_rows;
};

struct cr_cut_store {
    struct cr_cut cut; // must be the first member: a trainer holds a pointer to it
    char *directory;
    unsigned char secret[CR_KEY_SIZE], run[CR_SHA256_SIZE];
    int activations;
    size_t hidden, vocabulary, longest;
    size_t activation_size; // bytes of a row's activations
    uint64_t limit;
    struct cr_compute *compute;
    unsigned char *sealed, *plain; // [bytes of the longest example]
    float *row;                    // [hidden]
    struct silo *silos;            // sorted by name
    size_t silo_count;
    const struct example **order; // examples of the cut, [count of its data]
};

// Bytes of an example of `rows` rows, each with its label.
static size_t size_of(const struct cr_cut_store *store, size_t rows)
{
    return rows * (store->activation_size + sizeof(int32_t));
}

// The silo's index among the others, or the index where it would be inserted.
static size_t place_of(const struct cr_cut_store *store, const char *name, bool *there)
{
    size_t at = 0;
    while (at < store->silo_count && strcmp(store->silos[at].owner.silo, name) < 0) at++;
    *there = at < store->silo_count && strcmp(store->silos[at].owner.silo, name) == 0;
    return at;
}

static const struct silo *find(const struct cr_cut_store *store, const char *name)
{
    bool there;
    size_t at = place_of(store, name, &there);
    return there ? &store->silos[at] : NULL;
}

static enum cr_status silo_of(struct cr_cut_store *store, const char *name, struct silo **out)
{
    bool there;
    size_t at = place_of(store, name, &there);
    if (!there) {
        CR_TRY(cr_reallocate(store->silo_count + 1, sizeof *store->silos, &store->silos));
        memmove(store->silos + at + 1, store->silos + at, (store->silo_count - at) * sizeof *store->silos);
        store->silos[at] = (struct silo){0};
        snprintf(store->silos[at].owner.silo, CR_NAME_SIZE, "%s", name);
        memcpy(store->silos[at].owner.run, store->run, CR_SHA256_SIZE);
        store->silo_count++;
    }
    *out = &store->silos[at];
    return CR_OK;
}

static enum cr_status file_path(const struct cr_cut_store *store, const struct silo *silo, size_t number,
                                char **out)
{
    char name[CR_NAME_SIZE + 24];
    snprintf(name, sizeof name, "%s.%zu", silo->owner.silo, number);
    return cr_path_join(store->directory, name, out);
}

static void close_files(struct silo *silo)
{
    for (size_t i = 0; i < silo->file_count; i++) cr_cut_file_close(silo->files[i]);
    free(silo->files);
    free(silo->examples);
    *silo = (struct silo){.owner = silo->owner};
}

static void remove_files(const struct cr_cut_store *store, const struct silo *silo)
{
    for (size_t i = 0;; i++) {
        CR_FREE char *path = NULL;
        if (file_path(store, silo, i, &path) != CR_OK || unlink(path) != 0) return;
    }
}

static enum cr_status build(struct cr_cut_store *store, const struct cr_cut_store_options *options)
{
    size_t longest = size_of(store, store->longest);
    CR_TRY(cr_copy_string(options->directory, &store->directory));
    CR_TRY(cr_directory_make(store->directory, true));
    CR_TRY(cr_compute_new(1, &store->compute));
    CR_TRY(cr_allocate(cr_cut_sealed_size(longest), 1, &store->sealed));
    CR_TRY(cr_allocate(longest, 1, &store->plain));
    return cr_allocate(store->hidden, sizeof *store->row, &store->row);
}

static enum cr_status load(struct cr_cut *cut, size_t number, struct cr_matrix stream);
static enum cr_status open_cut(struct cr_cut *cut);

enum cr_status cr_cut_store_open(const struct cr_cut_store_options *options, struct cr_cut_store **out)
{
    struct cr_cut_store *store;
    CR_TRY(cr_allocate(1, sizeof *store, &store));
    *store = (struct cr_cut_store){.cut = {.layer = options->layer, .open = open_cut, .load = load},
                                   .activations = options->activations,
                                   .hidden = options->hidden,
                                   .vocabulary = options->vocabulary,
                                   .longest = options->longest,
                                   .activation_size = cr_cut_row_size(options->activations, options->hidden),
                                   .limit = options->limit};
    memcpy(store->secret, options->secret, sizeof store->secret);
    memcpy(store->run, options->run, sizeof store->run);
    enum cr_status status = build(store, options);
    if (status != CR_OK)
        cr_cut_store_close(store);
    else
        *out = store;
    return status;
}

void cr_cut_store_close(struct cr_cut_store *store)
{
    if (!store) return;
    for (size_t i = 0; i < store->silo_count; i++) close_files(&store->silos[i]);
    if (store->plain) cr_wipe(store->plain, size_of(store, store->longest));
    if (store->row) cr_wipe(store->row, store->hidden * sizeof *store->row);
    cr_dataset_free(store->cut.data);
    cr_compute_free(store->compute);
    free(store->order);
    free(store->silos);
    free(store->sealed);
    free(store->plain);
    free(store->row);
    free(store->directory);
    cr_wipe(store, sizeof *store);
    free(store);
}

static enum cr_status add_file(struct silo *silo, struct cr_cut_file *file)
{
    enum cr_status status = cr_reallocate(silo->file_count + 1, sizeof *silo->files, &silo->files);
    if (status != CR_OK)
        cr_cut_file_close(file);
    else
        silo->files[silo->file_count++] = file;
    return status;
}

static enum cr_status add_example(struct silo *silo, struct cr_cut_file *file,
                                  const struct cr_cut_record *record)
{
    if (silo->count == silo->capacity) {
        size_t capacity = silo->capacity + silo->capacity / 2 + 256;
        CR_TRY(cr_reallocate(capacity, sizeof *silo->examples, &silo->examples));
        silo->capacity = capacity;
    }
    silo->examples[silo->count++] = (struct example){file, *record};
    silo->rows += record->rows;
    return CR_OK;
}

// Takes the examples of a file up to the first that is not whole: whatever was not synced when the machine
// stopped may contain anything.
static enum cr_status restore_file(struct cr_cut_store *store, struct silo *silo, struct cr_cut_file *file)
{
    struct cr_cut_record record;
    size_t size = 0;
    bool found;
    for (const struct cr_cut_record *before = NULL;; before = &record) {
        CR_TRY(cr_cut_file_next(file, before, size, &record, &found));
        if (!found || record.example != silo->count || record.rows == 0 || record.rows > store->longest)
            return CR_OK;
        size = size_of(store, record.rows);
        enum cr_status status = cr_cut_file_read(file, &record, size, store->sealed, store->plain);
        if (status == CR_DENIED) return CR_OK;
        CR_TRY(status);
        CR_TRY(add_example(silo, file, &record));
    }
}

enum cr_status cr_cut_store_restore(struct cr_cut_store *store, const char *name)
{
    struct silo *silo;
    CR_TRY(silo_of(store, name, &silo));
    for (;;) {
        CR_FREE char *path = NULL;
        struct cr_cut_file *file;
        struct cr_cut_offer offer;
        CR_TRY(file_path(store, silo, silo->file_count, &path));
        enum cr_status status = cr_cut_file_open(path, store->secret, &silo->owner, &offer, &file);
        if (status == CR_NOT_FOUND || status == CR_DENIED) break;
        CR_TRY(status);
        if (silo->file_count > 0 && memcmp(&offer, &silo->offer, sizeof offer) != 0) {
            cr_cut_file_close(file);
            break;
        }
        silo->offer = offer;
        CR_TRY(add_file(silo, file));
        CR_TRY(restore_file(store, silo, file));
    }
    silo->synced = silo->count;
    silo->synced_rows = silo->rows;
    return CR_OK;
}

static uint64_t bytes_of(const struct cr_cut_store *store, const struct cr_cut_offer *offer)
{
    return offer->examples == 0 ? 0 : cr_cut_file_size(offer->examples, size_of(store, offer->rows));
}

static enum cr_status check_offer(const struct cr_cut_store *store, const char *name,
                                  const struct cr_cut_offer *offer)
{
    uint64_t others = 0;
    // These bounds keep the sums below from overflowing.
    if (offer->examples == 0 || offer->examples > UINT32_MAX || offer->rows < offer->examples ||
        offer->rows / offer->examples > store->longest || offer->rows > UINT64_MAX / size_of(store, 2))
        return cr_fail(CR_DENIED, "%s offers %" PRIu64 " examples with %" PRIu64 " tokens, which cannot be",
                       name, offer->examples, offer->rows);
    for (size_t i = 0; i < store->silo_count; i++)
        if (strcmp(store->silos[i].owner.silo, name) != 0) others += bytes_of(store, &store->silos[i].offer);
    uint64_t bytes = bytes_of(store, offer);
    if (bytes <= store->limit && others <= store->limit - bytes) return CR_OK;
    return cr_fail(CR_DENIED,
                   "%s: its %" PRIu64 " examples take %" PRIu64 " bytes, which do not fit: the server keeps "
                   "%" PRIu64 " (split.storage), and has promised %" PRIu64 " to others",
                   name, offer->examples, bytes, store->limit, others);
}

enum cr_status cr_cut_store_offer(struct cr_cut_store *store, const char *name,
                                  const struct cr_cut_offer *offer)
{
    struct silo *silo;
    if (cr_cut_store_offered(store, name, offer)) return CR_OK;
    CR_TRY(check_offer(store, name, offer));
    CR_TRY(silo_of(store, name, &silo));
    close_files(silo);
    remove_files(store, silo);
    silo->offer = *offer;
    return CR_OK;
}

bool cr_cut_store_offered(const struct cr_cut_store *store, const char *name,
                          const struct cr_cut_offer *offer)
{
    const struct silo *silo = find(store, name);
    return silo && memcmp(&silo->offer, offer, sizeof *offer) == 0;
}

// Refuses values that no model computes, and examples without anything to learn from.
static enum cr_status check_example(const struct cr_cut_store *store, const unsigned char *bytes, size_t rows)
{
    const unsigned char *labels = bytes + rows * store->activation_size;
    struct cr_matrix row = cr_matrix_of(store->row, CR_F32, 1, store->hidden);
    size_t labelled = 0;
    for (size_t i = 0; i < rows; i++) {
        int32_t label;
        memcpy(&label, labels + i * sizeof label, sizeof label);
        if (label != CR_LABEL_IGNORE && (label < 0 || (size_t)label >= store->vocabulary))
            return cr_fail(CR_DENIED, "label %d is outside the model's vocabulary of %zu", label,
                           store->vocabulary);
        labelled += label != CR_LABEL_IGNORE;
        if (cr_cut_decode(store->compute, store->activations, bytes + i * store->activation_size, row) !=
            CR_OK)
            return cr_fail(CR_DENIED, "%s", cr_error_message());
    }
    return labelled > 0 ? CR_OK : cr_fail(CR_DENIED, "nothing of it is labelled");
}

static enum cr_status begin_file(struct cr_cut_store *store, struct silo *silo)
{
    CR_FREE char *path = NULL;
    struct cr_cut_file *file;
    if (silo->appending) return CR_OK;
    CR_TRY(file_path(store, silo, silo->file_count, &path));
    CR_TRY(cr_cut_file_create(path, store->secret, &silo->owner, &silo->offer, &file));
    CR_TRY(add_file(silo, file));
    silo->appending = true;
    return CR_OK;
}

enum cr_status cr_cut_store_put(struct cr_cut_store *store, const char *name, const unsigned char *bytes,
                                size_t rows)
{
    struct silo *silo;
    struct cr_cut_record record;
    CR_TRY(silo_of(store, name, &silo));
    if (silo->count == silo->offer.examples || rows > silo->offer.rows - silo->rows)
        return cr_fail(CR_DENIED, "%s sends more than it offered", name);
    enum cr_status status = check_example(store, bytes, rows);
    if (status != CR_OK) return cr_fail_within(status, "example %zu of %s", silo->count + 1, name);
    CR_TRY(begin_file(store, silo));
    struct cr_cut_file *file = silo->files[silo->file_count - 1];
    CR_TRY(cr_cut_file_append(file, (uint32_t)silo->count, (uint32_t)rows, bytes, size_of(store, rows),
                              store->sealed, &record));
    return add_example(silo, file, &record);
}

enum cr_status cr_cut_store_sync(struct cr_cut_store *store, const char *name, bool *news)
{
    struct silo *silo;
    CR_TRY(silo_of(store, name, &silo));
    bool some = silo->synced < silo->count;
    if (some) CR_TRY(cr_cut_file_sync(silo->files[silo->file_count - 1]));
    silo->synced = silo->count;
    silo->synced_rows = silo->rows;
    *news = some;
    return CR_OK;
}

struct cr_cut_held cr_cut_store_held(const struct cr_cut_store *store, const char *name)
{
    const struct silo *silo = find(store, name);
    if (!silo || silo->offer.examples == 0) return (struct cr_cut_held){0};
    return (struct cr_cut_held){.examples = silo->synced,
                                .rows = silo->synced_rows,
                                .bytes = cr_cut_file_size(silo->synced, size_of(store, silo->synced_rows)),
                                .complete = silo->synced == silo->offer.examples};
}

size_t cr_cut_store_complete(const struct cr_cut_store *store)
{
    size_t complete = 0;
    for (size_t i = 0; i < store->silo_count; i++)
        complete += cr_cut_store_held(store, store->silos[i].owner.silo).complete;
    return complete;
}

struct cr_cut *cr_cut_store_cut(struct cr_cut_store *store)
{
    return &store->cut;
}

static enum cr_status read_example(struct cr_cut_store *store, const struct example *example)
{
    return cr_cut_file_read(example->file, &example->record, size_of(store, example->record.rows),
                            store->sealed, store->plain);
}

static enum cr_status add_to_cut(struct cr_cut_store *store, const struct example *example,
                                 struct cr_hasher *hasher)
{
    size_t rows = example->record.rows, count = cr_dataset_count(store->cut.data);
    int32_t *labels;
    CR_TRY(read_example(store, example));
    CR_TRY(cr_hasher_add(hasher, (struct cr_slice){store->plain, size_of(store, rows)}));
    CR_TRY(cr_secret_allocate(rows, sizeof *labels, &labels));
    memcpy(labels, store->plain + rows * store->activation_size, rows * sizeof *labels);
    enum cr_status status = cr_dataset_add(store->cut.data, labels, rows);
    cr_secret_free(&labels);
    store->order[count] = example;
    return status;
}

static enum cr_status open_cut(struct cr_cut *cut)
{
    struct cr_cut_store *store = (struct cr_cut_store *)cut;
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    size_t count = 0;
    CR_TRY(cr_hasher_new(&hasher));
    for (size_t i = 0; i < store->silo_count; i++) count += store->silos[i].count;
    CR_TRY(cr_allocate(count, sizeof(void *), &store->order));
    CR_TRY(cr_dataset_new(&cut->data));
    for (size_t i = 0; i < store->silo_count; i++) {
        const struct silo *silo = &store->silos[i];
        if (!cr_cut_store_held(store, silo->owner.silo).complete) continue;
        for (size_t j = 0; j < silo->count; j++) CR_TRY(add_to_cut(store, &silo->examples[j], hasher));
    }
    return cr_hasher_finish(hasher, cut->digest);
}

static enum cr_status load(struct cr_cut *cut, size_t number, struct cr_matrix stream)
{
    struct cr_cut_store *store = (struct cr_cut_store *)cut;
    CR_TRY(read_example(store, store->order[number]));
    return cr_cut_decode(store->compute, store->activations, store->plain, stream);
}

static bool any(const char *name)
{
    (void)name;
    return true;
}

void cr_cut_store_clear(const char *directory)
{
    cr_directory_sweep(directory, any);
}
