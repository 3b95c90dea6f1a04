// What a run leaves behind, written while it goes on:
//
//   config.yaml       the settings it has, all of them
//   events.jsonl      every event with its time (report/events.h); a later start appends
//   metrics.jsonl     the numbers (report/metrics.h); a later start appends
//   events.out.tfevents.*   the same for TensorBoard, one file for each start
//   metrics.prom      the present numbers for Prometheus
//   summary.html      one page with curves, for any browser (report/page.h)
//   lock              held while the run is alive (report/run_lock.h)
//
// The directory is its owner's alone; who wants to share it opens it. A file that cannot be written does not
// stop the run: it is told once, as an event "run.warning", and tried again with what comes next.
#ifndef CARREL_REPORT_RUN_DIR_H
#define CARREL_REPORT_RUN_DIR_H

#include "base/bytes.h"
#include "base/event.h"

struct cr_run_dir;

// The run directory that belongs to a result's or a state's directory: its name with ".run" behind; of one
// that is called by dots alone, its real name. The root, which has none, is CR_INVALID. Free with free.
enum cr_status cr_run_dir_path(const char *of, char **out);

// Makes the directory where it is missing, locks it, takes up what an earlier start has left, and notes the
// start of `command`. A directory that cannot be made, read or locked is a failure: before the work is the
// time to learn it. An events.jsonl that is damaged is set aside, as events.jsonl.damaged, and another begun.
// `warnings` gets "run.warning" and must outlive it.
enum cr_status cr_run_dir_open(const char *path, const char *command, const struct cr_event_sink *warnings,
                               struct cr_run_dir **out);

int cr_run_dir_lock(const struct cr_run_dir *run); // for children to inherit

// The settings of this start. Where there are those of an earlier one they stand until this one can no longer
// be refused (report/story.h).
void cr_run_dir_settings(struct cr_run_dir *run, struct cr_slice yaml);
void cr_run_dir_take(struct cr_run_dir *run, const struct cr_event *event);
void cr_run_dir_tick(struct cr_run_dir *run); // often: writes page and gauges anew where that is due

// Notes how the run ended, with its last word (NULL: none), and frees. NULL is allowed.
void cr_run_dir_close(struct cr_run_dir *run, int exit_code, const char *word);

#endif
