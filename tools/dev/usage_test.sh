#!/bin/bash
# What ./dev and ./dev bench say of themselves and of names that they do not know. Nothing is built for it.
set -u
failed=0
mkdir "$TEST_TMPDIR/bin" || exit 1
printf '#!/bin/sh\ntouch "%s/built"\n' "$TEST_TMPDIR" >"$TEST_TMPDIR/bin/bazel"
chmod +x "$TEST_TMPDIR/bin/bazel"
export PATH=$TEST_TMPDIR/bin:$PATH

fail() {
  echo "$*:"
  cat "$TEST_TMPDIR/out" "$TEST_TMPDIR/err"
  failed=1
}

# expect CODE STREAM ARGUMENTS... -- LINES...: ./dev's exit code, and regular expressions of lines on out or err.
expect() {
  local expected=$1 stream=$TEST_TMPDIR/$2 arguments=()
  shift 2
  while [ "$1" != -- ]; do
    arguments+=("$1")
    shift
  done
  shift
  ./dev ${arguments[@]+"${arguments[@]}"} >"$TEST_TMPDIR/out" 2>"$TEST_TMPDIR/err"
  local code=$?
  [ "$code" -eq "$expected" ] || fail "./dev ${arguments[*]-}: code $code, but must be $expected"
  local line
  for line in "$@"; do
    grep -qE -- "$line" "$stream" || fail "./dev ${arguments[*]-}: no line $line"
  done
  [ "$expected" -eq 2 ] && [ -s "$TEST_TMPDIR/out" ] && fail "./dev ${arguments[*]-}: an error on stdout"
}

verbs=('^\./dev demo  ' '^\./dev test ' '^\./dev bench ' '^\./dev fmt ')
for help in "" help -h --help; do
  expect 0 out ${help:+"$help"} -- "${verbs[@]}"
done
expect 2 err benhc -- '^dev: error: no such command: benhc$' "${verbs[@]}"

programs=$(grep -c '^sotto_cc_binary(' bench/BUILD)
[ "$programs" -gt 0 ] || fail "bench/BUILD has no programs"
for help in "" help -h --help; do
  expect 0 out bench ${help:+"$help"} -- '^\./dev bench NAME' '^  comm +[A-Z].*\.$' '^  modes +[A-Z].*\.$'
  listed=$(grep -cE '^  [a-z]+ +[A-Z].*[^.]\.$' "$TEST_TMPDIR/out")
  [ "$listed" -eq "$programs" ] || fail "$listed of $programs benchmarks have a line"
done
expect 2 err bench nonsense -- '^dev: error: no such benchmark: nonsense$' '^  modes '
expect 2 err bench mode_report_test -- 'no such benchmark: mode_report_test$'
expect 2 err bench --peers -- 'no such benchmark: --peers$'

[ -e "$TEST_TMPDIR/built" ] && fail "something was built"
exit $failed
