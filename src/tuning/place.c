#include "tuning/place.h"

#include "base/file.h"

#include <sys/stat.h>

enum cr_status cr_place_is_not_model(const char *directory, const char *model)
{
    struct stat there, own;
    if (stat(directory, &there) != 0 || stat(model, &own) != 0) return CR_OK;
    if (there.st_dev != own.st_dev || there.st_ino != own.st_ino) return CR_OK;
    return cr_fail(CR_INVALID, "%s: is the base model itself, which stays as it is", directory);
}

enum cr_status cr_place_check(const char *directory, const char *model, int method)
{
    bool full = method == CR_METHOD_FULL;
    CR_FREE char *other = NULL;
    CR_TRY(cr_place_is_not_model(directory, model));
    CR_TRY(cr_path_join(directory, full ? "adapter_config.json" : "config.json", &other));
    if (!cr_file_exists(other)) return CR_OK;
    return cr_fail(CR_INVALID,
                   "%s: holds %s already, and %s beside it would be taken for its part; name another",
                   directory, full ? "an adapter" : "a model", full ? "a model" : "an adapter");
}
