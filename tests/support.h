// What every unit test includes: cmocka in the order it wants, and short forms of common checks.
#ifndef CARREL_TESTS_SUPPORT_H
#define CARREL_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Seconds after which what is waited for does not come: more than anything takes, under valgrind as well, and
// less than a program may take in all (tests/CMakeLists.txt).
enum { PATIENCE = 240 };

// What a sanitizer or valgrind looks for shows in fewer tries, which take it many times as long: 1 in the
// release build alone (tests/CMakeLists.txt).
enum { THOROUGH = CARREL_THOROUGH };

// The call succeeds; its sentence is shown where it does not.
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        enum cr_status got_ = (call);                                                                        \
        if (got_ != CR_OK) fail_msg("%s: %s", #call, cr_error_message());                                    \
    } while (0)

// The call fails with this code, and its sentence holds `part`.
#define assert_fails(code, part, call)                                                                       \
    do {                                                                                                     \
        enum cr_status got_ = (call);                                                                        \
        if (got_ != (code)) fail_msg("%s: status %s, not %s", #call, cr_status_name(got_), #code);           \
        if (!strstr(cr_error_message(), (part))) fail_msg("\"%s\" lacks \"%s\"", cr_error_message(), part);  \
    } while (0)

// The folder of third-party data ($CARREL_DATA or ../shared/data), or skips the test where there is none.
static inline const char *shared_data(void)
{
    const char *path = getenv("CARREL_DATA");
    if (!path) path = "../shared/data";
    if (access(path, R_OK) != 0) {
        print_message("third-party data not found at %s: set CARREL_DATA\n", path);
        skip();
    }
    return path;
}

// A file of these bytes. It is not synced as cr_file_write's is, which takes longer than many a test.
static inline void write_bytes(const char *path, struct cr_slice bytes)
{
    FILE *file = fopen(path, "we");
    size_t written = file && bytes.size > 0 ? fwrite(bytes.data, 1, bytes.size, file) : 0;
    if (!file || written != bytes.size || fclose(file) != 0) fail_msg("%s cannot be written", path);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, cr_slice_of_string(text));
}

#endif
