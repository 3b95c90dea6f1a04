// New directories for results that are complete from the start.
#include "tuning/place.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum cr_status cr_place_is_free(const char *output, const char *model)
{
    struct stat there;
    if (lstat(output, &there) != 0) return errno == ENOENT ? CR_OK : cr_fail_errno(CR_IO, "%s", output);
    if (S_ISLNK(there.st_mode)) // a directory cannot take a link's name
        return cr_fail(CR_INVALID, "%s: a link; name what it leads to", output);
    if (!S_ISDIR(there.st_mode)) return cr_fail(CR_INVALID, "%s: there is a file of that name", output);
    CR_TRY(cr_place_is_not_model(output, model));
    DIR *directory = opendir(output);
    if (!directory) return cr_fail_errno(CR_IO, "%s", output);
    size_t entries = 0;
    while (readdir(directory)) entries++;
    closedir(directory);
    if (entries > 2) // "." and ".."
        return cr_fail(CR_INVALID, "%s: holds files already; name a new directory", output);
    return CR_OK;
}

enum cr_status cr_place_make_beside(const char *output, struct cr_buffer *path)
{
    CR_TRY(cr_append_format(path, "%s", output));
    CR_FREE char *parent = NULL;
    CR_TRY(cr_path_directory(cr_buffer_text(path), &parent));
    CR_TRY(cr_directory_make(parent, false));
    CR_TRY(cr_append_format(path, ".merging-XXXXXX"));
    if (!mkdtemp((char *)path->data)) return cr_fail_errno(CR_IO, "%s: cannot be made", cr_buffer_text(path));
    return CR_OK;
}

void cr_place_remove(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(path);
}
