// The run directory, written while the run goes on:
//
//   config.yaml       all settings of the run
//   events.jsonl      every event with its time (report/events.h); a later start appends
//   metrics.jsonl     the numbers (report/metrics.h); a later start appends
//   events.out.tfevents.*   the same for TensorBoard, one file for each start
//   metrics.prom      the current numbers for Prometheus
//   summary.html      one page with curves, for any browser (report/page.h)
//   lock              held while the run is alive (report/run_lock.h)
//
// Only its owner can read the directory, unless he opens it to others. If a file cannot be written, the run
// goes on: there is one "run.warning" event, and writing is tried again with the next data.
#ifndef CARREL_REPORT_RUN_DIR_H
#define CARREL_REPORT_RUN_DIR_H

#include "base/bytes.h"
#include "base/event.h"

struct cr_run_dir;

// The path of the run directory for a result's or state's directory: its name with ".run" appended; if the
// name consists of dots only, its real name is used. The root directory has no name: CR_INVALID. Free with
// free.
enum cr_status cr_run_dir_path(const char *of, char **out);

// Makes the directory if it is missing, locks it, reads what earlier starts left, and records the start of
// `command`. Fails if the directory cannot be made, read or locked, so that this is noticed before the work
// begins. A damaged events.jsonl is renamed to events.jsonl.damaged, and a new one begun. `warnings` receives
// "run.warning" and must outlive *out.
enum cr_status cr_run_dir_open(const char *path, const char *command, const struct cr_event_sink *warnings,
                               struct cr_run_dir **out);

int cr_run_dir_lock(const struct cr_run_dir *run); // for children to inherit

// Sets the settings of this start. Those of an earlier start stay in config.yaml until this start can no
// longer be refused (report/story.h).
void cr_run_dir_settings(struct cr_run_dir *run, struct cr_slice yaml);
void cr_run_dir_take(struct cr_run_dir *run, const struct cr_event *event);
void cr_run_dir_tick(struct cr_run_dir *run); // to be called often; rewrites page and gauges if due

// Records how the run ended, with its last message (or NULL), and frees. NULL is allowed.
void cr_run_dir_close(struct cr_run_dir *run, int exit_code, const char *word);

#endif
