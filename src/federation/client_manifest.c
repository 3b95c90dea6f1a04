// Checks that the server's job is the one that this silo agreed to. A join token contains the job's digest.
// The manifest itself is stored, and shown to the user, when it arrives for the first time.
#include "federation/client_parts.h"

#include "base/clock.h"

#include <string.h>

// Fails with the differences from the agreed job, by name if the agreed manifest is stored here.
static enum cr_status refuse_other(const struct cr_client *client, const struct cr_manifest *other)
{
    static const char text[] = "the server's job is not the one that the join token names";
    char theirs[CR_SHA256_HEX_SIZE], agreed[CR_SHA256_HEX_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer names = {0};
    cr_sha256_hex(other->digest, theirs);
    cr_sha256_hex(client->token.job, agreed);
    if (!client->state->has_manifest)
        return cr_fail(CR_DENIED, "%s: its digest is %s, and that of the token %s", text, theirs, agreed);
    CR_TRY(cr_manifest_difference(&client->state->manifest, other, &names));
    return cr_fail(CR_DENIED, "%s: it has another value of: %s", text, cr_buffer_text(&names));
}

// Even the agreed job may not be meant for this silo, or need another version of the program.
static enum cr_status check_manifest(const struct cr_client *client, const struct cr_manifest *manifest)
{
    unsigned char key[CR_SHA256_SIZE];
    if (memcmp(manifest->digest, client->token.job, CR_SHA256_SIZE) != 0)
        return refuse_other(client, manifest);
    if (memcmp(manifest->authority, client->token.fingerprint, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_DENIED, "the job is for another federation's CA than the join token");
    CR_TRY(cr_identity_key_digest(client->state->identity, key));
    CR_TRY(cr_manifest_admits(manifest, client->token.name, key));
    return cr_manifest_check(manifest, cr_clock_unix());
}

static enum cr_status append_silos(const struct cr_manifest *manifest, struct cr_buffer *out)
{
    if (manifest->roster_count == 0) return cr_append_format(out, "whoever the server invites");
    for (size_t i = 0; i < manifest->roster_count; i++)
        CR_TRY(cr_append_format(out, "%s%s", i > 0 ? ", " : "", manifest->roster[i].name));
    return CR_OK;
}

static enum cr_status tell(const struct cr_client *client)
{
    const struct cr_manifest *manifest = &client->state->manifest;
    unsigned char key[CR_SHA256_SIZE];
    char job[CR_SHA256_HEX_SIZE], owner[CR_SHA256_HEX_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer silos = {0};
    CR_TRY(append_silos(manifest, &silos));
    CR_TRY(cr_identity_point_digest(manifest->owner, key));
    cr_sha256_hex(key, owner);
    cr_sha256_hex(manifest->digest, job);
    cr_emit(client->sink, CR_EVENT_INFO, "client.manifest", NULL, CR_FIELD_TEXT("job", job),
            CR_FIELD_TEXT("owner", owner), CR_FIELD_TEXT("silos", cr_buffer_text(&silos)),
            CR_FIELD_TEXT("policy", manifest->policy ? "an appraisal policy" : "no appraisal policy"),
            CR_FIELD_TEXT("settings", manifest->settings),
            CR_FIELD_TEXT("file", client->state->manifest_path));
    return CR_OK;
}

enum cr_status cr_client_on_manifest(struct cr_client *client, const struct cr_message *message)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    enum cr_status status = cr_manifest_open(message->body, &manifest);
    if (status != CR_OK) return cr_fail_within(status, "the server's job");
    CR_TRY(check_manifest(client, &manifest));
    client->manifest_came = true;
    if (client->state->has_manifest) return CR_OK;
    CR_TRY(cr_client_state_agree(client->state, message->body));
    return tell(client);
}
