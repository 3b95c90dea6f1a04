#include "base/flags.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FLAGS = 64, LONGEST_NAME = 63 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > LONGEST_NAME || b_length > LONGEST_NAME) return SIZE_MAX;
    size_t row[LONGEST_NAME + 1];
    for (size_t j = 0; j <= b_length; j++) row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replaced, smaller(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b_length];
}

const char *cr_nearest_name(const char *name, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t least = 1 + strlen(name) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, candidates[i]);
        if (distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

bool cr_parse_unsigned(const char *text, uint64_t *out)
{
    for (const char *c = text; *c; c++)
        if (*c < '0' || *c > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (text[0] == 0 || errno != 0) return false;
    *out = value;
    return true;
}

bool cr_parse_number(const char *text, double *out)
{
    char *end;
    if (text[0] == 0 || isspace((unsigned char)text[0])) return false;
    double value = strtod(text, &end);
    if (*end != 0 || !isfinite(value)) return false;
    *out = value;
    return true;
}

static const struct cr_flag *find_flag(const struct cr_flags *flags, const char *name, size_t length)
{
    for (size_t i = 0; i < flags->count; i++)
        if (strlen(flags->items[i].name) == length && strncmp(flags->items[i].name, name, length) == 0)
            return &flags->items[i];
    return NULL;
}

static enum cr_status unknown_flag(const struct cr_flags *flags, const char *argument, size_t length)
{
    const char *names[MOST_FLAGS];
    size_t count = smaller(flags->count, MOST_FLAGS);
    for (size_t i = 0; i < count; i++) names[i] = flags->items[i].name;
    char name[LONGEST_NAME + 1] = "";
    if (length <= LONGEST_NAME) memcpy(name, argument + 2, length);
    const char *nearest = cr_nearest_name(name, names, count);
    if (nearest) return cr_fail(CR_INVALID, "unknown option %s (did you mean --%s?)", argument, nearest);
    return cr_fail(CR_INVALID, "unknown option %s (usage: %s)", argument, flags->usage);
}

static enum cr_status set_flag(const struct cr_flag *flag, const char *value)
{
    uint64_t whole;
    switch (flag->type) {
    case CR_FLAG_BOOL:
        *(bool *)flag->target = true;
        return CR_OK;
    case CR_FLAG_STRING:
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
        if (!cr_parse_number(value, (double *)flag->target))
            return cr_fail(CR_INVALID, "--%s: \"%s\" is no number", flag->name, value);
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
        CR_TRY(set_flag(flag, value));
    }
    if (found < flags->least_positional)
        return cr_fail(CR_INVALID, "an argument is missing (usage: %s)", flags->usage);
    *positional_count = found;
    return CR_OK;
}

enum cr_status cr_flags_help(const struct cr_flags *flags, struct cr_buffer *out)
{
    CR_TRY(cr_append_format(out, "usage: %s\n\n%s\n\n", flags->usage, flags->summary));
    size_t widest = strlen("--help");
    for (size_t i = 0; i < flags->count; i++) {
        const struct cr_flag *flag = &flags->items[i];
        size_t width = 2 + strlen(flag->name) + (flag->argument ? 1 + strlen(flag->argument) : 0);
        if (width > widest) widest = width;
    }
    for (size_t i = 0; i < flags->count; i++) {
        const struct cr_flag *flag = &flags->items[i];
        int rest = (int)(widest - 2 - strlen(flag->name));
        CR_TRY(cr_append_format(out, "  --%s %-*s %s\n", flag->name, rest > 0 ? rest - 1 : 0,
                                flag->argument ? flag->argument : "", flag->help));
    }
    return cr_append_format(out, "  %-*s print this text\n", (int)widest, "--help");
}
