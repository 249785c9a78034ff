#!/bin/bash
# run_inference_test.sh SOTTO COORDINATOR WORKER TEST.py GOLDEN...: with SOTTO_PYTHON, or the system's Python.
set -eu
export SOTTO=$1 SOTTO_COORDINATOR=$2 SOTTO_WORKER=$3
test=$4
shift 4
GOLDEN_MODELS=$(IFS=: && echo "$*")
export GOLDEN_MODELS
exec "${SOTTO_PYTHON:-python3}" -B "$test"
