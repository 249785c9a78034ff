#!/usr/bin/env bash
# Stops the coordinator of ./dev up, and its workers, which save a checkpoint first.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$SOTTO_ROOT/tools/dev/coordinator.sh"
no_arguments "$@"

state=$(state_folder)
if ! pid=$(coordinator_pid "$state"); then
  say "no coordinator of ./dev up runs on $state"
  exit 0
fi
stop_coordinator "$state" || die "process $pid did not end within 90 s; see $state/coordinator.log"
say "stopped; state is kept in $state"
