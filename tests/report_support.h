// What the tests of stories share: all that tells of a run, and a story that is told lines.
#ifndef CARREL_TESTS_REPORT_SUPPORT_H
#define CARREL_TESTS_REPORT_SUPPORT_H

#include "support.h"

#include "report/chart.h"
#include "report/events.h"
#include "report/metrics.h"
#include "report/page.h"
#include "report/prometheus.h"
#include "report/story.h"

#include <math.h>

static inline enum cr_status take(void *context, const struct cr_event *event, double time)
{
    assert_null(cr_event_field(event, "time")); // which is told beside it
    return cr_story_take(context, event, time);
}

static inline void tell(struct cr_story *story, const char *lines)
{
    size_t offset = 0;
    assert_ok(cr_events_parse(cr_slice_of_string(lines), "events", &offset, take, story));
    assert_int_equal(offset, strlen(lines));
}

#endif
