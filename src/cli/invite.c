// carrel invite: makes a join token for one silo.
#include "cli/command.h"

#include "base/parse.h"
#include "federation/invitation.h"
#include "federation/role_options.h"

#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

// Files that one user writes there cannot be read by another user's server.
static enum cr_status check_owner(const char *state_dir)
{
    struct stat found;
    if (stat(state_dir, &found) != 0 || found.st_uid == geteuid()) return CR_OK;
    char number[24]; // in sudo's form
    snprintf(number, sizeof number, "'#%ju'", (uintmax_t)found.st_uid);
    const struct passwd *owner = getpwuid(found.st_uid);
    const char *name = owner ? owner->pw_name : number;
    return cr_fail(CR_DENIED,
                   "%s belongs to %s, whose server could not read the invitation (run it as that user: sudo "
                   "-u %s carrel invite ...)",
                   state_dir, name, name);
}

enum cr_status cr_command_invite(int argc, char **argv)
{
    const char *settings[CR_ROLE_OVERRIDES], *path = NULL, *role = "silo", *expires = "24h", *name;
    struct cr_flag_list overrides = {.items = settings, .capacity = CR_ROLE_OVERRIDES};
    bool done;
    const struct cr_flag items[] = {
        {"config", CR_FLAG_REQUIRED, &path, "CONFIG", "the server's settings"},
        {"set", CR_FLAG_STRINGS, &overrides, "KEY=VALUE",
         "a setting that `carrel serve` is given over those"},
        {"role", CR_FLAG_STRING, &role, "ROLE", "what the token's holder will be: silo, the default"},
        {"expires", CR_FLAG_STRING, &expires, "TIME",
         "how long the token is good: 30s, 90m, 24h (the default), 7d"},
    };
    const struct cr_flags flags = {
        "carrel invite NAME --config CONFIG [options]",
        "Prints a join token for a silo of that name: all that `carrel join` needs. It is good once. Whoever "
        "holds\n"
        "it can enrol as NAME, so hand it over as you would a password. The server may be running or not.\n"
        "Inviting a name again changes nothing until the new token is used, with a --state that is not\n"
        "enrolled yet: the identity that the name had before is refused from then on.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &name, NULL, &done));
    if (done) return CR_OK;
    double seconds;
    if (!cr_parse_duration(expires, &seconds))
        return cr_fail(CR_INVALID, "\"%.40s\" is no duration: 30s, 90m, 24h or 7d are", expires);
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(cr_config_read_with(path, overrides.items, overrides.count, &config));
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer token = {0};
    CR_TRY(check_owner(config.federation.state_dir));
    CR_TRY(cr_invite(&config, name, role, seconds, &token));
    CR_TRY(cr_append_u8(&token, '\n'));
    return cr_command_print(cr_buffer_slice(&token));
}
