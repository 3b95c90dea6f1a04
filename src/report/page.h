// A run as one page: what became of it, curves, silos, settings. It stands alone: no script, nothing fetched.
#ifndef CARREL_REPORT_PAGE_H
#define CARREL_REPORT_PAGE_H

#include "base/bytes.h"
#include "report/story.h"

// `name`: of the run; `settings`: YAML, shown as it is; `alive`: it goes on, and the page reloads itself;
// `now`: Unix seconds.
enum cr_status cr_page_append(struct cr_buffer *out, const struct cr_story *story, const char *name,
                              const char *settings, bool alive, double now);

#endif
