#!/usr/bin/env bash
# Starts a coordinator on the persistent state folder and returns when it serves. A second call says where it is.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$SOTTO_ROOT/tools/dev/coordinator.sh"

bash "$SOTTO_ROOT/tools/dev/build.sh"
state=$(state_folder)
if pid=$(coordinator_pid "$state"); then
  say "a coordinator already runs on $state (process $pid, address $(cat "$state/address"))"
  exit 0
fi
address=$(start_coordinator "$state" "$@") || exit 1
say "a coordinator serves $state at $address; bin/sotto finds it; ./dev down stops it"
