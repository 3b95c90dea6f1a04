#include "federation/state.h"

#include "base/file.h"
#include "crypto/random.h"
#include "federation/config.h"
#include "federation/state_identity.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_LIMIT = 1 << 20 };
static const char values_prefix[] = "values-", sealed_suffix[] = ".sealed";
static const char state_purpose[] = "server state", values_purpose[] = "global values";

enum cr_status cr_state_lock(const char *path, int *fd)
{
    CR_TRY(cr_directory_make(path, true));
    return cr_directory_lock(path, "lock", NULL, fd);
}

enum cr_status cr_state_try_lock(const char *path, int *fd)
{
    enum cr_status status = cr_directory_lock(path, "lock", "another program is changing it: try again", fd);
    return status == CR_INVALID ? cr_fail(CR_IO, "%s", cr_error_message()) : status;
}

static enum cr_status take_serving(const char *path, int *fd)
{
    return cr_directory_lock(path, "serving", "another server is running on this directory", fd);
}

bool cr_state_is_served(const char *path)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    return take_serving(path, &fd) == CR_INVALID;
}

// Files of the directory, rather than of one of its jobs, are bound to nothing.
static struct cr_sealing sealing_of(const struct cr_sealing_key *key, const char *purpose)
{
    return (struct cr_sealing){.key = key, .purpose = purpose};
}

static enum cr_status get_name(const struct cr_json *object, const char *path, const char *key,
                               char out[CR_NAME_SIZE])
{
    const char *name;
    CR_TRY(cr_json_get_string(object, path, key, "", &name));
    enum cr_status status = cr_config_check_name(name);
    if (status != CR_OK) return cr_fail_within(status, "%s: %s", path, key);
    strcpy(out, name);
    return CR_OK;
}

static enum cr_status read_members(const struct cr_json *root, const char *path, struct cr_state_dir *state)
{
    const struct cr_json *members = cr_json_member(root, "members");
    if (cr_json_count(members) > CR_SILOS)
        return cr_fail(CR_INVALID, "%s: more than %d members", path, CR_SILOS);
    for (size_t i = 0; i < cr_json_count(members); i++) {
        struct cr_member *member = &state->members[state->member_count];
        const struct cr_json *item = cr_json_at(members, i);
        CR_TRY(get_name(item, path, "name", member->name));
        CR_TRY(get_name(item, path, "role", member->role));
        CR_TRY(cr_json_get_hex(item, path, "key", member->key, CR_SHA256_SIZE));
        CR_TRY(cr_json_get_bool(item, path, "came", false, &member->came));
        state->member_count++;
    }
    return CR_OK;
}

static enum cr_status read_state(struct cr_state_dir *state)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(state->path, "state.sealed", &path));
    if (!cr_file_exists(path)) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    const struct cr_sealing sealing = sealing_of(state->key, state_purpose);
    CR_TRY(cr_seal_load(path, &sealing, STATE_LIMIT, &text));
    CR_TRY(cr_json_parse(cr_buffer_slice(&text), path, &root));
    if (cr_json_kind(root) != CR_JSON_OBJECT) return cr_fail(CR_INVALID, "%s: an object is wanted", path);
    size_t round, count;
    CR_TRY(cr_json_get_bool(root, path, "begun", false, &state->begun));
    CR_TRY(read_members(root, path, state));
    if (!state->begun) return CR_OK;
    CR_TRY(cr_json_require_size(root, path, "round", 0, SIZE_MAX / 2, &round));
    CR_TRY(cr_json_require_size(root, path, "count", 1, SIZE_MAX / 64, &count));
    CR_TRY(cr_json_get_bool(root, path, "finished", false, &state->finished));
    CR_TRY(cr_json_get_bool(root, path, "settled", false, &state->settled));
    CR_TRY(cr_json_get_bool(root, path, "delivered", false, &state->delivered));
    CR_TRY(cr_json_get_hex(root, path, "run", state->run, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "job", state->job, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "digest", state->digest, CR_SHA256_SIZE));
    state->round = round;
    state->count = count;
    return CR_OK;
}

