#include "federation/client_state.h"

#include "base/clock.h"
#include "base/file.h"
#include "format/json.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JSON_LIMIT = 65536 };
static const char token_name[] = "server.token", manifest_name[] = "job.cbor", fetched_name[] = "fetched";
static const char trainer_prefix[] = "trainer-", sealed_suffix[] = ".sealed";
static const char update_purpose[] = "silo update", seen_purpose[] = "silo memory";

struct cr_sealing cr_client_state_sealing(const struct cr_client_state *state, const char *purpose)
{
    struct cr_sealing sealing = {.key = state->key, .purpose = purpose};
    memcpy(sealing.bound, state->job, CR_SHA256_SIZE);
    return sealing;
}

static struct cr_sealing sealing_of_key(const struct cr_client_state *state)
{
    return (struct cr_sealing){.key = state->key, .purpose = "silo key"};
}

static enum cr_status take_directory(struct cr_client_state *state)
{
    CR_TRY(cr_directory_make(state->path, true));
    CR_TRY(cr_directory_lock(state->path, "lock", "another process is using this silo's state",
                             &state->lock_fd));
    cr_directory_sweep(state->path, cr_file_is_any_unfinished);
    return CR_OK;
}

// Checks that the token belongs to the identity at `path`, which has this CA fingerprint and this name.
static enum cr_status check_holder(const char *path, const unsigned char fingerprint[CR_SHA256_SIZE],
                                   const char *name, const struct cr_token *token)
{
    if (memcmp(fingerprint, token->fingerprint, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_INVALID, "%s: holds the identity of another federation (choose another --state)",
                       path);
    if (strcmp(name, token->name) != 0)
        return cr_fail(CR_INVALID, "%s: holds the identity of %s, not of %s (choose another --state)", path,
                       name, token->name);
    return CR_OK;
}

static enum cr_status check_identity(const struct cr_client_state *state, const struct cr_token *token)
{
    unsigned char fingerprint[CR_SHA256_SIZE];
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    CR_TRY(cr_identity_fingerprint(state->identity, fingerprint));
    CR_TRY(cr_certificate_subject(cr_identity_certificate(state->identity), name, role));
    return check_holder(state->path, fingerprint, name, token);
}

static enum cr_status open_identity(struct cr_client_state *state, const struct cr_token *token)
{
    const struct cr_sealing sealing = sealing_of_key(state);
    // `carrel key` makes a plain key, for a job's roster; from now on it is sealed.
    CR_TRY(cr_identity_seal(state->path, &sealing));
    if (!cr_identity_is_kept(state->path, &sealing)) {
        // The key is stored before enrolling, so that an answer that is lost can be requested again.
        CR_TRY(cr_identity_new(&state->identity));
        return cr_identity_save(state->identity, state->path, &sealing);
    }
    CR_TRY(cr_identity_load(state->path, &sealing, &state->identity));
    if (cr_identity_certificate(state->identity)) CR_TRY(check_identity(state, token));
    // With an expired certificate it enrols again, by the token that its key has used or by another one.
    state->enrolled = !cr_identity_expired(state->identity, cr_clock_unix());
    return CR_OK;
}

// Reads job.cbor. Sets *has if it exists.
static enum cr_status read_agreed(const char *path, const struct cr_token *token,
                                  struct cr_manifest *manifest, bool *has)
{
    if (!cr_file_exists(path)) return CR_OK;
    CR_TRY(cr_manifest_read(path, manifest, NULL));
    if (memcmp(manifest->digest, token->job, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_INVALID,
                       "%s: this silo agreed to another job than the token's (choose another --state)", path);
    *has = true;
    return CR_OK;
}

static enum cr_status read_manifest(struct cr_client_state *state, const struct cr_token *token)
{
    CR_TRY(cr_path_join(state->path, manifest_name, &state->manifest_path));
    return read_agreed(state->manifest_path, token, &state->manifest, &state->has_manifest);
}

// Sets *root to NULL if there is no such file.
static enum cr_status load_json(const char *path, const struct cr_sealing *sealing, struct cr_json **root)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    *root = NULL;
    if (!cr_file_exists(path)) return CR_OK;
    CR_TRY(cr_seal_load(path, sealing, JSON_LIMIT, &text));
    return cr_json_parse(cr_buffer_slice(&text), path, root);
}

static enum cr_status read_update(struct cr_client_state *state)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    const struct cr_sealing sealing = cr_client_state_sealing(state, update_purpose);
    CR_TRY(cr_path_join(state->path, "update.sealed", &path));
    CR_TRY(load_json(path, &sealing, &root));
    if (!root) return CR_OK;
    struct cr_answer *answer = &state->answer;
    size_t round, labelled;
    CR_TRY(cr_json_require_size(root, path, "round", 0, SIZE_MAX / 2, &round));
    CR_TRY(cr_json_require_size(root, path, "labelled", 0, SIZE_MAX / 2, &labelled));
    CR_TRY(cr_json_get_number(root, path, "loss_sum", 0, &answer->loss_sum));
    CR_TRY(cr_json_get_hex(root, path, "run", state->run, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "start", answer->start, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "digest", answer->digest, CR_SHA256_SIZE));
    answer->round = round;
    answer->labelled = labelled;
    state->has_answer = true;
    // Removes older states that a kill left. Later ones may belong to a newer answer that is restored from a
    // backup.
    cr_directory_sweep_below(state->path, trainer_prefix, sealed_suffix, round);
    return CR_OK;
}

