#!/usr/bin/env python3
"""Event files of TensorBoard and carrel's.

    python tests/golden/make_tensorboard.py             # prints the records of tests/unit/test_report_tensorboard.c
    python tests/golden/make_tensorboard.py adapter.run # what tensorboard reads in a run directory, against metrics.jsonl

Needs tensorboard.
"""
import io
import json
import math
import os
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def scalar(tag, value):
    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def known():
    out = io.BytesIO()
    for event in (Event(wall_time=1764250000.5, file_version="brain.Event:2"),
                  Event(wall_time=1764250000.5, step=300, session_log=SessionLog(status=SessionLog.START)),
                  Event(wall_time=1764250001.25, step=310, summary=scalar("train/loss", 1.2345)),
                  Event(wall_time=1764250002.0, step=0, summary=scalar("eval/loss", -0.0))):
        RecordWriter(out).write(event.SerializeToString())
    print(out.getvalue().hex())


def compare(directory):
    found = EventAccumulator(directory, size_guidance={"scalars": 0})
    found.Reload()
    expected = {}
    with open(os.path.join(directory, "metrics.jsonl")) as lines:
        for line in map(json.loads, lines):
            for name, value in line.items():
                place = line.get("step", line.get("round"))
                if "silo" not in line and name in ("loss", "grad_norm", "learning_rate", "epoch", "tokens_per_second"):
                    expected.setdefault("train/" + name, {})[place] = value  # the later one counts
                elif "silo" not in line and name in ("eval_loss", "eval_accuracy"):
                    expected.setdefault("eval/" + name[5:], {})[place] = value
                elif name == "federation_loss":
                    expected.setdefault("federation/loss", {})[place] = value
                elif name == "round_loss":
                    expected.setdefault("%s/round_loss" % line.get("silo", "train"), {})[place] = value
    for tag, values in sorted(expected.items()):
        scalars = found.Scalars(tag)
        assert [event.step for event in scalars] == sorted(values), (tag, [event.step for event in scalars])
        assert all(math.isclose(event.value, values[event.step], rel_tol=1e-6) for event in scalars), tag
        print("%-28s %d values agree" % (tag, len(values)))


if __name__ == "__main__":
    compare(sys.argv[1]) if len(sys.argv) > 1 else known()
