// Checks a federation's job at its server: that it is a signed job for these settings, and what its appraisal
// policy demands of this machine.
#include "cli/preflight.h"

#include "attestation/appraisal_policy.h"
#include "base/file.h"
#include "federation/attested.h"
#include "federation/server_manifest.h"

// A server creates its CA if there is none; a preflight creates nothing. A file that is not a signed job is
// not for any CA, so that is reported first.
static enum cr_status check_authority(const struct cr_config *config)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(cr_manifest_read(config->federation.job, &manifest, NULL));
    if (!manifest.has_owner) return CR_OK;
    if (cr_directory_has(config->federation.state_dir, "authority/certificate.pem")) return CR_OK;
    return cr_fail(CR_INVALID, "%s: it is for the CA of another federation than %s, which has none yet",
                   config->federation.job, config->federation.state_dir);
}

// Sets *policy to the job's policy, to be freed with free, or to NULL; unchanged if there is no valid job.
static enum cr_status check_job(struct cr_checks *checks, const struct cr_config *config, char **policy)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    struct cr_base_digest base;
    const struct cr_tuning_config *tuning = &config->tuning;
    if (check_authority(config) != CR_OK ||
        cr_base_digest_read(tuning->model_name_or_path, tuning->random_init, &base) != CR_OK ||
        cr_server_manifest(config, &base, &manifest, &form) != CR_OK)
        return cr_check_failure(checks, "job");
    char digest[CR_SHA256_HEX_SIZE];
    cr_sha256_hex(manifest.digest, digest);
    *policy = manifest.policy;
    manifest.policy = NULL;
    return cr_check_say(checks, CR_CHECK_OK, "job", "%s: job %s, of these settings and signed",
                        config->federation.job, digest);
}

static enum cr_status say_policy(struct cr_checks *checks, const char *text, bool split)
{
    struct cr_appraisal_policy policy;
    if (cr_appraisal_policy_parse(cr_slice_of_string(text), "the job's policy", &policy) != CR_OK)
        return cr_check_failure(checks, "policy");
    bool development = policy.allow_development;
    cr_appraisal_policy_release(&policy);
    return cr_check_say(checks, development ? CR_CHECK_WARNING : CR_CHECK_OK, "policy", "%s%s",
                        split ? "the server shows its silos evidence"
                              : "server and silos show each other evidence",
                        development ? "; allow_development: some that proves nothing will do" : "");
}

static enum cr_status check_evidence(struct cr_checks *checks, const struct cr_config *config, bool policy)
{
    const struct cr_attested_host host = {.attester = cr_config_attester(config),
                                          .tpm = config->attestation.tpm,
                                          .endorsements = config->attestation.endorsements,
                                          .shows = true,
                                          .demands = !cr_tuning_config_split(&config->tuning)};
    enum cr_attester attester;
    if (cr_attested_check(&host, policy, &attester) != CR_OK) return cr_check_failure(checks, "evidence");
    if (!policy) return CR_OK;
    if (attester == CR_ATTESTER_DEVELOPMENT)
        return cr_check_say(checks, CR_CHECK_WARNING, "evidence",
                            "of the development attester: it proves nothing");
    return cr_check_say(checks, CR_CHECK_OK, "evidence", "of this machine, by %s",
                        cr_attester_name(attester));
}

// Checks who gets the result, if that is neither the server nor a silo.
static enum cr_status check_release(struct cr_checks *checks, const struct cr_federation_config *federation)
{
    if (federation->release == CR_RELEASE_SEALED)
        return cr_check_say(checks, CR_CHECK_OK, "release",
                            "nobody gets the result: it stays sealed in %s, and no command opens it",
                            federation->state_dir);
    if (federation->release != CR_RELEASE_OWNER) return CR_OK;
    if (!federation->job)
        return cr_check_say(checks, CR_CHECK_FAILED, "release",
                            "federation.release: owner, but federation.job names no job that one signed");
    return cr_check_say(checks, CR_CHECK_OK, "release",
                        "the job's owner alone can open the result (carrel job open)");
}

enum cr_status cr_preflight_job(struct cr_checks *checks, const struct cr_config *config)
{
    CR_FREE char *policy = NULL;
    CR_TRY(check_release(checks, &config->federation));
    size_t failed = checks->failed;
    if (config->federation.job)
        CR_TRY(check_job(checks, config, &policy));
    else if (cr_server_policy(&config->federation, &policy) != CR_OK)
        CR_TRY(cr_check_failure(checks, "policy"));
    if (checks->failed > failed) return CR_OK; // its demands are unknown
    if (policy) CR_TRY(say_policy(checks, policy, cr_tuning_config_split(&config->tuning)));
    return check_evidence(checks, config, policy != NULL);
}
