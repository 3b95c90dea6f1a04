// The run's current numbers in Prometheus' text format, for node_exporter's textfile collector.
#ifndef CARREL_REPORT_PROMETHEUS_H
#define CARREL_REPORT_PROMETHEUS_H

#include "base/bytes.h"
#include "report/story.h"

// `now`: Unix seconds.
enum cr_status cr_prometheus_append(struct cr_buffer *out, const struct cr_story *story, double now);

#endif
