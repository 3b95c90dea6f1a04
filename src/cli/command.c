#include "cli/command.h"

#include "base/file.h"

#include <stdio.h>
#include <unistd.h>

enum cr_status cr_command_print(struct cr_slice text)
{
    size_t put = fwrite(text.data, 1, text.size, stdout);
    if (put != text.size || fflush(stdout) != 0) return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

enum cr_status cr_command_flags(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                                size_t *positional_count, bool *done)
{
    CR_TRY(cr_flags_parse(flags, argc, argv, positional, positional_count, done));
    if (!*done) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_flags_help(flags, &text));
    return cr_command_print(cr_buffer_slice(&text));
}

enum cr_status cr_command_sibling(const char *program, char **out)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return cr_fail_errno(CR_IO, "/proc/self/exe");
    self[length] = 0;
    CR_FREE char *directory = NULL;
    CR_TRY(cr_path_directory(self, &directory));
    return cr_path_join(directory, program, out);
}
