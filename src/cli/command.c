#include "cli/command.h"

#include "base/file.h"
#include "base/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum cr_status cr_command_print(struct cr_slice text)
{
    size_t put = fwrite(text.data, 1, text.size, stdout);
    if (put != text.size || fflush(stdout) != 0) return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

bool cr_command_is_screen(int fd)
{
    const char *kind = getenv("TERM");
    return isatty(fd) && kind && strcmp(kind, "dumb") != 0;
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

static enum cr_status print_parts(const char *command, const struct cr_command *parts, size_t count)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "usage: carrel %s ", command));
    for (size_t i = 0; i < count; i++)
        CR_TRY(cr_append_format(&text, "%s%s", i > 0 ? "|" : "", parts[i].name));
    CR_TRY(cr_append_format(&text, " [options]\n\n"));
    for (size_t i = 0; i < count; i++)
        CR_TRY(cr_append_format(&text, "  %-10s %s\n", parts[i].name, parts[i].summary));
    CR_TRY(cr_append_format(&text, "\nEach tells more with --help.\n"));
    return cr_command_print(cr_buffer_slice(&text));
}

enum cr_status cr_command_of(const char *command, const struct cr_command *parts, size_t count, int argc,
                             char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    CR_FREE const char **names = NULL;
    CR_TRY(cr_allocate(count, sizeof *names, &names));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parts[i].name, name) == 0) return parts[i].run(argc - 1, argv + 1);
        names[i] = parts[i].name;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return print_parts(command, parts, count);
    const char *colon = *command ? ": " : "", *space = *command ? " " : "";
    if (name[0] == 0)
        return cr_fail(CR_INVALID, "%s%swhich command? (carrel %s%s--help lists them)", command, colon,
                       command, space);
    const char *nearest = cr_nearest_name(name, names, count);
    if (nearest)
        return cr_fail(CR_INVALID, "%s%sunknown command \"%s\" (did you mean %s?)", command, colon, name,
                       nearest);
    return cr_fail(CR_INVALID, "%s%sunknown command \"%s\" (carrel %s%s--help lists them)", command, colon,
                   name, command, space);
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
