#include "report/series.h"

#include "base/memory.h"

#include <math.h>

static void merge(struct cr_point *into, const struct cr_point *next)
{
    double weight = into->weight + next->weight;
    double y = into->y * (into->weight / weight) + next->y * (next->weight / weight);
    *into = (struct cr_point){next->x, y, weight};
}

static void put(struct cr_series *series, const struct cr_point *point)
{
    size_t count = series->count;
    if (series->gap > 0 && count >= 2 && point->x - series->points[count - 2].x <= series->gap)
        merge(&series->points[count - 1], point);
    else
        series->points[series->count++] = *point;
}

static void thin(struct cr_series *series)
{
    size_t count = series->count;
    // Of three remaining neighbours, the outer two are farther apart than this, so at most half of the points
    // remain.
    series->gap = 4 * (series->points[count - 1].x - series->points[0].x) / CR_SERIES_MOST;
    series->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct cr_point point = series->points[i]; // a copy, since put writes at or before this place
        put(series, &point);
    }
}

enum cr_status cr_series_add(struct cr_series *series, double x, double y)
{
    if (!isfinite(x)) return CR_OK;
    while (series->count > 0 && series->points[series->count - 1].x >= x) series->count--;
    if (!isfinite(y)) return CR_OK;
    if (series->count == CR_SERIES_MOST) thin(series);
    if (series->count == series->capacity) {
        size_t capacity = cr_most(64, 2 * series->capacity);
        CR_TRY(cr_reallocate(capacity, sizeof *series->points, &series->points));
        series->capacity = capacity;
    }
    put(series, &(struct cr_point){x, y, 1});
    return CR_OK;
}

void cr_series_clear(struct cr_series *series)
{
    series->count = 0;
    series->gap = 0;
}

void cr_series_release(struct cr_series *series)
{
    cr_free(&series->points);
    *series = (struct cr_series){0};
}
