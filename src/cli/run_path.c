#include "cli/run_path.h"

#include "base/file.h"
#include "federation/config.h"
#include "report/run_dir.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static bool is_run_dir(const char *path)
{
    return cr_directory_has(path, "events.jsonl");
}

// Finds the only one in the working directory.
static enum cr_status find_here(char **out)
{
    DIR *here = opendir(".");
    if (!here) return cr_fail_errno(CR_IO, "the working directory");
    CR_FREE char *found = NULL;
    size_t count = 0;
    enum cr_status status = CR_OK;
    for (struct dirent *entry = readdir(here); entry && status == CR_OK; entry = readdir(here)) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".run") != 0 || !is_run_dir(entry->d_name))
            continue;
        if (count++ == 0) status = cr_copy_string(entry->d_name, &found);
    }
    closedir(here);
    CR_TRY(status);
    if (count == 0)
        return cr_fail(CR_NOT_FOUND, "no run directory is here: name one, or the settings of its run");
    if (count > 1)
        return cr_fail(CR_INVALID, "%zu run directories are here, %s among them: name the one that is meant",
                       count, found);
    *out = found;
    found = NULL;
    return CR_OK;
}

static enum cr_status find_of(const char *argument, const char *directory, char **out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_run_dir_path(directory, &path));
    if (!is_run_dir(path))
        return cr_fail(CR_NOT_FOUND, "%s: no run of it is known here (%s is no run directory)", argument,
                       path);
    *out = path;
    path = NULL;
    return CR_OK;
}

enum cr_status cr_run_path_find(const char *argument, char **out)
{
    if (!argument) return find_here(out);
    if (is_run_dir(argument)) return cr_copy_string(argument, out);
    struct stat stat_buffer;
    if (stat(argument, &stat_buffer) != 0 || S_ISDIR(stat_buffer.st_mode))
        return find_of(argument, argument, out);
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(cr_config_read(argument, &config));
    return find_of(argument, config.tuning.output_dir, out);
}
