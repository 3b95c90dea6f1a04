// carrel preflight: checks everything that a run will need.
#include "cli/preflight.h"

#include "attestation/sealing_key.h"
#include "base/cgroup.h"
#include "base/file.h"
#include "base/thread.h"
#include "base/words.h"
#include "cli/command.h"
#include "cli/memory.h"
#include "report/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// The directory itself, or the nearest existing one above it.
static enum cr_status nearest_directory(const char *directory, char **out)
{
    CR_FREE char *at = NULL;
    CR_TRY(cr_copy_string(directory, &at));
    while (!cr_file_exists(at) && strcmp(at, ".") != 0 && strcmp(at, "/") != 0) {
        char *above;
        CR_TRY(cr_path_directory(at, &above));
        free(at);
        at = above;
    }
    *out = at;
    at = NULL;
    return CR_OK;
}

// Checks that files can be created in the directory or, if it does not exist, the directory in the nearest
// one above.
static enum cr_status check_writable(const char *directory, const char *place)
{
    struct stat about;
    if (stat(place, &about) == 0 && !S_ISDIR(about.st_mode))
        return cr_fail(CR_IO, "%s: cannot be written: %s is a file", directory, place);
    return access(place, W_OK | X_OK) == 0 ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be written", directory);
}

enum cr_status cr_preflight_run(struct cr_checks *checks, const char *directory)
{
    CR_FREE char *run = NULL;
    CR_FREE char *place = NULL;
    enum cr_status status = cr_run_dir_path(directory, &run);
    if (status == CR_OK) CR_TRY(nearest_directory(run, &place));
    if (status == CR_OK) status = check_writable(run, place);
    if (status == CR_OK) return CR_OK;
    (void)!cr_fail_within(status, "run directory");
    return cr_check_failure(checks, "output");
}

enum cr_status cr_preflight_place(struct cr_checks *checks, const char *name, const char *directory,
                                  double bytes)
{
    CR_FREE char *place = NULL;
    CR_TRY(nearest_directory(directory, &place));
    if (check_writable(directory, place) != CR_OK) return cr_check_failure(checks, name);
    struct statvfs disk;
    if (statvfs(place, &disk) != 0)
        return cr_check_say(checks, CR_CHECK_WARNING, name, "%s: free space cannot be told", directory);
    double available = (double)disk.f_bavail * (double)disk.f_frsize;
    char room[CR_SIZE_TEXT], written[CR_SIZE_TEXT];
    if (available < bytes)
        return cr_check_say(checks, CR_CHECK_FAILED, name, "%s: %s are free where about %s will be written",
                            directory, cr_size_text(available, room), cr_size_text(bytes, written));
    if (bytes == 0)
        return cr_check_say(checks, CR_CHECK_OK, name, "%s can be written: %s are free", directory,
                            cr_size_text(available, room));
    return cr_check_say(checks, CR_CHECK_OK, name, "%s can be written: about %s, %s are free", directory,
                        cr_size_text(bytes, written), cr_size_text(available, room));
}

enum cr_status cr_preflight_sealing(struct cr_checks *checks, const char *sealing, const char *tpm,
                                    const char *directory)
{
    const char *source;
    if (cr_sealing_key_check(sealing, tpm, directory, &source) != CR_OK)
        return cr_check_failure(checks, "sealing");
    if (strcmp(source, "development") == 0)
        return cr_check_say(checks, CR_CHECK_WARNING, "sealing",
                            "under a development key beside the state: whoever holds the disk can open it");
    return cr_check_say(checks, CR_CHECK_OK, "sealing", "under a key of this machine, by %s", source);
}

// Reports if a container or service gets less than the whole machine; all other checks use these limits.
static enum cr_status say_limits(struct cr_checks *checks)
{
    char processors[48] = "", memory[48] = "", size[CR_SIZE_TEXT];
    size_t granted = cr_cgroup_processors("");
    if (granted <= cr_processors())
        snprintf(processors, sizeof processors, "%zu processor%s", granted, cr_plural(granted));
    if (cr_memory_is_limited())
        snprintf(memory, sizeof memory, "%s of memory", cr_size_text(cr_memory_free(), size));
    if (!*processors && !*memory) return CR_OK;
    return cr_check_say(checks, CR_CHECK_OK, "limits", "this process's control group leaves it %s%s%s",
                        processors, *processors && *memory ? " and " : "", memory);
}

