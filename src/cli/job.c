// carrel job: writes, signs and shows a job manifest, which says what a federation is to do.
#include "cli/command.h"
#include "cli/say_manifest.h"

#include "base/clock.h"
#include "base/file.h"
#include "federation/server_manifest.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct cr_manifest_silo *)a)->name, ((const struct cr_manifest_silo *)b)->name);
}

// Parses "anne=KEY".
static enum cr_status read_silo(const char *text, struct cr_manifest_silo *out)
{
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= sizeof out->name)
        return cr_fail(CR_INVALID, "--silo: \"%.80s\" is not NAME=KEY", text);
    memcpy(out->name, text, length);
    enum cr_status status = cr_config_check_name(out->name);
    if (status != CR_OK) return cr_fail_within(status, "--silo");
    if (strlen(equals + 1) != 2 * CR_SHA256_SIZE ||
        cr_hex_decode(equals + 1, out->key, sizeof out->key) != CR_OK)
        return cr_fail(CR_INVALID, "--silo: the key of %s is not the %d digits that `carrel key` prints",
                       out->name, 2 * CR_SHA256_SIZE);
    return CR_OK;
}

// A silo with two names would count twice.
static enum cr_status check_keys(const struct cr_manifest *manifest)
{
    const struct cr_manifest_silo *roster = manifest->roster;
    for (size_t i = 0; i < manifest->roster_count; i++)
        for (size_t j = 0; j < i; j++)
            if (memcmp(roster[i].key, roster[j].key, sizeof roster[i].key) == 0)
                return cr_fail(CR_INVALID, "--silo: %s and %s have the same key", roster[j].name,
                               roster[i].name);
    return CR_OK;
}

static enum cr_status read_roster(const struct cr_flag_list *silos, struct cr_manifest *manifest)
{
    if (silos->count == 0) return CR_OK;
    CR_TRY(cr_allocate(silos->count, sizeof *manifest->roster, &manifest->roster));
    manifest->roster_count = silos->count;
    for (size_t i = 0; i < silos->count; i++) CR_TRY(read_silo(silos->items[i], &manifest->roster[i]));
    qsort(manifest->roster, manifest->roster_count, sizeof *manifest->roster, by_name);
    for (size_t i = 1; i < manifest->roster_count; i++)
        if (by_name(&manifest->roster[i - 1], &manifest->roster[i]) == 0)
            return cr_fail(CR_INVALID, "--silo: %s is listed twice", manifest->roster[i].name);
    return check_keys(manifest);
}

static enum cr_status read_time(const char *flag, const char *text, int64_t *out)
{
    if (!text || (cr_clock_parse(text, out) && *out >= 0)) return CR_OK;
    return cr_fail(CR_INVALID, "--%s: \"%.40s\" is no time: 2026-01-02T03:04:05Z is one", flag, text);
}

// The command line's options.
struct asked {
    const char *config, *output, *time, *collateral;
    struct cr_flag_list silos;
};

static enum cr_status make_of(const struct asked *asked, const struct cr_config *config)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer payload = {0};
    CR_TRY(cr_server_manifest_make(config, NULL, &manifest));
    CR_TRY(read_roster(&asked->silos, &manifest));
    if (manifest.roster_count > 0 && cr_config_min_clients(config) > manifest.roster_count)
        return cr_fail(CR_INVALID, "%s: federation.min_clients: %zu, but there are %zu of --silo",
                       asked->config, cr_config_min_clients(config), manifest.roster_count);
    enum { CLOCK_SLACK = 3600 }; // seconds by which silos' clocks may be behind this one
    manifest.time_floor = cr_clock_unix() - CLOCK_SLACK;
    CR_TRY(read_time("not-before", asked->time, &manifest.time_floor));
    CR_TRY(read_time("collateral-since", asked->collateral, &manifest.collateral_floor));
    CR_TRY(cr_manifest_write(&manifest, &payload));
    return cr_file_write(asked->output, cr_buffer_slice(&payload), false);
}

// Only an unsigned job may be overwritten: a signature could be replaced only by the owner.
static enum cr_status check_output(const char *path)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_TRY(cr_file_look(path));
    if (!cr_file_exists(path) || (cr_manifest_read(path, &manifest, NULL) == CR_OK && !manifest.has_owner))
        return CR_OK;
    return cr_fail(CR_INVALID,
                   "%s: is there already, signed or no job, and stays as it is (name another with --output)",
                   path);
}

