#!/usr/bin/env bash
# Kills saves at random moments, many times: after each, the next start must load a valid checkpoint. --kills N (200), --seed N
# (a new one each time; printed, so that a failure can be repeated).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kills=200
seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
while [ $# -gt 0 ]; do
  case $1 in
    --kills) kills=${2:?--kills needs a number} ;;
    --seed) seed=${2:?--seed needs a number} ;;
    *) die "usage: ./dev chaos [--kills N] [--seed N]" ;;
  esac
  shift 2
done

bash "$SOTTO_ROOT/tools/dev/install.sh"
say "$kills kills -9 in the midst of saves, seed $seed"
sotto_bazel test --noshow_progress --nocache_test_results --test_output=errors --test_timeout=600 \
  --test_arg="--kills=$kills" --test_arg="--seed=$seed" //tests/durability:checkpoint_kill_test ||
  die "failed; repeat with ./dev chaos --kills $kills --seed $seed"
say "every start after a kill loaded a valid checkpoint"