static enum cr_status of_settings(struct cr_checks *checks, const char *path,
                                  const struct cr_flag_list *overrides, bool serve)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    enum cr_status status = cr_config_read_with(path, overrides->items, overrides->count, &config);
    const char *idle = serve && status == CR_OK ? cr_config_idle_data(&config) : NULL;
    if (serve) { // the data are at the silos
        cr_free(&config.tuning.data.train);
        cr_free(&config.tuning.data.eval);
    }
    if (status == CR_OK) status = cr_tuning_config_check(&config.tuning);
    if (status != CR_OK) return cr_check_failure(checks, "settings");
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "settings", "%s", path));
    if (idle) CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "settings", "%s", idle));
    CR_TRY(say_limits(checks));
    if (!serve && !config.tuning.data.train && config.silos.count > 0)
        CR_TRY(cr_check_say(checks, CR_CHECK_WARNING, "data",
                            "the simulated silos' own files are not looked at here"));
    else if (!serve && !config.tuning.data.train)
        CR_TRY(cr_check_say(
            checks, CR_CHECK_FAILED, "data",
            "data.train: not given: what is to be learned? (a federation's server needs none: --serve)"));
    CR_TRY(cr_preflight_training(checks, &config.tuning));
    if (!serve) return CR_OK;
    CR_TRY(cr_preflight_server(checks, &config));
    return cr_preflight_job(checks, &config);
}

enum cr_status cr_command_preflight(int argc, char **argv)
{
    const char *items[CR_ROLE_OVERRIDES], *argument;
    struct cr_client_options silo = {0};
    struct cr_flag_list overrides = {.items = items, .capacity = CR_ROLE_OVERRIDES};
    struct cr_checks checks = {0};
    bool serve = false, done;
    const struct cr_flag flag_items[] = {
        {"set", CR_FLAG_STRINGS, &overrides, "KEY=VALUE", "override one setting; may be given several times"},
        {"serve", CR_FLAG_BOOL, &serve, NULL, "what a federation's server needs, too"},
        {"model", CR_FLAG_STRING, &silo.model, "DIR", "with a token: the base model here"},
        {"data", CR_FLAG_STRING, &silo.data, "FILE", "with a token: the silo's training data"},
        {"state", CR_FLAG_STRING, &silo.state, "DIR", "with a token: as for `carrel join`"},
        {"sealing", CR_FLAG_STRING, &silo.sealing, "SOURCE", "with a token: as for `carrel join`"},
        {"tpm", CR_FLAG_STRING, &silo.tpm, "PATH", "with a token: as for `carrel join`"},
        {"json", CR_FLAG_BOOL, &checks.json, NULL, "one JSON object a line: check, status, detail"},
    };
    const struct cr_flags flags = {
        "carrel preflight CONFIG|TOKEN [options]",
        "Looks at all that a run will need, before it: settings, model, data, memory, disk, one forward "
        "pass; with\n"
        "--serve the server's address, job and evidence; with a join token (- reads it from standard input) "
        "the token, the "
        "clock and\n"
        "the server. It changes nothing, and a token is not spent. Fails where a check does.",
        flag_items,
        sizeof flag_items / sizeof *flag_items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &argument, NULL, &done));
    if (done) return CR_OK;
    if (strcmp(argument, "-") != 0 && strncmp(argument, "carrel2.", 8) != 0) {
        if (silo.model || silo.data || silo.state || silo.sealing || silo.tpm)
            return cr_fail(CR_INVALID, "--model, --data, --state, --sealing and --tpm are for a join token");
        CR_TRY(of_settings(&checks, argument, &overrides, serve));
    } else {
        if (serve || overrides.count > 0) return cr_fail(CR_INVALID, "--serve and --set are for settings");
        CR_TRY(say_limits(&checks));
        char token[CR_TOKEN_LIMIT];
        CR_TRY(cr_role_options_token(argc, argv, argument, token));
        enum cr_status status = cr_preflight_token(&checks, token, &silo);
        cr_wipe(token, sizeof token);
        CR_TRY(status);
    }
    return cr_checks_end(&checks);
}
