#!/usr/bin/env bash
# Builds and runs one benchmark program of bench/: ./dev bench NAME [ARGUMENTS]. Alone: lists them.
# --peers: also measures PyTorch and Opacus (modes).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -eq 0 ]; then
  say "benchmarks, each run as ./dev bench NAME [ARGUMENTS] (--help for its options):"
  sotto_bazel query --noshow_progress 'kind(cc_binary, //bench/...)' 2>/dev/null | sed 's/.*:/  /'
  exit 0
fi
name=$1
shift

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
sotto_bazel build --noshow_progress "//bench:$name" >&2 || die "no benchmark $name, or it does not build"
exec "$SOTTO_ROOT/bazel-bin/bench/$name" ${arguments[@]+"${arguments[@]}"} ${peers[@]+"${peers[@]}"}
