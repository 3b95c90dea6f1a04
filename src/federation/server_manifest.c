#include "federation/server_manifest.h"

#include "attestation/appraisal_policy.h"
#include "base/clock.h"
#include "base/file.h"
#include "federation/state.h"
#include "federation/state_identity.h"

#include <string.h>

enum { POLICY_LIMIT = 1 << 19 };

static void take_base(const struct cr_base_digest *base, struct cr_manifest *manifest)
{
    memcpy(manifest->model, base->model, CR_SHA256_SIZE);
    memcpy(manifest->tokenizer, base->tokenizer, CR_SHA256_SIZE);
}

enum cr_status cr_server_policy(const struct cr_federation_config *federation, char **out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer policy = {0};
    if (!federation->appraisal_policy) return CR_OK;
    CR_TRY(cr_file_read(federation->appraisal_policy, POLICY_LIMIT, &policy));
    if (memchr(cr_buffer_text(&policy), 0, policy.size))
        return cr_fail(CR_INVALID, "%s: no text", federation->appraisal_policy);
    struct cr_appraisal_policy parsed; // parsed here so that errors name the file
    CR_TRY(cr_appraisal_policy_parse(cr_buffer_slice(&policy), federation->appraisal_policy, &parsed));
    cr_appraisal_policy_release(&parsed);
    return cr_copy_string(cr_buffer_text(&policy), out);
}

static enum cr_status describe(const struct cr_config *config, const struct cr_base_digest *base,
                               struct cr_manifest *manifest)
{
    const struct cr_federation_config *federation = &config->federation;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer settings = {0};
    CR_TRY(cr_state_fingerprint(config, manifest->authority));
    CR_TRY(cr_config_job(config, &settings));
    CR_TRY(cr_copy_string(cr_buffer_text(&settings), &manifest->settings));
    CR_TRY(cr_server_policy(federation, &manifest->policy));
    cr_manifest_program(manifest->version);
    take_base(base, manifest);
    return CR_OK;
}

enum cr_status cr_server_manifest_make(const struct cr_config *config, const struct cr_base_digest *base,
                                       struct cr_manifest *out)
{
    struct cr_base_digest read;
    const struct cr_tuning_config *tuning = &config->tuning;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    if (!base) CR_TRY(cr_base_digest_read(tuning->model_name_or_path, tuning->random_init, &read));
    CR_TRY(describe(config, base ? base : &read, &manifest));
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}

static enum cr_status check_settings(const struct cr_config *config, const struct cr_manifest *manifest)
{
    CR_CLEANUP(cr_config_release) struct cr_config job = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer own = {0}, theirs = {0}, names = {0};
    CR_TRY(cr_config_parse(cr_slice_of_string(manifest->settings), "its settings", &job));
    CR_TRY(cr_config_job(&job, &theirs)); // in the form this program writes
    CR_TRY(cr_config_job(config, &own));
    if (cr_slice_equal(cr_buffer_slice(&own), cr_buffer_slice(&theirs))) return CR_OK;
    CR_TRY(cr_manifest_settings_difference(cr_buffer_text(&theirs), cr_buffer_text(&own), &names));
    return cr_fail(CR_INVALID, "the server's settings are not the job's: %s", cr_buffer_text(&names));
}

// If the settings name an appraisal policy, it must be the job's.
static enum cr_status check_policy(const struct cr_config *config, const struct cr_manifest *manifest)
{
    CR_FREE char *policy = NULL;
    CR_TRY(cr_server_policy(&config->federation, &policy));
    if (!policy || (manifest->policy && strcmp(policy, manifest->policy) == 0)) return CR_OK;
    return cr_fail(CR_INVALID, "its appraisal policy is not %s", config->federation.appraisal_policy);
}

