#include "base/flags.h"

#include "base/parse.h"

#include <math.h>
#include <string.h>

enum { MOST_FLAGS = 64, LONGEST_NAME = 63 };

static const struct cr_flag *find_flag(const struct cr_flags *flags, const char *name, size_t length)
{
    for (size_t i = 0; i < flags->count; i++)
        if (strlen(flags->items[i].name) == length && strncmp(flags->items[i].name, name, length) == 0)
            return &flags->items[i];
    return NULL;
}

// Names by which other programs choose a GPU.
static bool is_for_gpus(const char *name)
{
    static const char *const names[] = {"device", "devices", "gpu", "gpus", "cuda"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static enum cr_status unknown_flag(const struct cr_flags *flags, const char *argument, size_t length)
{
    const char *names[MOST_FLAGS];
    size_t count = cr_least(flags->count, MOST_FLAGS);
    for (size_t i = 0; i < count; i++) names[i] = flags->items[i].name;
    char name[LONGEST_NAME + 1] = "";
    if (length <= LONGEST_NAME) memcpy(name, argument + 2, length);
    if (is_for_gpus(name))
        return cr_fail(CR_INVALID, "unknown option %s (carrel computes on the processor alone)", argument);
    const char *nearest = cr_nearest_name(name, names, count);
    if (nearest) return cr_fail(CR_INVALID, "unknown option %s (did you mean --%s?)", argument, nearest);
    return cr_fail(CR_INVALID, "unknown option %s (usage: %s)", argument, flags->usage);
}

// An empty path usually comes from an unset shell variable, and would be taken for the working directory.
static bool is_place(const struct cr_flag *flag)
{
    static const char *const places[] = {"DIR", "FILE", "PATH", "CONFIG"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (flag->argument && strcmp(flag->argument, places[i]) == 0) return true;
    return false;
}

static enum cr_status set_flag(const struct cr_flag *flag, const char *value)
{
    uint64_t whole;
    double number;
    switch (flag->type) {
    case CR_FLAG_BOOL:
        *(bool *)flag->target = true;
        return CR_OK;
    case CR_FLAG_STRING:
    case CR_FLAG_REQUIRED:
        *(const char **)flag->target = value;
        return CR_OK;
    case CR_FLAG_SIZE:
        if (!cr_parse_unsigned(value, &whole) || whole > SIZE_MAX / 2)
            return cr_fail(CR_INVALID, "--%s: \"%s\" is no whole number", flag->name, value);
        *(size_t *)flag->target = whole;
        return CR_OK;
    case CR_FLAG_SEED:
        if (!cr_parse_unsigned(value, (uint64_t *)flag->target))
            return cr_fail(CR_INVALID, "--%s: \"%s\" is no whole number", flag->name, value);
        return CR_OK;
    case CR_FLAG_NUMBER:
        if (!cr_parse_number(value, &number) || !isfinite(number))
            return cr_fail(CR_INVALID, "--%s: \"%s\" is no number", flag->name, value);
        *(double *)flag->target = number;
        return CR_OK;
    case CR_FLAG_STRINGS: {
        struct cr_flag_list *list = flag->target;
        if (list->count == list->capacity)
            return cr_fail(CR_INVALID, "--%s: given more than %zu times", flag->name, list->capacity);
        list->items[list->count++] = value;
        return CR_OK;
    }
    }
    return cr_fail(CR_INTERNAL, "--%s: unknown kind of flag", flag->name);
}

static enum cr_status check_required(const struct cr_flags *flags)
{
    for (size_t i = 0; i < flags->count; i++) {
        const struct cr_flag *flag = &flags->items[i];
        if (flag->type == CR_FLAG_REQUIRED && !*(const char **)flag->target)
            return cr_fail(CR_INVALID, "--%s %s is missing", flag->name, flag->argument);
    }
    return CR_OK;
}

enum cr_status cr_flags_parse(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                              size_t *positional_count, bool *help)
{
    *help = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) *help = true;
    if (*help) return CR_OK;

    bool given[MOST_FLAGS] = {false};
    size_t found = 0;
    bool only_positional = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!only_positional && strcmp(argument, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || argument[0] != '-' || argument[1] == 0) {
            if (found == flags->most_positional)
                return cr_fail(CR_INVALID, "surplus argument \"%s\" (usage: %s)", argument, flags->usage);
            if (argument[0] == 0)
                return cr_fail(CR_INVALID, "an argument is empty (usage: %s)", flags->usage);
            positional[found++] = argument;
            continue;
        }
        if (argument[1] != '-')
            return cr_fail(CR_INVALID, "unknown option %s (options begin with --)", argument);
        size_t length = strcspn(argument + 2, "=");
        const struct cr_flag *flag = find_flag(flags, argument + 2, length);
        if (!flag) return unknown_flag(flags, argument, length);
        const char *value = argument[2 + length] == '=' ? argument + 3 + length : NULL;
        if (flag->type == CR_FLAG_BOOL && value)
            return cr_fail(CR_INVALID, "--%s takes no argument", flag->name);
        if (flag->type != CR_FLAG_BOOL && !value) {
            if (i + 1 == argc)
                return cr_fail(CR_INVALID, "--%s wants an argument: %s", flag->name, flag->argument);
            value = argv[++i];
        }
        size_t index = (size_t)(flag - flags->items);
        if (index < MOST_FLAGS && given[index] && flag->type != CR_FLAG_STRINGS)
            return cr_fail(CR_INVALID, "--%s is given twice", flag->name);
        if (index < MOST_FLAGS) given[index] = true;
        if (is_place(flag) && value[0] == 0) return cr_fail(CR_INVALID, "--%s: empty", flag->name);
        CR_TRY(set_flag(flag, value));
    }
    if (found < flags->least_positional)
        return cr_fail(CR_INVALID, "an argument is missing (usage: %s)", flags->usage);
    if (positional_count) *positional_count = found;
    return check_required(flags);
}

// Characters of "--name ARGUMENT".
static size_t flag_width(const struct cr_flag *flag)
{
    return 2 + strlen(flag->name) + (flag->argument ? 1 + strlen(flag->argument) : 0);
}

enum cr_status cr_flags_help(const struct cr_flags *flags, struct cr_buffer *out)
{
    enum { WIDTH = 80 }; // of a terminal
    CR_TRY(cr_append_format(out, "usage: %s\n\n", flags->usage));
    CR_TRY(cr_append_words(out, flags->summary, 0, WIDTH, ""));
    CR_TRY(cr_append_format(out, "\n\n"));
    size_t widest = strlen("--help");
    for (size_t i = 0; i < flags->count; i++) widest = cr_most(widest, flag_width(&flags->items[i]));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer margin = {0};
    CR_TRY(cr_append_format(&margin, "%*s", (int)(2 + widest + 1), ""));
    for (size_t i = 0; i < flags->count; i++) {
        const struct cr_flag *flag = &flags->items[i];
        size_t width = flag_width(flag);
        CR_TRY(cr_append_format(out, "  --%s%s%s%*s ", flag->name, flag->argument ? " " : "",
                                flag->argument ? flag->argument : "", (int)(widest - width), ""));
        CR_TRY(cr_append_words(out, flag->help, margin.size, WIDTH, cr_buffer_text(&margin)));
        CR_TRY(cr_append_format(out, "\n"));
    }
    return cr_append_format(out, "  %-*s print this text\n", (int)widest, "--help");
}
