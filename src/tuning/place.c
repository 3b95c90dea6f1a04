#include "tuning/place.h"

#include "base/file.h"
#include "tuning/checkpoint.h"
#include "tuning/spf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char cr_place_state[] = "trainer.state";

// Whether it is an unfinished version of one of these files; the list ends with NULL.
static bool is_one_of(const char *name, const char *const *files)
{
    for (; *files; files++)
        if (cr_file_is_unfinished(name, *files)) return true;
    return false;
}

static bool is_unfinished(const char *name)
{
    static const char *const written[] = {
        cr_place_state,          "result.sealed",   "adapter_model.safetensors", "adapter_config.json",
        "spf_model.safetensors", "spf_config.json", "model.safetensors",         NULL};
    return is_one_of(name, written) || is_one_of(name, cr_checkpoint_copied);
}

// Locks the directory itself, which is the same under all its names.
enum cr_status cr_place_take(const char *directory, int *out)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s", directory);
    // A file system without locks for directories is no reason not to run.
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(fd);
        return cr_fail(CR_INVALID, "%s: another run writes its result there", directory);
    }
    cr_directory_sweep(directory, is_unfinished);
    *out = fd;
    return CR_OK;
}

bool cr_place_is_same(const char *one, const char *other)
{
    struct stat first, second;
    return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

enum cr_status cr_place_is_not_model(const char *directory, const char *model)
{
    if (!cr_place_is_same(directory, model)) return CR_OK;
    return cr_fail(CR_INVALID, "%s: is the base model itself, which stays as it is", directory);
}

enum { KINDS = 3 };

struct kind {
    const char *file, *what;
    bool ours; // part of the method's result
};

static void kinds_of(int method, struct kind kinds[KINDS])
{
    kinds[0] = (struct kind){"config.json", "a model", method == CR_METHOD_FULL};
    kinds[1] = (struct kind){"adapter_config.json", "an adapter",
                             cr_method_has_lora(method) || method == CR_METHOD_PREFIX_TUNING};
    kinds[2] = (struct kind){cr_spf_config_name, "a sparse change", cr_method_has_spf(method)};
}

enum cr_status cr_place_check(const char *directory, const char *model, int method)
{
    struct kind kinds[KINDS];
    kinds_of(method, kinds);
    CR_FREE char *config = NULL;
    CR_TRY(cr_place_is_not_model(directory, model));
    CR_TRY(cr_path_join(directory, kinds[0].file, &config));
    CR_TRY(cr_file_look(config));
    size_t own = 0;
    while (!kinds[own].ours) own++;
    for (size_t i = 0; i < KINDS; i++)
        if (!kinds[i].ours && cr_directory_has(directory, kinds[i].file))
            return cr_fail(CR_INVALID,
                           "%s: holds %s already, and %s beside it would be taken for its part; name another",
                           directory, kinds[i].what, kinds[own].what);
    return CR_OK;
}

bool cr_place_is_replaced(const char *directory, int method, char *sentence, size_t size)
{
    struct kind kinds[KINDS];
    kinds_of(method, kinds);
    const char *what = NULL;
    for (size_t i = 0; i < KINDS && !what; i++)
        if (kinds[i].ours && cr_directory_has(directory, kinds[i].file)) what = kinds[i].what;
    if (!what || cr_directory_has(directory, cr_place_state)) return false;
    snprintf(sentence, size, "%s holds %s of a finished run, which this one replaces at its end", directory,
             what);
    return true;
}
