#include "cli/bench_directory.h"

#include "base/file.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPEN_AT_ONCE = 16 };

enum cr_status cr_bench_directory_make(char **directory)
{
    const char *parent = getenv("TMPDIR");
    CR_FREE char *made = NULL;
    CR_TRY(cr_path_join(parent ? parent : "/tmp", "carrel-bench-XXXXXX", &made));
    if (!mkdtemp(made)) return cr_fail_errno(CR_IO, "%s: cannot be made", made);
    *directory = made;
    made = NULL;
    return CR_OK;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    return remove(path);
}

void cr_bench_directory_remove(const char *directory)
{
    if (directory) nftw(directory, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS);
}