static const char *truth(bool flag)
{
    return flag ? "true" : "false";
}

static enum cr_status write_state(const struct cr_state_dir *state)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(state->path, "state.sealed", &path));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(
        &text, "{\n  \"begun\": %s,\n  \"finished\": %s,\n  \"settled\": %s,\n  \"delivered\": %s,\n  ",
        truth(state->begun), truth(state->finished), truth(state->settled), truth(state->delivered)));
    CR_TRY(cr_json_append_hex(&text, "run", (struct cr_slice){state->run, CR_SHA256_SIZE}));
    CR_TRY(cr_append_format(&text, ",\n  "));
    CR_TRY(cr_json_append_hex(&text, "job", (struct cr_slice){state->job, CR_SHA256_SIZE}));
    CR_TRY(cr_append_format(&text, ",\n  \"round\": %" PRIu64 ",\n  \"count\": %" PRIu64 ",\n  ",
                            state->round, state->count));
    CR_TRY(cr_json_append_hex(&text, "digest", (struct cr_slice){state->digest, CR_SHA256_SIZE}));
    CR_TRY(cr_append_format(&text, ",\n  \"members\": ["));
    for (size_t i = 0; i < state->member_count; i++) {
        // Names and roles have only characters of [a-z0-9-], so they need no escapes.
        const struct cr_member *member = &state->members[i];
        CR_TRY(cr_append_format(&text, "%s\n    {\"name\": \"%s\", \"role\": \"%s\", \"came\": %s, ",
                                i > 0 ? "," : "", member->name, member->role, truth(member->came)));
        CR_TRY(cr_json_append_hex(&text, "key", (struct cr_slice){member->key, CR_SHA256_SIZE}));
        CR_TRY(cr_append_format(&text, "}"));
    }
    CR_TRY(cr_append_format(&text, "\n  ]\n}\n"));
    const struct cr_sealing sealing = sealing_of(state->key, state_purpose);
    return cr_seal_write(path, &sealing, cr_buffer_slice(&text));
}

// Removes temporary files of processes that were killed while writing. Nobody else writes while the directory
// is locked.
static enum cr_status sweep(const struct cr_state_dir *state)
{
    static const char *const folders[] = {"", "authority", "server", "owner", "invitations"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        CR_FREE char *folder = NULL;
        CR_TRY(cr_path_join(state->path, folders[i], &folder));
        cr_directory_sweep(folder, cr_file_is_any_unfinished);
    }
    return CR_OK;
}

static enum cr_status open_locked(struct cr_state_dir *state)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_TRY(cr_state_lock(state->path, &fd));
    CR_TRY(take_serving(state->path, &state->serving_fd));
    CR_TRY(sweep(state));
    CR_TRY(cr_state_authority(state->path, state->key, &state->authority));
    CR_TRY(cr_state_server(state->path, state->key, state->authority, &state->server));
    CR_TRY(read_state(state));
    // Removes older values that a kill left. Later ones may be named by a newer state that is restored from a
    // backup.
    if (state->begun) cr_directory_sweep_below(state->path, values_prefix, sealed_suffix, state->round);
    return CR_OK;
}

enum cr_status cr_state_open(const char *path, const struct cr_sealing_key *key, struct cr_state_dir **out)
{
    struct cr_state_dir *state;
    CR_TRY(cr_allocate(1, sizeof *state, &state));
    state->serving_fd = -1;
    state->key = key;
    enum cr_status status = cr_copy_string(path, &state->path);
    if (status == CR_OK) status = open_locked(state);
    if (status != CR_OK) {
        cr_state_close(state);
        return status;
    }
    *out = state;
    return CR_OK;
}

void cr_state_close(struct cr_state_dir *state)
{
    if (!state) return;
    cr_file_close(&state->serving_fd);
    cr_identity_free(state->authority);
    cr_identity_free(state->server);
    free(state->path);
    free(state);
}

struct cr_sealing cr_state_sealing(const struct cr_state_dir *state, const char *purpose)
{
    struct cr_sealing sealing = sealing_of(state->key, purpose);
    memcpy(sealing.bound, state->job, CR_SHA256_SIZE);
    return sealing;
}

