#include "cli/say_manifest.h"

#include "attestation/manifest.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MARGIN = 16 };

static enum cr_status say_digest(struct cr_said *said, const char *key,
                                 const unsigned char digest[CR_SHA256_SIZE])
{
    char hex[CR_SHA256_HEX_SIZE];
    cr_sha256_hex(digest, hex);
    return cr_say_text(said, key, hex);
}

static enum cr_status say_owner(struct cr_said *said, const struct cr_manifest *manifest)
{
    unsigned char key[CR_SHA256_SIZE];
    if (!manifest->has_owner && said->json) return CR_OK;
    if (!manifest->has_owner)
        return cr_say_text(said, "job", "not signed yet (carrel job sign): it has its digest from then on");
    CR_TRY(cr_identity_point_digest(manifest->owner, key));
    CR_TRY(say_digest(said, "job", manifest->digest));
    return say_digest(said, "owner", key);
}

static enum cr_status say_silo(struct cr_said *said, const struct cr_manifest_silo *silo, bool first)
{
    char hex[CR_SHA256_HEX_SIZE];
    cr_sha256_hex(silo->key, hex);
    if (!said->json) return cr_append_format(&said->out, "  %-*s%s\n", MARGIN - 2, silo->name, hex);
    return cr_append_format(&said->out, "%s{\"name\": \"%s\", \"key\": \"%s\"}", first ? "" : ", ",
                            silo->name, hex);
}

static enum cr_status say_roster(struct cr_said *said, const struct cr_manifest *manifest)
{
    if (said->json)
        CR_TRY(cr_append_format(&said->out, ", \"silos\": ["));
    else if (manifest->roster_count == 0)
        CR_TRY(cr_say_text(said, "silos", "whoever the server invites"));
    else
        CR_TRY(cr_say_text(said, "silos", "these, by the fingerprint of their keys:"));
    for (size_t i = 0; i < manifest->roster_count; i++) CR_TRY(say_silo(said, &manifest->roster[i], i == 0));
    return said->json ? cr_append(&said->out, "]", 1) : CR_OK;
}

// Shows YAML, on lines of its own.
static enum cr_status say_yaml(struct cr_said *said, const char *key, const char *text)
{
    if (said->json) return cr_say_text(said, key, text);
    CR_TRY(cr_append_format(&said->out, "%s:\n", key));
    while (*text) {
        size_t length = strcspn(text, "\n");
        CR_TRY(cr_append_format(&said->out, "  %.*s\n", (int)length, text));
        text += length + (text[length] == '\n');
    }
    return CR_OK;
}

static enum cr_status say_time(struct cr_said *said, const char *key, int64_t time)
{
    char text[CR_CLOCK_TEXT_SIZE];
    if (time == 0) return said->json ? CR_OK : cr_say_text(said, key, "any");
    cr_clock_format(time, text);
    return cr_say_text(said, key, text);
}

static enum cr_status say(struct cr_said *said, const struct cr_manifest *manifest)
{
    char program[80];
    snprintf(program, sizeof program, "%" PRIu64 ".%" PRIu64 ".%" PRIu64, manifest->version[0],
             manifest->version[1], manifest->version[2]);
    CR_TRY(say_owner(said, manifest));
    CR_TRY(say_digest(said, "model", manifest->model));
    CR_TRY(say_digest(said, "tokenizer", manifest->tokenizer));
    CR_TRY(say_digest(said, "federation_ca", manifest->authority));
    CR_TRY(say_roster(said, manifest));
    CR_TRY(cr_say_text(said, "least_carrel", program));
    CR_TRY(say_time(said, "earliest_time", manifest->time_floor));
    CR_TRY(say_time(said, "collateral_since", manifest->collateral_floor));
    CR_TRY(say_yaml(said, "settings", manifest->settings));
    if (manifest->policy) return say_yaml(said, "policy", manifest->policy);
    return said->json ? CR_OK : cr_say_text(said, "policy", "none: nobody is asked for evidence");
}

enum cr_status cr_say_manifest(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(cr_manifest_read(path, &manifest, NULL));
    return say(said, &manifest);
}