static enum cr_status make(const struct asked *asked)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(check_output(asked->output));
    CR_TRY(cr_config_read(asked->config, &config));
    CR_TRY(make_of(asked, &config));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_append_format(&out,
                            "%s is written. Next, for the owner of the model:\n  carrel job show %s\n"
                            "  carrel job sign %s --key DIR\n",
                            asked->output, asked->output, asked->output));
    return cr_command_print(cr_buffer_slice(&out));
}

static enum cr_status make_command(int argc, char **argv)
{
    const char *silos[CR_MANIFEST_SILOS];
    struct asked asked = {.output = "job.cbor",
                          .silos = {.items = silos, .capacity = sizeof silos / sizeof *silos}};
    bool done;
    const struct cr_flag items[] = {
        {"silo", CR_FLAG_STRINGS, &asked.silos, "NAME=KEY",
         "one of the silos, with the fingerprint that its `carrel key` prints; may be given several times. "
         "Without any the server may invite whom it likes"},
        {"not-before", CR_FLAG_STRING, &asked.time, "TIME",
         "refuse to work while a machine's clock is behind this (an hour ago)"},
        {"collateral-since", CR_FLAG_STRING, &asked.collateral, "TIME",
         "refuse collateral that was issued before this (any is taken)"},
        {"output", CR_FLAG_STRING, &asked.output, "FILE", "where it is written (job.cbor)"},
    };
    const struct cr_flags flags = {
        "carrel job make CONFIG [options]",
        "Writes down what a federation with these settings is to do, on the machine of its server: "
        "settings,\n"
        "appraisal policy, digests of model and tokenizer, the federation's CA (made where there is none), "
        "and "
        "who\nmay take part. The owner of the model signs it (carrel job sign), and the server works on it\n"
        "(federation.job).",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &asked.config, NULL, &done));
    return done ? CR_OK : make(&asked);
}

static enum cr_status sign(const char *path, const char *key)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *owner = NULL;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest manifest = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer form = {0};
    CR_TRY(cr_manifest_read(path, &manifest, NULL));
    enum cr_status status = cr_identity_load(key, NULL, &owner);
    if (status == CR_NOT_FOUND && !cr_identity_is_kept(key, NULL))
        return cr_fail(status, "%s/key.pem: not there (carrel key %s makes a key)", key, key);
    if (status != CR_OK) return status;
    CR_TRY(cr_manifest_sign(&manifest, owner, &form));
    CR_TRY(cr_file_write(path, cr_buffer_slice(&form), false));
    char hex[CR_SHA256_HEX_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    cr_sha256_hex(manifest.digest, hex);
    CR_TRY(cr_append_format(&out, "%s is signed: job %s\n", path, hex));
    return cr_command_print(cr_buffer_slice(&out));
}

static enum cr_status sign_command(int argc, char **argv)
{
    const char *path, *key = NULL;
    bool done;
    const struct cr_flag items[] = {
        {"key", CR_FLAG_REQUIRED, &key, "DIR", "where the owner's key is (`carrel key DIR` makes one)"},
    };
    const struct cr_flags flags = {
        "carrel job sign FILE --key DIR",
        "Signs the job in FILE as the owner of the model, who answers for all that `carrel job show` tells "
        "of "
        "it.\nAn earlier owner's signature is replaced; the job is another one then.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &path, NULL, &done));
    return done ? CR_OK : sign(path, key);
}

static enum cr_status show_command(int argc, char **argv)
{
    CR_CLEANUP(cr_said_release) struct cr_said said = {0};
    const char *path;
    bool done;
    const struct cr_flag items[] = {
        {"json", CR_FLAG_BOOL, &said.json, NULL, "one JSON object"},
    };
    const struct cr_flags flags = {
        "carrel job show FILE [options]",
        "Tells all that a job says: the file of its owner or its server, or job.cbor in a silo's --state. A\n"
        "signature that is not the owner's is an error.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &path, NULL, &done));
    if (done) return CR_OK;
    CR_TRY(cr_say_manifest(&said, path));
    if (said.json) CR_TRY(cr_append(&said.out, "}\n", 2));
    return cr_command_print(cr_buffer_slice(&said.out));
}

enum cr_status cr_command_job(int argc, char **argv)
{
    static const struct cr_command commands[] = {
        {"make", make_command, "write down what a federation is to do"},
        {"sign", sign_command, "sign that as the owner of the model"},
        {"show", show_command, "tell all that it says"},
        {"open", cr_command_job_open, "write what it released to its owner as an adapter"},
    };
    enum { COMMANDS = sizeof commands / sizeof *commands };
    return cr_command_of("job", commands, COMMANDS, argc, argv);
}
