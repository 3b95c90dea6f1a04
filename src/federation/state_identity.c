#include "federation/state_identity.h"

#include "attestation/sealing_key.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "federation/state.h"

enum { RENEWAL_SECONDS = 60 * 86400 };
static const char certificate_name[] = "certificate.pem"; // in an identity's directory
static const char server_name[] = "server";               // in the state directory

enum cr_status cr_state_authority(const char *path, const struct cr_sealing_key *key,
                                  struct cr_identity **out)
{
    CR_FREE char *directory = NULL;
    const struct cr_sealing sealing = {.key = key, .purpose = "authority key"};
    CR_TRY(cr_path_join(path, "authority", &directory));
    if (cr_directory_has(directory, certificate_name)) return cr_identity_load(directory, &sealing, out);
    // The server's directory is made once the CA is complete. If only the CA's certificate is missing, no new
    // CA may be made, since silos would not know it.
    if (cr_identity_is_kept(directory, &sealing) && cr_directory_has(path, server_name))
        return cr_fail(CR_NOT_FOUND, "%s/%s: not there, beside its key: put it back", directory,
                       certificate_name);
    struct cr_identity *authority;
    CR_TRY(cr_identity_new_authority("carrel federation", cr_clock_unix(), &authority));
    enum cr_status status = cr_identity_save(authority, directory, &sealing);
    if (status != CR_OK)
        cr_identity_free(authority);
    else
        *out = authority;
    return status;
}

static enum cr_status make_authority(const struct cr_config *config)
{
    const char *path = config->federation.state_dir;
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    struct cr_identity *authority;
    CR_TRY(cr_sealing_key_here(cr_config_sealing(config), config->attestation.tpm, path, &key));
    CR_TRY(cr_state_authority(path, key, &authority));
    cr_identity_free(authority);
    return CR_OK;
}

enum cr_status cr_state_fingerprint(const struct cr_config *config, unsigned char out[CR_SHA256_SIZE])
{
    const char *path = config->federation.state_dir;
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_FREE char *directory = NULL;
    CR_TRY(cr_state_lock(path, &fd));
    CR_TRY(cr_path_join(path, "authority", &directory));
    if (!cr_directory_has(directory, certificate_name)) CR_TRY(make_authority(config));
    return cr_identity_read_fingerprint(directory, out);
}

static enum cr_status certify(const struct cr_identity *authority, struct cr_identity *identity)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer certificate = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer authority_der = {0};
    CR_TRY(cr_identity_request(identity, &request));
    CR_TRY(cr_identity_issue(authority, cr_buffer_slice(&request), "server", "server", cr_clock_unix(),
                             &certificate));
    CR_TRY(cr_identity_authority_der(authority, &authority_der));
    return cr_identity_install(identity, cr_buffer_slice(&certificate), cr_buffer_slice(&authority_der));
}

// Whether the certificate is not valid now although the CA's is. Says no if the clock is even before the CA's
// time, as on a machine that has just started.
static bool was_made_ahead(const struct cr_identity *authority, const struct cr_identity *identity,
                           int64_t now)
{
    return cr_certificate_check_time(cr_identity_certificate(authority), now) == CR_OK &&
           cr_certificate_check_time(cr_identity_certificate(identity), now) != CR_OK;
}

enum cr_status cr_state_server(const char *path, const struct cr_sealing_key *key,
                               const struct cr_identity *authority, struct cr_identity **out)
{
    CR_FREE char *directory = NULL;
    const struct cr_sealing sealing = {.key = key, .purpose = "server key"};
    int64_t now = cr_clock_unix();
    CR_TRY(cr_path_join(path, server_name, &directory));
    struct cr_identity *identity;
    CR_TRY(cr_directory_has(directory, certificate_name) ? cr_identity_load(directory, &sealing, &identity)
                                                         : cr_identity_new(&identity));
    enum cr_status status = CR_OK;
    // Silos know the CA, so a certificate that expires can be replaced; so can one that was made while the
    // clock was ahead.
    if (cr_identity_expired(identity, now + RENEWAL_SECONDS) || was_made_ahead(authority, identity, now)) {
        status = certify(authority, identity);
        if (status == CR_OK) status = cr_identity_save(identity, directory, &sealing);
    }
    if (status != CR_OK)
        cr_identity_free(identity);
    else
        *out = identity;
    return status;
}
