#!/usr/bin/env bash
# Installs what the build needs: Debian packages, and pinned wheels unpacked into the cache folder.
# Idempotent; a file that was downloaded completely is not downloaded again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUIREMENTS=$SOTTO_ROOT/third_party/wheels/requirements.txt
DOWNLOADS=$SOTTO_DEPS/downloads

missing_packages() {
  local package
  while read -r package; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done < <(grep -v '^#' "$SOTTO_ROOT/third_party/wheels/apt.txt")
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      say "Debian packages are missing and this user cannot install them. Run this once as root, then the same ./dev again:"
      echo "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
      exit 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  # --assume-no stops after apt's own figures for this machine.
  { LC_ALL=C apt-get install --assume-no --no-install-recommends "${missing[@]}" 2>/dev/null || true; } |
    grep -E '^(Need to get|After this)' | sed 's/^/dev:   /' >&2 || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get failed; what it installed is kept, run the same command again"
}

# Downloads one line of requirements.txt into $DOWNLOADS; pip verifies the hash, also of a file that is there.
download_wheel() {
  local requirement=$1 pin
  pin=$(mktemp)
  echo "$requirement" >"$pin"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r "$pin" \
    -d "$DOWNLOADS" --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --platform any ||
    die "downloading ${requirement%% *} failed; finished files are kept, run the same command again"
  rm -f "$pin"
}

need_disk() {
  local need_mb=$1 free_mb
  free_mb=$(df -Pm "$SOTTO_DEPS" | awk 'NR == 2 {print $4}')
  [ "$free_mb" -ge "$need_mb" ] || die "$SOTTO_DEPS needs $need_mb MB of free disk, but has $free_mb MB"
}

# Unpacks wheels into $1 by way of a temporary folder, so that the folder is complete whenever it exists.
unpack() {
  local target=$1
  shift
  local building=$target.part wheel
  rm -rf "$building"
  mkdir -p "$building"
  for wheel in "$@"; do
    # Python sources and what only a GPU loads stay in the wheel.
    unzip -q -o "$wheel" -d "$building" -x '*.py' '*.pyi' 'torch/bin/*' 'torch/test/*' \
      'torch/lib/libtorch_cuda*' 'torch/lib/libtorch_nvshmem*' 2>/dev/null || [ $? -le 11 ] ||
      die "unpacking $wheel failed"
  done
  # The wheel ships the headers of another Protobuf and fmt; they would win over the system's.
  rm -rf "$building/torch/include/google" "$building/torch/include/fmt"
  sync -f "$building"
  mv "$building" "$target"
}

install_wheels() {
  [ -d "$TORCH_FOLDER" ] && [ -d "$GOOGLEAPIS_FOLDER" ] && return 0
  mkdir -p "$DOWNLOADS"
  say "downloading LibTorch and three small wheels into $SOTTO_DEPS: 545 MB to download, 1.2 GB of disk while unpacking, 0.6 GB after"
  need_disk 2500
  local requirement
  while read -r requirement; do
    download_wheel "$requirement"
  done < <(grep -v '^#' "$REQUIREMENTS")
  [ -d "$TORCH_FOLDER" ] || unpack "$TORCH_FOLDER" "$DOWNLOADS"/torch-2.11.0-*.whl "$DOWNLOADS"/nvidia_cuda_*.whl
  [ -d "$GOOGLEAPIS_FOLDER" ] || unpack "$GOOGLEAPIS_FOLDER" "$DOWNLOADS"/googleapis_common_protos-1.76.0-*.whl
  rm -rf "$DOWNLOADS"
}

mkdir -p "$SOTTO_DEPS"
install_packages
install_wheels
