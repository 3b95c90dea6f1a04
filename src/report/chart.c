#include "report/chart.h"

#include "base/words.h"

#include <math.h>

// In the picture's units.
static const double width = 880, height = 300, left = 60, right = 36, top = 12, bottom = 42;

enum { MARKED = 60, TOUCHED = 90 }; // the most points of a line that get a dot; that show their numbers

// A loss that fell by more than this factor is drawn on a logarithmic scale, so that its end can be seen.
static const double log_range = 8;

// One axis: values from `least` to `most`, with a tick at every multiple of `tick` or, if logarithmic, at 1,
// 2 and 5 times the powers of ten.
struct axis {
    bool logarithmic;
    double least, most, tick;
    double from, to; // in the picture
};

static double place(const struct axis *axis, double value)
{
    double part = axis->logarithmic ? log(value / axis->least) / log(axis->most / axis->least)
                                    : (value - axis->least) / (axis->most - axis->least);
    return axis->from + part * (axis->to - axis->from);
}

// The distance of ticks: 1, 2 or 5 times a power of ten, such that there are at most `ticks` of them.
static double nice(double range, int ticks, double least)
{
    double wanted = range / ticks, power = pow(10, floor(log10(wanted)));
    static const double steps[] = {1, 2, 5, 10};
    size_t i = 0;
    while (i < 3 && steps[i] * power < wanted) i++;
    return fmax(steps[i] * power, least);
}

static void widen(struct axis *axis, double value)
{
    if (isnan(axis->least) || value < axis->least) axis->least = value;
    if (isnan(axis->most) || value > axis->most) axis->most = value;
}

static void set_ticks(struct axis *axis, int ticks, double least_tick)
{
    // A single value still needs a range, and huge values one that doubles can represent.
    double least_range = fmax(least_tick, fmax(fabs(axis->least), fabs(axis->most)) * 1e-6);
    if (!(axis->most - axis->least > least_range)) {
        double middle = 0.5 * axis->least + 0.5 * axis->most;
        double room = fmax(fabs(middle) * 0.1, fmax(least_range, 1e-9));
        axis->least = middle - room;
        axis->most = middle + room;
    }
    axis->tick = nice(axis->most - axis->least, ticks, least_tick);
}

// The nearest tick of a logarithmic axis at or below the value or, with `above`, at or above it.
static double log_tick(double value, bool above)
{
    static const double steps[] = {1, 2, 5, 10};
    double power = pow(10, floor(log10(value))), found = power;
    for (size_t i = 0; i < 4; i++) {
        found = steps[i] * power;
        if (above && found >= value * (1 - 1e-9)) return found;
        if (!above && steps[i + (i < 3)] * power > value * (1 + 1e-9)) return found;
    }
    return found;
}

static bool measure(const struct cr_chart_line *lines, size_t count, struct axis *x, struct axis *y)
{
    *x = (struct axis){.least = NAN, .most = NAN, .from = left, .to = width - right};
    *y = (struct axis){.least = NAN, .most = NAN, .from = height - bottom, .to = top};
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < lines[i].series->count; j++) {
            widen(x, lines[i].series->points[j].x);
            widen(y, lines[i].series->points[j].y);
        }
    if (isnan(x->least) || !isfinite(x->most - x->least) || !isfinite(y->most - y->least)) return false;
    set_ticks(x, 8, 1);
    if (y->least > 1e-100 && y->most < 1e100 && y->most / y->least > log_range) {
        y->logarithmic = true;
        y->least = log_tick(y->least, false);
        y->most = log_tick(y->most, true);
        return x->most > x->least;
    }
    set_ticks(y, 5, 0);
    y->least = floor(y->least / y->tick) * y->tick;
    y->most = ceil(y->most / y->tick) * y->tick;
    return y->most > y->least && isfinite(y->most - y->least) && x->most > x->least;
}

static enum cr_status append_y_tick(struct cr_buffer *out, const struct axis *y, double value, int decimals)
{
    double at = place(y, value);
    CR_TRY(cr_append_format(out,
                            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                            "<text class=\"y\" x=\"%.1f\" y=\"%.1f\">",
                            left, width - right, at, at, left - 8, at + 4));
    bool long_one = y->logarithmic && (value < 1e-4 || value >= 1e7);
    CR_TRY(long_one ? cr_append_format(out, "%.0e", value) : cr_append_format(out, "%.*f", decimals, value));
    return cr_append_format(out, "</text>\n");
}

static int decimals_of(double tick)
{
    return (int)fmin(fmax(-floor(log10(tick) + 1e-9), 0), 9);
}

static enum cr_status append_y_axis(struct cr_buffer *out, const struct axis *y)
{
    if (!y->logarithmic) {
        for (int i = 0; i <= 20 && y->least + i * y->tick <= y->most + y->tick / 2; i++)
            CR_TRY(append_y_tick(out, y, y->least + i * y->tick, decimals_of(y->tick)));
        return CR_OK;
    }
    // Beyond three decades, only powers of ten have ticks; from six decades on, only every second or third,
    // and so on.
    double decades = log10(y->most / y->least), value = y->least;
    int every = decades <= 3 ? 0 : 1 + (int)(decades / 6), powers = 0;
    for (int i = 0; i <= 1000 && value <= y->most * (1 + 1e-9); i++) {
        bool power = value < 1.5 * pow(10, floor(log10(value) + 1e-9));
        if (every == 0 || (power && powers++ % every == 0))
            CR_TRY(append_y_tick(out, y, value, decimals_of(value)));
        value = log_tick(value * 1.5, true);
    }
    return CR_OK;
}

