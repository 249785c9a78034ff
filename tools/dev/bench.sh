#!/usr/bin/env bash
# Builds and runs one benchmark program of bench/: ./dev bench NAME [ARGUMENTS]. Alone: lists them.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Names of the programs, as bench/BUILD has them.
benchmarks() {
  awk '/^sotto_cc_binary\(/ { program = 1 } program && $1 == "name" { print $3; program = 0 }' \
    "$SOTTO_ROOT/bench/BUILD" | tr -d '",'
}

# The first sentence of a program's source.
summary() {
  awk '!/^\/\// { exit }
    { sub(/^\/\/ */, ""); text = text (NR > 1 ? " " : "") $0 }
    END { if (match(text, /\.( |$)/)) text = substr(text, 1, RSTART); print text }' "$SOTTO_ROOT/bench/$1.cc"
}

usage() {
  echo "./dev bench NAME [ARGUMENTS]  build and run a benchmark; NAME --help: its options"
  local name
  for name in $(benchmarks); do printf '  %-9s %s\n' "$name" "$(summary "$name")"; done
  echo "modes --peers also measures PyTorch and Opacus, in an environment of their own (downloads 2.8 GB)."
}

case ${1:-} in
  "" | help | -h | --help)
    usage
    exit 0
    ;;
esac
name=$1
shift
if ! benchmarks | grep -xF -- "$name" >/dev/null; then
  say "error: no such benchmark: $name"
  usage >&2
  exit 2
fi

# PyTorch and Opacus, in an environment of their own in the cache folder.
prepare_peers() {
  local folder=$SOTTO_DEPS/peers-torch-2.11.0-opacus-1.6.0
  if [ ! -e "$folder/complete" ]; then
    say "making $folder: downloads 2.8 GB, takes 5 GB on disk"
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --no-cache-dir torch==2.11.0 opacus==1.6.0 >&2 ||
      die "PyTorch and Opacus could not be installed"
    touch "$folder/complete"
  fi
  peers=(--peers_python "$folder/bin/python" --peers_script "$SOTTO_ROOT/bench/peers/train_peer.py")
}

arguments=()
peers=()
for argument in "$@"; do
  if [ "$argument" = --peers ]; then
    prepare_peers
  else
    arguments+=("$argument")
  fi
done
bash "$SOTTO_ROOT/tools/dev/install.sh"
sotto_bazel build --noshow_progress "//bench:$name" >&2 || die "the benchmark $name does not build"
exec "$SOTTO_ROOT/bazel-bin/bench/$name" ${arguments[@]+"${arguments[@]}"} ${peers[@]+"${peers[@]}"}