static enum cr_status read_seen(struct cr_client_state *state)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    const struct cr_sealing sealing = cr_client_state_sealing(state, seen_purpose);
    CR_TRY(cr_path_join(state->path, "seen.sealed", &path));
    CR_TRY(load_json(path, &sealing, &root));
    if (!root) return CR_OK;
    struct cr_seen *seen = &state->seen;
    size_t round;
    CR_TRY(cr_json_require_size(root, path, "round", 0, SIZE_MAX / 2, &round));
    CR_TRY(cr_json_get_hex(root, path, "run", seen->run, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "start", seen->start, CR_SHA256_SIZE));
    CR_TRY(cr_json_get_hex(root, path, "receipt", seen->receipt, CR_KEY_SIZE));
    seen->round = round;
    state->has_seen = true;
    return CR_OK;
}

enum cr_status cr_client_state_token(const char *path, struct cr_token *out)
{
    CR_FREE char *file = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_path_join(path, token_name, &file));
    if (!cr_file_exists(file))
        return cr_fail(CR_NOT_FOUND, "%s: not there (%s is what `carrel join` leaves in its --state)", file,
                       token_name);
    CR_TRY(cr_file_read(file, CR_TOKEN_LIMIT, &text));
    enum cr_status status = cr_token_parse(cr_buffer_text(&text), out);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", file);
}

void cr_client_look_release(struct cr_client_look *look)
{
    cr_manifest_release(&look->manifest);
}

enum cr_status cr_client_state_look(const char *path, const struct cr_token *token,
                                    struct cr_client_look *out)
{
    CR_FREE char *file = NULL;
    CR_CLEANUP(cr_token_release) struct cr_token kept = {0}; // names the holder of the certificate
    CR_CLEANUP(cr_client_look_release) struct cr_client_look look = {0};
    unsigned char fingerprint[CR_SHA256_SIZE];
    enum cr_status status = cr_identity_read_fingerprint(path, fingerprint);
    look.enrolled = status == CR_OK;
    if (status != CR_OK && status != CR_NOT_FOUND) return status;
    if (look.enrolled) CR_TRY(cr_client_state_token(path, &kept));
    if (look.enrolled) CR_TRY(check_holder(path, fingerprint, kept.name, token));
    if (look.enrolled) CR_TRY(cr_identity_read_expired(path, cr_clock_unix(), &look.expired));
    CR_TRY(cr_path_join(path, manifest_name, &file));
    CR_TRY(read_agreed(file, token, &look.manifest, &look.has_manifest));
    *out = look;
    look = (struct cr_client_look){0};
    return CR_OK;
}

enum cr_status cr_client_state_keep_token(const struct cr_client_state *state, const struct cr_token *token)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_token kept = *token;
    cr_wipe(kept.secret, sizeof kept.secret);
    CR_TRY(cr_token_write(&kept, &text));
    return cr_directory_write(state->path, token_name, cr_buffer_slice(&text), true);
}

enum cr_status cr_client_state_open(const char *path, const struct cr_token *token,
                                    const struct cr_sealing_key *key, struct cr_client_state **out)
{
    struct cr_client_state *state;
    CR_TRY(cr_allocate(1, sizeof *state, &state));
    state->lock_fd = -1;
    state->key = key;
    memcpy(state->job, token->job, CR_SHA256_SIZE);
    enum cr_status status = cr_copy_string(path, &state->path);
    if (status == CR_OK) status = take_directory(state);
    if (status == CR_OK) status = open_identity(state, token);
    if (status == CR_OK) status = read_manifest(state, token);
    if (status == CR_OK) status = read_update(state);
    if (status == CR_OK) status = read_seen(state);
    if (status != CR_OK) {
        cr_client_state_close(state);
        return status;
    }
    *out = state;
    return CR_OK;
}

