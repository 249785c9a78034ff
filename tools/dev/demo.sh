#!/usr/bin/env bash
# A private training job from nothing: installs, builds, prepares real text, registers it with a budget, trains and
# watches, then asks for more than the budget has left. Exit code 0 only if each of these went as it should. Everything
# is done by the public command line.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$SOTTO_ROOT/tools/dev/coordinator.sh"
no_arguments "$@"

# A folder of the demo's own, made anew by each run: a spent budget would refuse the job.
DEMO=${SOTTO_DEMO:-$(dirname "$(state_folder)")/sotto-demo}
STATE=$DEMO/state

step() { printf '\n== %s\n' "$*"; }
sotto() { "$SOTTO_ROOT/bin/sotto" --state_dir="$STATE" "$@"; }

prepare_folder() {
  stop_coordinator "$STATE" || die "an earlier demo's coordinator does not end; see $STATE/coordinator.log"
  if [ -e "$DEMO" ] && [ ! -e "$DEMO/made-by-dev-demo" ]; then
    die "$DEMO exists and was not made by ./dev demo; set SOTTO_DEMO to another folder"
  fi
  rm -rf "$DEMO"
  mkdir -p -m 0700 "$DEMO"
  touch "$DEMO/made-by-dev-demo"
}

# Public records are split off before registration: they are not in the dataset whose budget is spent.
prepare_data() {
  local inputs=() file
  for file in /usr/share/games/fortunes/*; do
    [[ ${file##*/} == *.* ]] || inputs+=("$file")
  done
  [ "${#inputs[@]}" -gt 0 ] || die "no records in /usr/share/games/fortunes: is the package fortunes installed?"
  sotto data prepare "${inputs[@]}" --format percent --max_length 128 --out "$DEMO/fortunes.tokens" \
    --holdout_every 16 --holdout "$DEMO/heldout.tokens"
}

job_spec() { sed "s|heldout.tokens|$DEMO/heldout.tokens|" "$SOTTO_ROOT/examples/$1.yaml" >"$DEMO/$1.yaml"; }

# Looks at what the coordinator kept of job $1: it succeeded, its loss fell, its epsilon is within the target.
check_job() {
  sotto --output jsonl watch "$1" >"$DEMO/events.jsonl"
  sotto --output json get "$1" >"$DEMO/job.json"
  python3 -B "$SOTTO_ROOT/tools/dev/check_demo.py" "$DEMO/job.json" "$DEMO/events.jsonl"
}

bash "$SOTTO_ROOT/tools/dev/build.sh"

step "A coordinator with a state folder of its own: $STATE"
prepare_folder
trap 'stop_coordinator "$STATE"' EXIT
address=$(start_coordinator "$STATE" --slots=2)
echo "serves at $address"

step "Real text, and a public held-out file split off it"
prepare_data

step "Registered with a budget: epsilon 8, delta 1e-6; one record is one privacy unit"
sotto dataset add fortunes "$DEMO/fortunes.tokens" --max_records 14500 --epsilon 8 --delta 1e-6

step "What the job will cost (nothing is charged yet)"
job_spec fortunes
sotto plan "$DEMO/fortunes.yaml"

step "Training on 2 workers, parameters in shards, target epsilon 3"
sotto submit "$DEMO/fortunes.yaml" --follow --request_id demo || die "the job did not succeed; see $STATE"
id=$(sotto --output json submit "$DEMO/fortunes.yaml" --request_id demo | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
check_job "$id" || die "the job ended, but not as promised (above)"

step "A second job that asks for more than is left"
job_spec overdraw
status=0
sotto submit "$DEMO/overdraw.yaml" 2>"$DEMO/refusal.txt" || status=$?
sed 's/^/  /' "$DEMO/refusal.txt"
[ "$status" -eq 6 ] || die "it should have been refused with exit code 6, but the exit code is $status"
grep -q '[0-9]\.[0-9]' "$DEMO/refusal.txt" || die "the refusal does not give the numbers"

step "The ledger"
sotto ledger verify
sotto dataset show fortunes

step "Done. What to run next"
checkpoint=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["checkpoint_path"])' "$DEMO/job.json")
cat <<TEXT
  bin/sotto export --checkpoint $checkpoint --out my-model
      the model in Hugging Face's layout
  bin/sotto --state_dir=$STATE ledger show
      every charge and refusal
  bin/sotto epsilon --noise_multiplier 1 --sampling_rate 0.01 --steps 1000 --delta 1e-6
      what a training run would cost, offline
  README.md, "Your own job"
TEXT
