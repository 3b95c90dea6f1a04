#include "federation/released.h"

#include "base/secret.h"
#include "crypto/recipient.h"

#include <string.h>

static const char purpose[] = "result";
enum { HEADER_SIZE = CR_SHA256_SIZE + sizeof(uint64_t) };

static struct cr_slice context_of(const struct cr_manifest *job)
{
    return (struct cr_slice){job->digest, sizeof job->digest};
}

enum cr_status cr_released_write(const char *path, const struct cr_manifest *job,
                                 const struct cr_released_header *header, const struct cr_vector *values)
{
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    CR_CLEANUP(cr_seal_writer_release) struct cr_seal_writer *writer = NULL;
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer start = {0};
    struct cr_sealing sealing = {.purpose = purpose};
    CR_TRY(cr_recipient_seal(job->owner, context_of(job), sealing.bound, &key));
    sealing.key = key;
    CR_TRY(cr_append(&start, header->structure, sizeof header->structure));
    CR_TRY(cr_append_u64(&start, header->seed));
    CR_TRY(cr_seal_begin(path, &sealing, &writer));
    CR_TRY(cr_seal_append(writer, cr_buffer_slice(&start)));
    CR_TRY(cr_seal_append(writer, cr_vector_slice(values, 0, values->count)));
    return cr_seal_commit(writer);
}

void cr_released_release(struct cr_released *released)
{
    cr_seal_reader_free(released->reader);
    cr_secret_free(&released->key);
    cr_wipe(released, sizeof *released);
}

static enum cr_status check_owner(const struct cr_manifest *job, const struct cr_identity *owner)
{
    unsigned char point[CR_IDENTITY_POINT_SIZE];
    CR_TRY(cr_identity_point(owner, point));
    if (job->has_owner && memcmp(point, job->owner, sizeof point) == 0) return CR_OK;
    return cr_fail(CR_DENIED, "the key is not that of the job's owner");
}

static enum cr_status read_header(const char *path, struct cr_released *released)
{
    unsigned char bytes[HEADER_SIZE];
    size_t size = cr_seal_size(released->reader);
    if (size < HEADER_SIZE || (size - HEADER_SIZE) % sizeof(float) != 0)
        return cr_fail(CR_INVALID, "%s: %zu bytes are no result", path, size);
    CR_TRY(cr_seal_read(released->reader, bytes, sizeof bytes));
    struct cr_cursor cursor = cr_cursor_over((struct cr_slice){bytes, sizeof bytes});
    struct cr_slice structure = cr_read_slice(&cursor, CR_SHA256_SIZE);
    memcpy(released->header.structure, structure.data, structure.size);
    released->header.seed = cr_read_u64(&cursor);
    released->count = (size - HEADER_SIZE) / sizeof(float);
    cr_wipe(bytes, sizeof bytes);
    return CR_OK;
}

enum cr_status cr_released_open(const char *path, const struct cr_manifest *job,
                                const struct cr_identity *owner, struct cr_released *out)
{
    struct cr_seal_header about;
    struct cr_sealing sealing = {.purpose = purpose};
    CR_TRY(check_owner(job, owner));
    CR_TRY(cr_seal_describe(path, &about));
    memcpy(sealing.bound, about.bound, sizeof sealing.bound);
    enum cr_status status = cr_recipient_open(owner, context_of(job), sealing.bound, &out->key);
    if (status == CR_DENIED)
        return cr_fail(CR_INVALID, "%s: its header was changed, or it is no result", path);
    CR_TRY(status);
    sealing.key = out->key;
    CR_TRY(cr_seal_open(path, &sealing, &out->reader));
    return read_header(path, out);
}

enum cr_status cr_released_values(struct cr_released *released, float *out)
{
    return cr_seal_read(released->reader, out, released->count * sizeof *out);
}
