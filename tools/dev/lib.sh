# Shared by ./dev and its sub-scripts: where things lie, and how they speak. Sourced, never run.
# shellcheck shell=bash
set -euo pipefail

SOTTO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SOTTO_DEPS=${SOTTO_DEPS:-${HOME:?}/.cache/sotto}
# shellcheck disable=SC2034  # Used by install.sh and doctor.sh.
TORCH_FOLDER=$SOTTO_DEPS/torch-2.11.0
# shellcheck disable=SC2034
GOOGLEAPIS_FOLDER=$SOTTO_DEPS/googleapis-1.76.0

say() { printf 'dev: %s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# Of a command that takes no arguments: what was asked for is not what it does.
no_arguments() { [ $# -eq 0 ] || die "no such argument: $1"; }

# As many compilers at once as there are cores, but no more than memory allows: one with ATen's headers takes 1.2 GB.
build_jobs() {
  local by_memory cores
  cores=$(nproc)
  by_memory=$(awk '/MemTotal/ {print int($2 / 1300000)}' /proc/meminfo)
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((by_memory < cores ? by_memory : cores))
}

# Runs Bazel in the checkout with the cache folder's disk cache. $1 is the verb.
sotto_bazel() {
  local verb=$1
  shift
  local options=()
  case $verb in
    build | test | run) options=(--disk_cache="$SOTTO_DEPS/bazel" --jobs="$(build_jobs)") ;;
  esac
  (cd "$SOTTO_ROOT" && bazel --max_idle_secs=900 --host_jvm_args=-Xmx1g "$verb" "${options[@]}" "$@")
}

# The state folder that outlives runs, as the client chooses it.
state_folder() { echo "${XDG_STATE_HOME:-${HOME:?}/.local/state}/sotto"; }
