// Curves as one inline SVG picture with axes, a legend and, where the mouse rests on a point, its numbers.
// Colours come from the page's style (report/page.c): classes c0 to c7, and "many" for all but the first
// where there are more lines than colours.
#ifndef CARREL_REPORT_CHART_H
#define CARREL_REPORT_CHART_H

#include "base/bytes.h"
#include "report/series.h"

enum { CR_CHART_COLOURS = 8 };

struct cr_chart_line {
    const char *name;
    const struct cr_series *series;
};

// Appends a <figure>; nothing where no line has a point. x counts whole things ("step", "round").
enum cr_status cr_chart_append(struct cr_buffer *out, const char *title, const char *x_name,
                               const struct cr_chart_line *lines, size_t count);

// Appends text with what HTML takes for its own escaped.
enum cr_status cr_html_append(struct cr_buffer *out, const char *text);

#endif
