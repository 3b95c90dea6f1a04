// Describes the differences between two manifests, for people.
#include "attestation/manifest.h"

#include <stdio.h>
#include <string.h>

enum { SECTION_SIZE = 128, KEY_SIZE = 256 };

// Reads the next setting of canonical YAML: its full key and the text after the colon. `section` is kept
// between calls.
static bool next_setting(const char **at, char section[SECTION_SIZE], char key[KEY_SIZE],
                         struct cr_slice *value)
{
    while (**at) {
        const char *line = *at;
        size_t length = strcspn(line, "\n"), indent = strspn(line, " "), name = strcspn(line, ":\n");
        *at = line + length + (line[length] == '\n');
        if (name == length) continue;
        if (indent == 0) section[0] = 0;
        if (indent == 0 && name + 1 == length) {
            snprintf(section, SECTION_SIZE, "%.*s.", (int)cr_least(name, 120), line);
            continue;
        }
        snprintf(key, KEY_SIZE, "%s%.*s", section, (int)cr_least(name - indent, 120), line + indent);
        *value = (struct cr_slice){(const unsigned char *)line + name, length - name};
        return true;
    }
    return false;
}

// With `value` NULL, any value matches.
static bool has_setting(const char *settings, const char *key, const struct cr_slice *value)
{
    char section[SECTION_SIZE] = "", found[KEY_SIZE];
    struct cr_slice other;
    while (next_setting(&settings, section, found, &other))
        if (strcmp(found, key) == 0 && (!value || cr_slice_equal(other, *value))) return true;
    return false;
}

static enum cr_status append_item(struct cr_buffer *out, size_t start, const char *item)
{
    return cr_append_format(out, "%s%s", out->size > start ? ", " : "", item);
}

// Appends the keys whose values differ, or that only one side has.
static enum cr_status append_settings(const char *a, const char *b, struct cr_buffer *out, size_t start)
{
    char section[SECTION_SIZE] = "", key[KEY_SIZE];
    struct cr_slice value;
    size_t before = out->size;
    for (const char *at = a; next_setting(&at, section, key, &value);)
        if (!has_setting(b, key, &value)) CR_TRY(append_item(out, start, key));
    section[0] = 0;
    for (const char *at = b; next_setting(&at, section, key, &value);)
        if (!has_setting(a, key, NULL)) CR_TRY(append_item(out, start, key));
    return out->size > before ? CR_OK : append_item(out, start, "the settings");
}

enum cr_status cr_manifest_settings_difference(const char *a, const char *b, struct cr_buffer *out)
{
    return append_settings(a, b, out, out->size);
}

static bool same_roster(const struct cr_manifest *a, const struct cr_manifest *b)
{
    if (a->roster_count != b->roster_count) return false;
    for (size_t i = 0; i < a->roster_count; i++)
        if (strcmp(a->roster[i].name, b->roster[i].name) != 0 ||
            memcmp(a->roster[i].key, b->roster[i].key, CR_SHA256_SIZE) != 0)
            return false;
    return true;
}

enum cr_status cr_manifest_difference(const struct cr_manifest *a, const struct cr_manifest *b,
                                      struct cr_buffer *out)
{
    const struct {
        bool same;
        const char *name;
    } fields[] = {
        {memcmp(a->owner, b->owner, sizeof a->owner) == 0, "the owner's key"},
        {memcmp(a->model, b->model, CR_SHA256_SIZE) == 0, "the model"},
        {memcmp(a->tokenizer, b->tokenizer, CR_SHA256_SIZE) == 0, "the tokenizer"},
        {memcmp(a->authority, b->authority, CR_SHA256_SIZE) == 0, "the federation's CA"},
        {same_roster(a, b), "the roster of silos"},
        {strcmp(a->policy ? a->policy : "", b->policy ? b->policy : "") == 0, "the appraisal policy"},
        {memcmp(a->version, b->version, sizeof a->version) == 0, "the least version of carrel"},
        {a->time_floor == b->time_floor, "the earliest time"},
        {a->collateral_floor == b->collateral_floor, "the earliest issue of collateral"},
    };
    size_t start = out->size;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!fields[i].same) CR_TRY(append_item(out, start, fields[i].name));
    if (strcmp(a->settings, b->settings) != 0) CR_TRY(append_settings(a->settings, b->settings, out, start));
    return CR_OK;
}
