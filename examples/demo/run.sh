#!/bin/sh
# What `make demo` runs once the programs are built.
cd "$(dirname "$0")/../.." && exec python3 -B examples/demo/run.py
