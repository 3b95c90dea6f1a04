#!/bin/sh
# Makes examples/demo/model again from nothing but this repository (some minutes): text from make_data.py, a
# tokenizer by carrel's trainer, a model of 1.2 million parameters by carrel's full fine-tuning. The same on
# every run of one kind of machine.
set -eu
cd "$(dirname "$0")/../.."
out=build/demo-base
rm -rf "$out"
mkdir -p "$out/start"
python3 examples/demo/make_data.py base "$out"
build/bin/carrel tokenizer train --vocab-size 1024 --special '<s>' --special '</s>' --bos '<s>' --eos '</s>' \
  --output "$out/start" "$out/base.jsonl"
cp examples/demo/base-config.json "$out/start/config.json"
build/bin/carrel tune examples/demo/base.yaml
mkdir -p examples/demo/model
cp "$out"/model/* examples/demo/model/
ls -l examples/demo/model
