#include "tuning/state.h"

#include "base/file.h"
#include "crypto/hash.h"

#include <string.h>

static const char magic[8] = {'c', 'a', 'r', 'r', 'e', 'l', 's', 't'};
enum { VERSION = 1 };

bool cr_state_is_one(struct cr_slice start)
{
    return start.size >= sizeof magic && memcmp(start.data, magic, sizeof magic) == 0;
}

// Where the bytes are written: one of the two.
struct target {
    struct cr_file_writer *clear;
    struct cr_seal_writer *sealed;
};

static enum cr_status append(const struct target *target, struct cr_slice bytes)
{
    return target->sealed ? cr_seal_append(target->sealed, bytes) : cr_file_append(target->clear, bytes);
}

static enum cr_status put(const struct target *target, struct cr_hasher *hasher, struct cr_slice bytes)
{
    CR_TRY(cr_hasher_add(hasher, bytes));
    return append(target, bytes);
}

static enum cr_status write_all(const struct target *target, const struct cr_state *state)
{
    CR_CLEANUP(cr_hasher_release) struct cr_hasher *hasher = NULL;
    CR_TRY(cr_hasher_new(&hasher));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0};
    CR_TRY(cr_append(&header, magic, sizeof magic));
    CR_TRY(cr_append_u32(&header, VERSION));
    CR_TRY(cr_append_u32(&header, (uint32_t)state->moment_count));
    CR_TRY(cr_append(&header, state->digest, sizeof state->digest));
    CR_TRY(cr_append_u64(&header, state->steps));
    CR_TRY(cr_append_u64(&header, state->updates));
    CR_TRY(cr_append_u64(&header, state->count));
    CR_TRY(put(target, hasher, cr_buffer_slice(&header)));
    CR_TRY(put(target, hasher, state->values));
    for (size_t i = 0; i < state->moment_count; i++) CR_TRY(put(target, hasher, state->moments[i]));
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_hasher_finish(hasher, digest));
    return append(target, (struct cr_slice){digest, sizeof digest});
}

static enum cr_status write_sealed(const char *path, const struct cr_sealing *sealing,
                                   const struct cr_state *state)
{
    CR_CLEANUP(cr_seal_writer_release) struct cr_seal_writer *writer = NULL;
    CR_TRY(cr_seal_begin(path, sealing, &writer));
    CR_TRY(write_all(&(struct target){.sealed = writer}, state));
    return cr_seal_commit(writer);
}

enum cr_status cr_state_write(const char *path, const struct cr_sealing *sealing,
                              const struct cr_state *state)
{
    if (sealing) return write_sealed(path, sealing, state);
    CR_CLEANUP(cr_file_abandon) struct cr_file_writer writer = {.fd = -1};
    CR_TRY(cr_file_begin(path, true, &writer));
    CR_TRY(write_all(&(struct target){.clear = &writer}, state));
    return cr_file_commit(&writer);
}

enum cr_status cr_state_parse_header(struct cr_slice bytes, size_t size, const char *name,
                                     struct cr_state *out)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_state state = {0};
    if (!cr_state_is_one(cr_read_slice(&cursor, sizeof magic)))
        return cr_fail(CR_INVALID, "%s: not a saved state of carrel", name);
    uint32_t version = cr_read_u32(&cursor);
    if (!cursor.failed && version != VERSION)
        return cr_fail(CR_UNSUPPORTED, "%s: version %u of the format, not %d", name, version, VERSION);
    state.moment_count = cr_read_u32(&cursor);
    struct cr_slice digest = cr_read_slice(&cursor, sizeof state.digest);
    state.steps = cr_read_u64(&cursor);
    state.updates = cr_read_u64(&cursor);
    uint64_t count = cr_read_u64(&cursor);
    if (cursor.failed) return cr_fail(CR_INVALID, "%s: cut off in its header", name);
    if (state.moment_count > CR_STATE_MOMENTS)
        return cr_fail(CR_INVALID, "%s: %zu vectors of moments", name, state.moment_count);
    size_t left = size - CR_STATE_HEADER_SIZE, vectors = 1 + state.moment_count;
    // This bound keeps the product below from wrapping.
    if (left < CR_SHA256_SIZE || count > (left - CR_SHA256_SIZE) / sizeof(float) / vectors)
        return cr_fail(CR_INVALID, "%s: cut off in its values", name);
    left -= (size_t)count * sizeof(float) * vectors + CR_SHA256_SIZE;
    if (left > 0) return cr_fail(CR_INVALID, "%s: %zu bytes after its end", name, left);
    state.count = (size_t)count;
    memcpy(state.digest, digest.data, sizeof state.digest);
    *out = state;
    return CR_OK;
}

enum cr_status cr_state_parse(struct cr_slice bytes, const char *name, struct cr_state *out)
{
    struct cr_state state;
    CR_TRY(cr_state_parse_header(bytes, bytes.size, name, &state));
    struct cr_cursor cursor = cr_cursor_over(bytes);
    cr_read_slice(&cursor, CR_STATE_HEADER_SIZE);
    state.values = cr_read_slice(&cursor, state.count * sizeof(float));
    for (size_t i = 0; i < state.moment_count; i++)
        state.moments[i] = cr_read_slice(&cursor, state.count * sizeof(float));
    size_t covered = cursor.at;
    struct cr_slice check = cr_read_slice(&cursor, CR_SHA256_SIZE);
    unsigned char expected[CR_SHA256_SIZE];
    CR_TRY(cr_sha256((struct cr_slice){bytes.data, covered}, expected));
    if (memcmp(check.data, expected, sizeof expected) != 0)
        return cr_fail(CR_INVALID, "%s: damaged: its checksum does not match", name);
    *out = state;
    return CR_OK;
}
