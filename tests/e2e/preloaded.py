"""What tests share that load a library of tests/e2e before the C library: its path, the argument after the programs'
folder, and whether they go through everything (--every). To be imported before what takes that folder."""
import os
import sys

EVERY = "--every" in sys.argv
sys.argv = [argument for argument in sys.argv if argument != "--every"]
if len(sys.argv) < 3:
    print("skipped: a sanitizer has an allocator and calls of its own")
    sys.exit(77)
LIBRARY = os.path.abspath(sys.argv.pop(2))
