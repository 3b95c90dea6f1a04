// A curve that is still being drawn: points with rising x, thinned as they become many.
#ifndef CARREL_REPORT_SERIES_H
#define CARREL_REPORT_SERIES_H

#include "base/status.h"

#include <stddef.h>

struct cr_point {
    double x, y;
    double weight; // of how many it is the mean; x is the last one's
};

enum { CR_SERIES_MOST = 4096 };

// Zero-initialise it; release with cr_series_release.
struct cr_series {
    struct cr_point *points; // [count], x rising
    size_t count, capacity;
    double gap; // nearer points than this become one; 0: none do
};

// Points at x and beyond are dropped first: a run that goes on from a kept state does these again. A y that
// is not finite adds nothing. Where there are CR_SERIES_MOST points, neighbours become their mean, evenly
// along x.
enum cr_status cr_series_add(struct cr_series *series, double x, double y);

void cr_series_clear(struct cr_series *series);
void cr_series_release(struct cr_series *series);

#endif
