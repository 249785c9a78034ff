# Starting and stopping a coordinator on a state folder. Sourced after lib.sh by up.sh, down.sh and demo.sh.
# shellcheck shell=bash

# Prints the process id of the coordinator that start_coordinator left on state folder $1, if it lives.
coordinator_pid() {
  local pid
  pid=$(cat "$1/dev.pid" 2>/dev/null) || return 1
  # The number may belong to another program by now.
  [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == */sotto-coordinator* ]] || return 1
  echo "$pid"
}

# start_coordinator STATE [OPTIONS...]: prints the address once it serves. Its log goes to STATE/coordinator.log.
start_coordinator() {
  local state=$1 fifo address
  shift
  mkdir -p -m 0700 "$state"
  fifo=$(mktemp -u "${TMPDIR:-/tmp}/sotto-address-XXXXXX")
  mkfifo -m 0600 "$fifo"
  setsid "$SOTTO_ROOT/bin/sotto-coordinator" --state_dir="$state" --address_fd=3 --on_exit=stop "$@" \
    3>"$fifo" >>"$state/coordinator.log" 2>&1 </dev/null &
  echo $! >"$state/dev.pid"
  # End of file, when the coordinator ended before it served, is no address.
  if ! IFS= read -r -t 60 address <"$fifo"; then
    rm -f "$fifo"
    say "error: the coordinator did not start: $(tail -n 1 "$state/coordinator.log")"
    return 1
  fi
  rm -f "$fifo"
  echo "$address"
}

# Ends it and waits; fails when it has not ended after 90 s.
stop_coordinator() {
  local state=$1 pid
  pid=$(coordinator_pid "$state") || return 0
  kill -TERM "$pid"
  timeout 90 tail --pid="$pid" -f /dev/null || return 1
  rm -f "$state/dev.pid"
}
