#!/bin/bash
# run_transformers_test.sh SOTTO_CHECK TEST.py: with SOTTO_PYTHON, or the system's Python.
set -eu
export SOTTO_CHECK=$1
exec "${SOTTO_PYTHON:-python3}" -B "$2"
