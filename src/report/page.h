// Writes a run as one HTML page: its state, curves, silos and settings. The page is self-contained: no
// script, nothing to fetch.
#ifndef CARREL_REPORT_PAGE_H
#define CARREL_REPORT_PAGE_H

#include "base/bytes.h"
#include "report/story.h"

// `name`: the run's; `settings`: YAML, shown as it is; `alive`: the run continues, and the page reloads
// itself; `now`: Unix seconds.
enum cr_status cr_page_append(struct cr_buffer *out, const struct cr_story *story, const char *name,
                              const char *settings, bool alive, double now);

#endif
