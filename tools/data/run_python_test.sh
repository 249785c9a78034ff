#!/bin/bash
# run_python_test.sh TEST.py: runs its cases with the system's Python (or $SOTTO_PYTHON), without writing byte code into the tree.
set -eu
cd "$(dirname "$1")"
exec "${SOTTO_PYTHON:-python3}" -B -m unittest "$(basename "$1" .py)"