static enum cr_status append_axes(struct cr_buffer *out, const struct axis *x, const struct axis *y,
                                  const char *x_name)
{
    CR_TRY(append_y_axis(out, y));
    double first = ceil(x->least / x->tick) * x->tick;
    for (int i = 0; i <= 20; i++) {
        double value = first + i * x->tick, at = place(x, value);
        if (value > x->most) break;
        CR_TRY(cr_append_format(out, "<line class=\"tick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                                at, at, height - bottom, height - bottom + 5));
        CR_TRY(cr_append_format(out, "<text class=\"x\" x=\"%.1f\" y=\"%.1f\">", at, height - bottom + 19));
        CR_TRY(cr_append_count(out, value));
        CR_TRY(cr_append_format(out, "</text>\n"));
    }
    return cr_append_format(out, "<text class=\"x name\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                            0.5 * (left + width - right), height - 6, x_name);
}

static enum cr_status append_points(struct cr_buffer *out, const struct cr_chart_line *line, bool own_colour,
                                    const struct axis *x, const struct axis *y, const char *x_name)
{
    const struct cr_series *series = line->series;
    bool marked = series->count <= MARKED && own_colour;
    size_t every = marked ? 1 : (series->count + TOUCHED - 1) / TOUCHED;
    for (size_t i = series->count - 1;; i -= every) {
        const struct cr_point *point = &series->points[i];
        CR_TRY(cr_append_format(out, "<circle%s cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>",
                                marked ? "" : " class=\"touch\"", place(x, point->x), place(y, point->y),
                                marked ? "3" : "8"));
        CR_TRY(cr_html_append(out, line->name));
        CR_TRY(cr_append_format(out, ", %s ", x_name));
        CR_TRY(cr_append_count(out, point->x));
        CR_TRY(cr_append_format(out, ": %.5g</title></circle>\n", point->y));
        if (i < every) return CR_OK;
    }
}

// `colour`: the number of the line's own colour, or CR_CHART_COLOURS for the shared one.
static enum cr_status append_line(struct cr_buffer *out, const struct cr_chart_line *line, size_t colour,
                                  const struct axis *x, const struct axis *y, const char *x_name)
{
    const struct cr_series *series = line->series;
    bool own_colour = colour < CR_CHART_COLOURS;
    CR_TRY(own_colour ? cr_append_format(out, "<g class=\"c%zu\"><path d=\"", colour)
                      : cr_append_format(out, "<g class=\"many\"><path d=\""));
    for (size_t i = 0; i < series->count; i++)
        CR_TRY(cr_append_format(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', place(x, series->points[i].x),
                                place(y, series->points[i].y)));
    CR_TRY(cr_append_format(out, "\"/>\n"));
    CR_TRY(append_points(out, line, own_colour, x, y, x_name));
    return cr_append_format(out, "</g>\n");
}

static enum cr_status append_legend(struct cr_buffer *out, const struct cr_chart_line *lines, size_t count,
                                    size_t drawn)
{
    CR_TRY(cr_append_format(out, "<ul class=\"legend\">"));
    for (size_t i = 0, number = 0; i < count; i++) {
        if (lines[i].series->count == 0) continue;
        CR_TRY(cr_append_format(out, "<li class=\"c%zu\">", number++));
        CR_TRY(cr_html_append(out, lines[i].name));
        CR_TRY(cr_append_format(out, "</li>"));
        if (drawn <= CR_CHART_COLOURS) continue;
        CR_TRY(cr_append_format(out, "<li class=\"many\">%zu others</li>", drawn - 1));
        break;
    }
    return cr_append_format(out, "</ul>\n");
}

// If there are more lines than colours, only the first has its own, and is drawn over the others.
static enum cr_status append_lines(struct cr_buffer *out, const struct cr_chart_line *lines, size_t count,
                                   size_t drawn, const struct axis *x, const struct axis *y,
                                   const char *x_name)
{
    bool many = drawn > CR_CHART_COLOURS;
    for (size_t i = 0, number = 0; i < count; i++) {
        const struct cr_chart_line *line = &lines[many ? count - 1 - i : i];
        if (line->series->count == 0) continue;
        bool first = many && number == drawn - 1;
        CR_TRY(append_line(out, line, first ? 0 : many ? CR_CHART_COLOURS : number, x, y, x_name));
        number++;
    }
    return CR_OK;
}

enum cr_status cr_chart_append(struct cr_buffer *out, const char *title, const char *x_name,
                               const struct cr_chart_line *lines, size_t count)
{
    struct axis x, y;
    if (!measure(lines, count, &x, &y)) return CR_OK;
    size_t drawn = 0;
    for (size_t i = 0; i < count; i++) drawn += lines[i].series->count > 0;
    CR_TRY(cr_append_format(out, "<figure><figcaption>%s%s</figcaption>\n", title,
                            y.logarithmic ? " <small>(logarithmic scale)</small>" : ""));
    CR_TRY(append_legend(out, lines, count, drawn));
    CR_TRY(cr_append_format(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", width,
                            height, title));
    CR_TRY(append_axes(out, &x, &y, x_name));
    CR_TRY(append_lines(out, lines, count, drawn, &x, &y, x_name));
    return cr_append_format(out, "</svg></figure>\n");
}

enum cr_status cr_html_append(struct cr_buffer *out, const char *text)
{
    for (; *text; text++) {
        const char *escaped = *text == '<'    ? "&lt;"
                              : *text == '>'  ? "&gt;"
                              : *text == '&'  ? "&amp;"
                              : *text == '"'  ? "&quot;"
                              : *text == '\'' ? "&#39;"
                                              : NULL;
        if (escaped)
            CR_TRY(cr_append_format(out, "%s", escaped));
        else
            CR_TRY(cr_append_u8(out, (uint8_t)*text));
    }
    return CR_OK;
}