static enum cr_status check_base(const struct cr_base_digest *base, const struct cr_manifest *manifest)
{
    if (memcmp(base->model, manifest->model, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "model_name_or_path is not the job's model");
    if (memcmp(base->tokenizer, manifest->tokenizer, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "model_name_or_path has another tokenizer than the job's");
    return CR_OK;
}

// Checks that a signed job is meant for this server.
static enum cr_status check_signed(const struct cr_config *config, const struct cr_base_digest *base,
                                   const struct cr_manifest *manifest)
{
    unsigned char fingerprint[CR_SHA256_SIZE];
    CR_TRY(cr_manifest_check(manifest, cr_clock_unix()));
    CR_TRY(cr_state_fingerprint(config, fingerprint));
    if (memcmp(manifest->authority, fingerprint, sizeof fingerprint) != 0)
        return cr_fail(CR_INVALID, "it is for the CA of another federation than %s",
                       config->federation.state_dir);
    CR_TRY(check_policy(config, manifest));
    if (base) CR_TRY(check_base(base, manifest));
    return check_settings(config, manifest);
}

// The caller releases *out and *form, also after a failure; so too for take_own.
static enum cr_status take_signed(const struct cr_config *config, const struct cr_base_digest *base,
                                  struct cr_manifest *out, struct cr_buffer *form)
{
    const char *path = config->federation.job;
    CR_TRY(cr_manifest_read(path, out, form));
    if (!out->has_owner)
        return cr_fail(CR_INVALID, "%s: nobody has signed it (carrel job sign %s --key DIR)", path, path);
    enum cr_status status = check_signed(config, base, out);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", path);
}

// Takes the stored manifest if it exists and says the same. A damaged one is made again, like a missing one.
static enum cr_status take_kept(const char *path, const struct cr_config *config,
                                const struct cr_base_digest *base, const struct cr_identity *owner,
                                struct cr_manifest *out, struct cr_buffer *form)
{
    struct cr_base_digest known;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest kept = {0}, wanted = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0}, names = {0};
    if (!cr_file_exists(path)) return CR_OK;
    CR_TRY(cr_file_read(path, CR_MANIFEST_LIMIT, &bytes));
    if (cr_manifest_open(cr_buffer_slice(&bytes), &kept) != CR_OK ||
        cr_manifest_check(&kept, cr_clock_unix()) != CR_OK)
        return CR_OK;
    memcpy(known.model, kept.model, CR_SHA256_SIZE);
    memcpy(known.tokenizer, kept.tokenizer, CR_SHA256_SIZE);
    CR_TRY(cr_server_manifest_make(config, base ? base : &known, &wanted));
    CR_TRY(cr_identity_point(owner, wanted.owner));
    memcpy(wanted.version, kept.version, sizeof wanted.version); // an earlier program's job is accepted
    CR_TRY(cr_manifest_difference(&kept, &wanted, &names));
    if (names.size > 0 && !base && cr_state_is_served(config->federation.state_dir))
        return cr_fail(CR_INVALID, "%s: the server that runs there works on another job: %s",
                       config->federation.state_dir, cr_buffer_text(&names));
    if (names.size > 0) return CR_OK;
    CR_TRY(cr_append(form, bytes.data, bytes.size));
    *out = kept;
    kept = (struct cr_manifest){0};
    return CR_OK;
}

static enum cr_status take_own(const struct cr_config *config, const struct cr_base_digest *base,
                               struct cr_manifest *out, struct cr_buffer *form)
{
    const char *directory = config->federation.state_dir;
    // The key that the result would be encrypted to is on this machine, unencrypted.
    if (config->federation.release == CR_RELEASE_OWNER)
        return cr_fail(CR_INVALID, "federation.release: owner: who is that? Whoever runs the server is the "
                                   "owner of a job that it signs itself (federation.job names one that an "
                                   "owner signed; carrel job)");
    CR_FREE char *path = NULL, *of_run = NULL, *key = NULL;
    CR_CLEANUP(cr_identity_release) struct cr_identity *owner = NULL;
    CR_TRY(cr_path_join(directory, "job.cbor", &path));
    CR_TRY(cr_path_join(directory, CR_STATE_RUN_JOB, &of_run));
    CR_TRY(cr_path_join(directory, "owner", &key));
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_TRY(cr_state_lock(directory, &fd));
    if (!cr_identity_is_kept(key, NULL) && cr_file_exists(path))
        return cr_fail(CR_NOT_FOUND, "%s: the key that signed %s is not there: put it back", key, path);
    CR_TRY(cr_identity_load_or_make(key, &owner));
    cr_file_close(&fd); // looking up the CA takes the same lock
    CR_TRY(take_kept(path, config, base, owner, out, form));
    if (out->has_owner) return CR_OK;
    CR_TRY(take_kept(of_run, config, base, owner, out, form));
    if (!out->has_owner) {
        CR_TRY(cr_server_manifest_make(config, base, out));
        CR_TRY(cr_manifest_sign(out, owner, form));
    }
    CR_TRY(cr_state_lock(directory, &fd)); // a server that starts removes half-written files
    return cr_file_write(path, cr_buffer_slice(form), true);
}

enum cr_status cr_server_manifest(const struct cr_config *config, const struct cr_base_digest *base,
                                  struct cr_manifest *out, struct cr_buffer *form)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(config->federation.job ? take_signed(config, base, &manifest, &bytes)
                                  : take_own(config, base, &manifest, &bytes));
    CR_TRY(cr_append(form, bytes.data, bytes.size));
    *out = manifest;
    manifest = (struct cr_manifest){0};
    return CR_OK;
}
