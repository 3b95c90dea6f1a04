// The lines of a preflight: what was checked, the result, and why.
#ifndef CARREL_CLI_CHECKS_H
#define CARREL_CLI_CHECKS_H

#include "base/bytes.h"

// CR_CHECK_UNKNOWN: not known yet; neither prevents a run nor confirms that it will work.
enum cr_check { CR_CHECK_OK, CR_CHECK_WARNING, CR_CHECK_FAILED, CR_CHECK_UNKNOWN };

// Zero-initialise; the caller sets `json`.
struct cr_checks {
    bool json;
    size_t count, failed;
};

// Prints a line immediately, to show progress. With JSON, one object per line: check, status, detail.
enum cr_status cr_check_say(struct cr_checks *checks, enum cr_check check, const char *name,
                            const char *format, ...) CR_PRINTF(4, 5);

// Prints the current failure as a line; returns CR_OK, so that the other checks continue, unless the line
// cannot be printed.
enum cr_status cr_check_failure(struct cr_checks *checks, const char *name);

// "12.3 MB", "4.5 GB".
enum { CR_SIZE_TEXT = 28 };
const char *cr_size_text(double bytes, char text[CR_SIZE_TEXT]);

// CR_INVALID if any check failed.
enum cr_status cr_checks_end(const struct cr_checks *checks);

#endif
