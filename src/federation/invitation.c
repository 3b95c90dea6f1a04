#include "federation/invitation.h"

#include "base/clock.h"
#include "base/file.h"
#include "crypto/random.h"
#include "federation/server_manifest.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { INVITATION_LIMIT = 4096 };

struct invitation {
    char name[CR_NAME_SIZE], role[CR_NAME_SIZE];
    int64_t expires;
    bool used;
    unsigned char key[CR_SHA256_SIZE]; // if used: the key that used it
    // If used, until its key is the member's: the key of this name's member before; zeros: none.
    unsigned char instead[CR_SHA256_SIZE];
};

static enum cr_status path_of(const char *directory, const unsigned char secret[CR_SECRET_SIZE], char **out)
{
    unsigned char hash[CR_SHA256_SIZE];
    CR_TRY(cr_sha256((struct cr_slice){secret, CR_SECRET_SIZE}, hash));
    char hex[CR_SHA256_HEX_SIZE], name[CR_SHA256_HEX_SIZE + 24];
    cr_sha256_hex(hash, hex);
    snprintf(name, sizeof name, "invitations/%s.json", hex);
    return cr_path_join(directory, name, out);
}

static enum cr_status write_invitation(const char *path, const struct invitation *invitation)
{
    char hex[CR_SHA256_HEX_SIZE], instead[CR_SHA256_HEX_SIZE];
    cr_sha256_hex(invitation->key, hex);
    cr_sha256_hex(invitation->instead, instead);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text,
                            "{\"name\": \"%s\", \"role\": \"%s\", \"expires\": %" PRId64
                            ", \"used\": %s, \"key\": \"%s\", \"instead\": \"%s\"}\n",
                            invitation->name, invitation->role, invitation->expires,
                            invitation->used ? "true" : "false", hex, instead));
    return cr_file_write(path, cr_buffer_slice(&text), true);
}

static enum cr_status read_invitation(const char *path, struct invitation *out)
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_TRY(cr_json_read(path, INVITATION_LIMIT, &root));
    const char *name, *role;
    struct invitation invitation = {0};
    CR_TRY(cr_json_get_string(root, path, "name", "", &name));
    CR_TRY(cr_json_get_string(root, path, "role", "", &role));
    CR_TRY(cr_json_get_bool(root, path, "used", false, &invitation.used));
    CR_TRY(cr_config_check_name(name));
    CR_TRY(cr_config_check_name(role));
    if (!cr_json_is_integer(cr_json_member(root, "expires"), &invitation.expires))
        return cr_fail(CR_INVALID, "%s: expires: an integer is wanted", path);
    CR_TRY(cr_json_get_hex(root, path, "key", invitation.key, sizeof invitation.key));
    CR_TRY(cr_json_get_hex(root, path, "instead", invitation.instead, sizeof invitation.instead));
    strcpy(invitation.name, name);
    strcpy(invitation.role, role);
    *out = invitation;
    return CR_OK;
}

static enum cr_status address_for_token(const struct cr_config *config, char out[CR_ADDRESS_SIZE])
{
    const struct cr_federation_config *federation = &config->federation;
    struct cr_address address;
    const char *key = federation->advertise ? "advertise" : "address";
    CR_TRY(cr_address_parse(federation->advertise ? federation->advertise : federation->address, &address));
    if (cr_address_is_wildcard(&address))
        return cr_fail(CR_INVALID,
                       "federation.%s is %s, which says nothing about how silos reach the server "
                       "(set federation.advertise)",
                       key, address.host);
    if (address.port == 0) CR_TRY(cr_state_read_port(federation->state_dir, &address.port));
    if (address.port == 0)
        return cr_fail(CR_INVALID, "federation.%s has port 0 and no server has run yet (start it first)",
                       key);
    cr_address_format(&address, out);
    return CR_OK;
}

enum cr_status cr_invite(const struct cr_config *config, const char *name, const char *role, double seconds,
                         struct cr_buffer *text)
{
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_TRY(cr_config_check_name(name));
    if (strcmp(role, "silo") != 0) return cr_fail(CR_INVALID, "role \"%s\": \"silo\" is the only one", role);
    if (!(seconds >= 1 && seconds <= 366 * 86400.0))
        return cr_fail(CR_INVALID, "an invitation is good for one second to 366 days");
    CR_TRY(address_for_token(config, token.address));
    strcpy(token.name, name);
    strcpy(token.role, role);
    token.expires = cr_clock_unix() + (int64_t)seconds;
    CR_TRY(cr_random_bytes(token.secret, sizeof token.secret));