static enum cr_status values_path(const struct cr_state_dir *state, uint64_t round, char **out)
{
    return cr_path_numbered(state->path, values_prefix, round, sealed_suffix, out);
}

// Replaces the state by *changed, whose values are written already. On failure the directory and *state are
// unchanged.
static enum cr_status replace(struct cr_state_dir *state, struct cr_state_dir *changed)
{
    CR_FREE char *old = NULL;
    CR_TRY(values_path(state, state->round, &old));
    CR_TRY(write_state(changed));
    if (state->begun && state->round != changed->round) unlink(old);
    *state = *changed;
    return CR_OK;
}

enum cr_status cr_state_store(const struct cr_state_dir *state, uint64_t round,
                              const struct cr_vector *values, unsigned char digest[CR_SHA256_SIZE])
{
    CR_FREE char *path = NULL;
    CR_TRY(values_path(state, round, &path));
    const struct cr_sealing sealing = cr_state_sealing(state, values_purpose);
    CR_TRY(cr_vector_digest(values, digest));
    return cr_seal_write(path, &sealing, cr_vector_slice(values, 0, values->count));
}

enum cr_status cr_state_begin(struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                              const struct cr_vector *values)
{
    CR_FREE struct cr_state_dir *changed = NULL;
    CR_TRY(cr_allocate(1, sizeof *changed, &changed));
    *changed = *state;
    changed->begun = true;
    changed->finished = changed->settled = changed->delivered = false;
    for (size_t i = 0; i < changed->member_count; i++) changed->members[i].came = false;
    changed->round = 0;
    changed->count = values->count;
    memcpy(changed->job, job, CR_SHA256_SIZE);
    CR_TRY(cr_random_bytes(changed->run, sizeof changed->run));
    CR_TRY(cr_state_store(changed, 0, values, changed->digest));
    return replace(state, changed);
}

enum cr_status cr_state_advance(struct cr_state_dir *state, uint64_t round, bool finished,
                                const unsigned char digest[CR_SHA256_SIZE])
{
    CR_FREE struct cr_state_dir *changed = NULL;
    CR_TRY(cr_allocate(1, sizeof *changed, &changed));
    *changed = *state;
    changed->finished = finished;
    changed->round = round;
    memcpy(changed->digest, digest, CR_SHA256_SIZE);
    return replace(state, changed);
}

static enum cr_status note(struct cr_state_dir *state, bool *flag)
{
    if (*flag) return CR_OK;
    *flag = true;
    enum cr_status status = write_state(state);
    if (status != CR_OK) *flag = false;
    return status;
}

enum cr_status cr_state_settle(struct cr_state_dir *state)
{
    return note(state, &state->settled);
}

enum cr_status cr_state_deliver(struct cr_state_dir *state)
{
    return note(state, &state->delivered);
}

static enum cr_status read_values(const struct cr_state_dir *state, const char *path,
                                  struct cr_vector *vector)
{
    CR_CLEANUP(cr_seal_reader_release) struct cr_seal_reader *reader = NULL;
    const struct cr_sealing sealing = cr_state_sealing(state, values_purpose);
    CR_TRY(cr_seal_open(path, &sealing, &reader));
    bool fits = cr_seal_size(reader) == state->count * sizeof(float);
    if (fits) CR_TRY(cr_seal_read(reader, vector->values, cr_seal_size(reader)));
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_vector_digest(vector, digest));
    if (!fits || memcmp(digest, state->digest, sizeof digest) != 0)
        return cr_fail(CR_INVALID, "%s: not the values that state.sealed names", path);
    return CR_OK;
}

enum cr_status cr_state_values(const struct cr_state_dir *state, struct cr_vector **out)
{
    CR_FREE char *path = NULL;
    CR_TRY(values_path(state, state->round, &path));
    struct cr_vector *vector;
    CR_TRY(cr_vector_new((size_t)state->count, &vector));
    enum cr_status status = read_values(state, path, vector);
    if (status != CR_OK)
        cr_vector_release(vector);
    else
        *out = vector;
    return status;
}

