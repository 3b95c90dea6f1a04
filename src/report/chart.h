// Draws curves as one inline SVG picture with axes, a legend, and the numbers of the point under the mouse.
// The page's style (report/page.c) has the colours: classes c0 to c7, and "many" for all lines but the first
// if there are more lines than colours.
#ifndef CARREL_REPORT_CHART_H
#define CARREL_REPORT_CHART_H

#include "base/bytes.h"
#include "report/series.h"

enum { CR_CHART_COLOURS = 8 };

struct cr_chart_line {
    const char *name;
    const struct cr_series *series;
};

// Appends a <figure>; nothing if no line has a point. x counts whole things ("step", "round").
enum cr_status cr_chart_append(struct cr_buffer *out, const char *title, const char *x_name,
                               const struct cr_chart_line *lines, size_t count);

// Appends text with HTML's special characters escaped.
enum cr_status cr_html_append(struct cr_buffer *out, const char *text);

#endif