    const char *directory = config->federation.state_dir;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    CR_TRY(cr_server_manifest(config, NULL, &manifest, &form));
    if (manifest.roster_count > 0 && !cr_manifest_find(&manifest, name))
        return cr_fail(CR_INVALID, "%s is not in the job's roster of silos", name);
    memcpy(token.job, manifest.digest, CR_SHA256_SIZE);
    memcpy(token.fingerprint, manifest.authority, CR_SHA256_SIZE);

    struct invitation invitation = {.expires = token.expires};
    strcpy(invitation.name, name);
    strcpy(invitation.role, role);
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_FREE char *path = NULL;
    CR_FREE char *folder = NULL;
    CR_TRY(cr_state_lock(directory, &fd));
    CR_TRY(cr_path_join(directory, "invitations", &folder));
    CR_TRY(cr_directory_make(folder, true));
    CR_TRY(path_of(directory, token.secret, &path));
    CR_TRY(write_invitation(path, &invitation));
    return cr_token_write(&token, text);
}

// A used token can be used again only by the key that used it.
static enum cr_status judge(const struct cr_state_dir *state, const struct invitation *invitation,
                            const unsigned char key[CR_SHA256_SIZE], int64_t now)
{
    size_t number = cr_state_find(state, invitation->name);
    // If the name was invited again since then, its member has a third key, and the older token must not
    // bring the older key back.
    const unsigned char *now_has = number == SIZE_MAX ? invitation->key : state->members[number].key;
    bool replaced = memcmp(now_has, invitation->key, CR_SHA256_SIZE) != 0 &&
                    memcmp(now_has, invitation->instead, CR_SHA256_SIZE) != 0;
    if (invitation->used && (replaced || memcmp(invitation->key, key, CR_SHA256_SIZE) != 0))
        return cr_fail(CR_DENIED, "the join token was used already (ask for a new one: carrel invite %s)",
                       invitation->name);
    if (!invitation->used && now >= invitation->expires) {
        char when[CR_CLOCK_TEXT_SIZE];
        cr_clock_format(invitation->expires, when);
        return cr_fail(CR_DENIED, "the join token expired at %s (ask for a new one: carrel invite %s)", when,
                       invitation->name);
    }
    return CR_OK;
}

enum cr_status cr_redeem(struct cr_state_dir *state, const struct cr_manifest *manifest,
                         const unsigned char secret[CR_SECRET_SIZE], struct cr_slice request, int64_t now,
                         struct cr_member *member, struct cr_buffer *certificate)
{
    CR_FREE char *path = NULL;
    CR_TRY(path_of(state->path, secret, &path));
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_TRY(cr_state_try_lock(state->path, &fd));
    if (!cr_file_exists(path)) return cr_fail(CR_DENIED, "the join token is not one of this server's");
    struct invitation invitation;
    CR_TRY(read_invitation(path, &invitation));
    // Only verifying the request, which issuing does, proves that the sender has its key.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer issued = {0};
    CR_TRY(cr_identity_issue(state->authority, request, invitation.name, invitation.role, now, &issued));
    struct cr_member enrolled = {0};
    CR_TRY(cr_certificate_der_key_digest(cr_buffer_slice(&issued), enrolled.key));
    CR_TRY(judge(state, &invitation, enrolled.key, now));
    CR_TRY(cr_manifest_admits(manifest, invitation.name, enrolled.key));
    strcpy(enrolled.name, invitation.name);
    strcpy(enrolled.role, invitation.role);
    // Marked as used before the certificate takes effect. After a crash in between, or with a full disk, only
    // the same key can use the token again.
    size_t number = cr_state_find(state, invitation.name);
    if (!invitation.used && number != SIZE_MAX)
        memcpy(invitation.instead, state->members[number].key, CR_SHA256_SIZE);
    invitation.used = true;
    memcpy(invitation.key, enrolled.key, CR_SHA256_SIZE);
    CR_TRY(write_invitation(path, &invitation));
    CR_TRY(cr_state_enrol(state, &enrolled));
    // Nothing is left to catch up on. If this name ever has its earlier key again, this token replaces it no
    // more.
    if (!cr_slice_is_zero((struct cr_slice){invitation.instead, CR_SHA256_SIZE})) {
        memset(invitation.instead, 0, CR_SHA256_SIZE);
        CR_TRY(write_invitation(path, &invitation));
    }
    CR_TRY(cr_append(certificate, issued.data, issued.size));
    *member = enrolled;
    return CR_OK;
}