enum cr_status cr_state_seen(const struct cr_state_dir *state, struct cr_seen *out)
{
    struct cr_seen seen = {.round = state->round};
    memcpy(seen.run, state->run, CR_SHA256_SIZE);
    memcpy(seen.start, state->digest, CR_SHA256_SIZE);
    CR_TRY(cr_seen_sign(state->key, &seen));
    *out = seen;
    return CR_OK;
}

enum cr_status cr_state_enrol(struct cr_state_dir *state, const struct cr_member *member)
{
    size_t number = cr_state_find(state, member->name);
    if (number == SIZE_MAX) number = state->member_count;
    if (number == CR_SILOS) return cr_fail(CR_DENIED, "the federation has %d silos already", CR_SILOS);
    struct cr_member kept = state->members[number];
    size_t kept_count = state->member_count;
    state->members[number] = *member;
    state->members[number].came = kept.came;
    if (number == state->member_count) state->member_count++;
    enum cr_status status = write_state(state);
    if (status != CR_OK) {
        state->members[number] = kept;
        state->member_count = kept_count;
    }
    return status;
}

size_t cr_state_find(const struct cr_state_dir *state, const char *name)
{
    for (size_t i = 0; i < state->member_count; i++)
        if (strcmp(state->members[i].name, name) == 0) return i;
    return SIZE_MAX;
}

enum cr_status cr_state_write_port(const struct cr_state_dir *state, unsigned port)
{
    char text[16];
    snprintf(text, sizeof text, "%u\n", port);
    return cr_directory_write(state->path, "port", cr_slice_of_string(text), true);
}

enum cr_status cr_state_read_port(const char *directory, unsigned *port)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "port", &path));
    *port = 0;
    if (!cr_file_exists(path)) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, 16, &text));
    size_t digits = strspn(cr_buffer_text(&text), "0123456789");
    if (digits == 0 || digits > 5 || strcmp(cr_buffer_text(&text) + digits, "\n") != 0)
        return cr_fail(CR_INVALID, "%s: a port number is wanted", path);
    *port = (unsigned)strtoul(cr_buffer_text(&text), NULL, 10);
    return CR_OK;
}

static enum cr_status read_secret(const char *path, const struct cr_sealing *sealing,
                                  unsigned char out[CR_SEED_SECRET_SIZE])
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer bytes = {0};
    CR_TRY(cr_seal_load(path, sealing, CR_SEED_SECRET_SIZE, &bytes));
    if (bytes.size != CR_SEED_SECRET_SIZE)
        return cr_fail(CR_INVALID, "%s: %zu bytes, where a secret has %d", path, bytes.size,
                       CR_SEED_SECRET_SIZE);
    memcpy(out, bytes.data, CR_SEED_SECRET_SIZE);
    return CR_OK;
}

enum cr_status cr_state_seed_secret(const struct cr_state_dir *state, const unsigned char job[CR_SHA256_SIZE],
                                    unsigned char out[CR_SEED_SECRET_SIZE])
{
    enum { SHOWN = 8 }; // bytes of the digest in the name
    CR_FREE char *path = NULL;
    char hex[2 * SHOWN + 1], name[sizeof hex + 16];
    struct cr_sealing sealing = sealing_of(state->key, "seed");
    memcpy(sealing.bound, job, CR_SHA256_SIZE);
    cr_hex_encode((struct cr_slice){job, SHOWN}, hex);
    bool owners = !cr_slice_is_zero((struct cr_slice){job, CR_SHA256_SIZE});
    snprintf(name, sizeof name, "seed%s%s.sealed", owners ? "-" : "", owners ? hex : "");
    CR_TRY(cr_path_join(state->path, name, &path));
    if (cr_file_exists(path)) return read_secret(path, &sealing, out);
    unsigned char secret[CR_SEED_SECRET_SIZE];
    CR_TRY(cr_random_bytes(secret, sizeof secret));
    enum cr_status status = cr_seal_write(path, &sealing, (struct cr_slice){secret, sizeof secret});
    if (status == CR_OK) memcpy(out, secret, sizeof secret);
    cr_wipe(secret, sizeof secret);
    return status;
}
