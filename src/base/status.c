#include "base/status.h"

#include "base/words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 1024 };

static _Thread_local char message[MESSAGE_SIZE] = "no error";

enum cr_status cr_fail(enum cr_status code, const char *format, ...)
{
    // Formatted into a separate buffer: an argument may be the previous message itself.
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cr_make_plain(text); // one line, whatever it quotes
    memcpy(message, text, sizeof message);
    return code;
}

enum cr_status cr_fail_errno(enum cr_status code, const char *format, ...)
{
    int saved = errno;
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char reason[128];
    if (saved == ENOMEM) code = CR_NO_MEMORY;
    return cr_fail(code, "%s: %s", text, strerror_r(saved, reason, sizeof reason));
}

enum cr_status cr_fail_within(enum cr_status code, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return cr_fail(code, "%s: %s", text, message);
}

const char *cr_error_message(void)
{
    return message;
}

const char *cr_status_name(enum cr_status code)
{
    static const char *const names[] = {
        [CR_OK] = "ok",
        [CR_INVALID] = "its input is wrong",
        [CR_NOT_FOUND] = "a file is not there",
        [CR_IO] = "a file or a connection failed",
        [CR_NO_MEMORY] = "its memory is too small",
        [CR_UNSUPPORTED] = "its input is not supported",
        [CR_DENIED] = "it was refused",
        [CR_PROTOCOL] = "the protocol was broken",
        [CR_TIMEOUT] = "there was no progress in time",
        [CR_CANCELLED] = "it was stopped",
        [CR_INTERNAL] = "an error of its own",
    };
    return names[code];
}

int cr_exit_code(enum cr_status code)
{
    switch (code) {
    case CR_OK:
        return 0;
    case CR_INVALID:
    case CR_UNSUPPORTED:
        return 2;
    case CR_NOT_FOUND:
    case CR_IO:
        return 3;
    case CR_DENIED:
    case CR_PROTOCOL:
        return 4;
    case CR_TIMEOUT:
        return 5;
    case CR_CANCELLED:
        return 130;
    case CR_NO_MEMORY:
    case CR_INTERNAL:
        break;
    }
    return 1;
}
