#!/usr/bin/env bash
# Says whether this machine can build and run Sotto: one line per check. Exit code 1 when one fails.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
no_arguments "$@"

status=0
ok() { printf 'ok    %s\n' "$*"; }
bad() {
  printf 'FAIL  %s\n' "$*"
  status=1
}

# version PROGRAM ARGUMENT PATTERN: the program's version line must match the extended regular expression.
version() {
  local program=$1 argument=$2 pattern=$3 line
  if ! command -v "$program" >/dev/null; then
    bad "$program is missing: ./dev build installs it"
    return
  fi
  line=$("$program" "$argument" 2>/dev/null | grep -m1 -E '[0-9]+\.[0-9]+' || true)
  if [[ $line =~ $pattern ]]; then ok "$program: $line"; else bad "$program: \"$line\" is not version $pattern"; fi
}

# debian PACKAGE PATTERN: the package's version must match.
debian() {
  local version
  version=$(dpkg-query -W -f='${Version}' "$1" 2>/dev/null || echo none)
  if [[ $version =~ $2 ]]; then ok "$1: $version"; else bad "$1: $version, not $2"; fi
}

# at_least WHAT HAVE NEED UNIT
at_least() {
  if [ "$2" -ge "$3" ]; then ok "$1: $2 $4 (needs $3)"; else bad "$1: $2 $4, but $3 are needed"; fi
}

debian bazel-bootstrap '^4\.2\.3'
version g++ --version '(1[2-9])\.'
version protoc --version '3\.21\.'
debian libgrpc++-dev '^1\.51\.'
debian libabsl-dev '^20220623'
debian libsqlite3-dev '^3\.'

if [ -d "$TORCH_FOLDER" ]; then
  ok "LibTorch 2.11.0: $TORCH_FOLDER"
else
  bad "LibTorch 2.11.0 is not in $SOTTO_DEPS: ./dev build installs it"
fi

folder=$SOTTO_DEPS
[ -d "$folder" ] || folder=${HOME:?}
at_least "free disk in $folder" "$(df -Pm "$folder" | awk 'NR == 2 {print $4}')" 6000 MB
at_least "free disk in /tmp" "$(df -Pm /tmp | awk 'NR == 2 {print $4}')" 200 MB
at_least "memory" "$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)" 3500 MB
at_least "available memory" "$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)" 1500 MB

if python3 - <<'PYTHON'
import os, socket, tempfile
with tempfile.TemporaryDirectory(prefix="sotto-", dir="/tmp") as folder:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(os.path.join(folder, "s"))
    unix.listen()
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    tcp.listen()
os.close(os.memfd_create("sotto"))
os.close(os.pidfd_open(os.getpid()))
PYTHON
then
  ok "Unix and TCP sockets, memfd and pidfd work"
else
  bad "Unix sockets under /tmp, TCP on 127.0.0.1, memfd or pidfd do not work"
fi

if [ -d "$TORCH_FOLDER" ] && command -v bazel >/dev/null &&
  sotto_bazel build --noshow_progress --ui_event_filters=-info //tools/dev:blas_speed >/dev/null 2>&1; then
  if line=$("$SOTTO_ROOT/bazel-bin/tools/dev/blas_speed"); then ok "$line"; else bad "$line"; fi
else
  bad "the BLAS speed program does not build: run ./dev build first"
fi
exit "$status"
