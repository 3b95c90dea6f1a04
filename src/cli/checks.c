#include "cli/checks.h"

#include "base/words.h"
#include "cli/command.h"
#include "format/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum cr_status print(const struct cr_checks *checks, enum cr_check check, const char *name,
                            const char *detail)
{
    static const char *const words[] = {"ok", "warning", "failed", "unknown"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    if (checks->json) {
        CR_TRY(cr_append_format(&line, "{\"check\": \"%s\", \"status\": \"%s\", \"detail\": ", name,
                                words[check]));
        CR_TRY(cr_json_append_told(&line, detail));
        CR_TRY(cr_append_format(&line, "}\n"));
    } else {
        CR_TRY(cr_append_format(&line, "%-8s %-11s ", words[check], name));
        CR_TRY(cr_append_plain(&line, detail));
        CR_TRY(cr_append_format(&line, "\n"));
    }
    return cr_command_print(cr_buffer_slice(&line));
}

enum cr_status cr_check_say(struct cr_checks *checks, enum cr_check check, const char *name,
                            const char *format, ...)
{
    char detail[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    checks->count++;
    checks->failed += check == CR_CHECK_FAILED;
    return print(checks, check, name, detail);
}

enum cr_status cr_check_failure(struct cr_checks *checks, const char *name)
{
    const char *message = cr_error_message();
    size_t length = strlen(name);
    bool named = strncmp(message, name, length) == 0 && strncmp(message + length, ": ", 2) == 0;
    return cr_check_say(checks, CR_CHECK_FAILED, name, "%s", message + (named ? length + 2 : 0));
}

const char *cr_size_text(double bytes, char text[CR_SIZE_TEXT])
{
    bool large = bytes >= 1e9;
    snprintf(text, CR_SIZE_TEXT, "%.1f %s", bytes / (large ? 1e9 : 1e6), large ? "GB" : "MB");
    return text;
}

enum cr_status cr_checks_end(const struct cr_checks *checks)
{
    if (checks->failed == 0) return CR_OK;
    return cr_fail(CR_INVALID, "%zu of %zu checks failed", checks->failed, checks->count);
}