void cr_client_state_close(struct cr_client_state *state)
{
    if (!state) return;
    cr_file_close(&state->lock_fd);
    cr_identity_free(state->identity);
    cr_manifest_release(&state->manifest);
    free(state->manifest_path);
    free(state->path);
    free(state);
}

enum cr_status cr_client_state_enrol(struct cr_client_state *state, struct cr_slice certificate,
                                     struct cr_slice authority)
{
    CR_TRY(cr_identity_install(state->identity, certificate, authority));
    const struct cr_sealing sealing = sealing_of_key(state);
    CR_TRY(cr_identity_save(state->identity, state->path, &sealing));
    state->enrolled = true;
    return CR_OK;
}

enum cr_status cr_client_state_agree(struct cr_client_state *state, struct cr_slice manifest)
{
    CR_TRY(cr_file_write(state->manifest_path, manifest, true));
    CR_TRY(cr_manifest_open(manifest, &state->manifest));
    state->has_manifest = true;
    return CR_OK;
}

enum cr_status cr_client_state_trainer(const struct cr_client_state *state, uint64_t round, char **out)
{
    return cr_path_numbered(state->path, trainer_prefix, round, sealed_suffix, out);
}

static enum cr_status append_digest(struct cr_buffer *text, const char *key,
                                    const unsigned char digest[CR_SHA256_SIZE])
{
    CR_TRY(cr_json_append_hex(text, key, (struct cr_slice){digest, CR_SHA256_SIZE}));
    return cr_append_format(text, ", ");
}

enum cr_status cr_client_state_keep(struct cr_client_state *state, const unsigned char run[CR_SHA256_SIZE],
                                    const struct cr_answer *answer)
{
    CR_FREE char *path = NULL;
    CR_FREE char *older = NULL;
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    const struct cr_sealing sealing = cr_client_state_sealing(state, update_purpose);
    CR_TRY(cr_path_join(state->path, "update.sealed", &path));
    CR_TRY(cr_client_state_trainer(state, state->answer.round, &older));
    CR_TRY(cr_append_format(&text, "{"));
    CR_TRY(append_digest(&text, "run", run));
    CR_TRY(append_digest(&text, "start", answer->start));
    CR_TRY(append_digest(&text, "digest", answer->digest));
    CR_TRY(cr_append_format(&text, "\"round\": %" PRIu64 ", \"labelled\": %" PRIu64 ", \"loss_sum\": ",
                            answer->round, answer->labelled));
    CR_TRY(cr_json_append_number(&text, answer->loss_sum));
    CR_TRY(cr_append_format(&text, "}\n"));
    CR_TRY(cr_seal_write(path, &sealing, cr_buffer_slice(&text)));
    if (state->has_answer && state->answer.round != answer->round) unlink(older);
    memcpy(state->run, run, CR_SHA256_SIZE);
    state->answer = *answer;
    state->has_answer = true;
    return CR_OK;
}

enum cr_status cr_client_state_fetch(const struct cr_client_state *state, const char *output)
{
    return cr_directory_write(state->path, fetched_name, cr_slice_of_string(output), true);
}

enum cr_status cr_client_state_fetched(const struct cr_client_state *state, const char *output, bool *fetched)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer kept = {0};
    *fetched = false;
    CR_TRY(cr_path_join(state->path, fetched_name, &path));
    if (!cr_file_exists(path)) return CR_OK;
    CR_TRY(cr_file_read(path, PATH_MAX, &kept));
    *fetched = strcmp(cr_buffer_text(&kept), output) == 0;
    return CR_OK;
}

enum cr_status cr_client_state_see(struct cr_client_state *state, const struct cr_seen *seen)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    const struct cr_sealing sealing = cr_client_state_sealing(state, seen_purpose);
    CR_TRY(cr_path_join(state->path, "seen.sealed", &path));
    CR_TRY(cr_append_format(&text, "{"));
    CR_TRY(append_digest(&text, "run", seen->run));
    CR_TRY(append_digest(&text, "start", seen->start));
    CR_TRY(append_digest(&text, "receipt", seen->receipt));
    CR_TRY(cr_append_format(&text, "\"round\": %" PRIu64 "}\n", seen->round));
    CR_TRY(cr_seal_write(path, &sealing, cr_buffer_slice(&text)));
    state->seen = *seen;
    state->has_seen = true;
    return CR_OK;
}
