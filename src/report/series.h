// A growing curve: points with ascending x, thinned out when there are too many.
#ifndef CARREL_REPORT_SERIES_H
#define CARREL_REPORT_SERIES_H

#include "base/status.h"

#include <stddef.h>

struct cr_point {
    double x, y;
    double weight; // number of points whose mean y is; x is that of the last one
};

enum { CR_SERIES_MOST = 4096 };

// Zero-initialise it; release with cr_series_release.
struct cr_series {
    struct cr_point *points; // [count], x ascending
    size_t count, capacity;
    double gap; // points closer than this in x are merged; 0: none are
};

// Adds a point. Existing points at x and beyond are dropped first: a run that continues from a checkpoint
// repeats them. A y that is not finite adds nothing. With CR_SERIES_MOST points, neighbours are merged into
// their mean, evenly along x.
enum cr_status cr_series_add(struct cr_series *series, double x, double y);

void cr_series_clear(struct cr_series *series);
void cr_series_release(struct cr_series *series);

#endif
