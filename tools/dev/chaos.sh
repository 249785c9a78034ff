#!/usr/bin/env bash
# Kills saves at random moments, many times: after each, the next start must load a valid checkpoint.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
./dev chaos [--kills N] [--seed N]

Starts processes that save checkpoints and kills each with SIGKILL in the midst of a file operation drawn at random (before it, halfway
through what it writes, after it). After every kill a start must load the checkpoint that was committed last, or the one in the making,
whole. Exit status 0: every start did.

  --kills N   how many (200)
  --seed N    draws the moments (a new one each time; printed, so that a failure can be repeated)
TEXT
}

kills=200
seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
while [ $# -gt 0 ]; do
  case $1 in
    --kills) kills=${2:?--kills needs a number} ;;
    --seed) seed=${2:?--seed needs a number} ;;
    -h | --help)
      usage
      exit
      ;;
    *)
      usage >&2
      die "no such option: $1"
      ;;
  esac
  shift 2
done
[[ $kills =~ ^[1-9][0-9]{0,6}$ ]] || die "--kills must be a whole number from 1 to 9999999, but is $kills"
[[ $seed =~ ^[0-9]{1,18}$ ]] || die "--seed must be a whole number of at most 18 digits, but is $seed"

bash "$SOTTO_ROOT/tools/dev/install.sh"
say "building the test"
sotto_bazel build --noshow_progress //tests/durability:checkpoint_kill_test
say "$kills kills -9 in the midst of saves, seed $seed"
begin=$SECONDS
# 3 s a kill and the start after it: some sixty times what it takes.
sotto_bazel test --noshow_progress --nocache_test_results --test_output=errors --test_timeout=$((600 + 3 * kills)) \
  --test_arg="--kills=$kills" --test_arg="--seed=$seed" //tests/durability:checkpoint_kill_test ||
  die "failed; repeat with ./dev chaos --kills $kills --seed $seed"
say "$kills starts after a kill loaded a valid checkpoint, in $((SECONDS - begin)) s"
