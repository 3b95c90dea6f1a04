// Writes a run's numbers: one table maps events to names, which are those of Transformers' log_history (loss,
// grad_norm, learning_rate, epoch, eval_loss, train_runtime, ...) where it has them.
#ifndef CARREL_REPORT_METRICS_H
#define CARREL_REPORT_METRICS_H

#include "base/bytes.h"
#include "base/event.h"

// Appends the event's numbers as a JSON line: {"time": ..., "step": ..., "loss": ...}. Nothing for an event
// without numbers.
enum cr_status cr_metrics_append_line(struct cr_buffer *out, const struct cr_event *event, double time);

// Appends them as TensorBoard records: with the tags "train/NAME" and "eval/NAME", as Transformers has them,
// "federation/NAME" and "SILO/NAME", at the step or, for whole rounds, at the round.
enum cr_status cr_metrics_append_scalars(struct cr_buffer *out, const struct cr_event *event, double time);

#endif
