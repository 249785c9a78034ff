#!/bin/bash
# run_twin.sh and check_outcomes.sh accept the one outcome that proves something, and no other.
set -u
folder=$PWD/tests/twins
cd "$TEST_TMPDIR" || exit 1
failed=0

expect() { # expect CODE NAME COMMAND...
  local expected=$1 name=$2
  shift 2
  "$@" >log.txt 2>&1
  local code=$?
  [ "$code" -eq "$expected" ] && return
  echo "$name: code $code, but must be $expected:"
  cat log.txt
  failed=1
}

# A test program: says SAYS, writes REPORT where --gtest_output asks, ends by COMMAND.
program() { # program SAYS REPORT COMMAND
  cat >program.sh <<TEXT
#!/bin/bash
echo '$1'
for flag in "\$@"; do
  case \$flag in --gtest_output=xml:*) echo '$2' >"\${flag#--gtest_output=xml:}" ;; esac
done
$3
TEXT
  chmod +x program.sh
}
twin() { "$folder/run_twin.sh" ./program.sh Suite.Case "a > b"; }

one_failure='<testsuites tests="1" failures="1"><failure message="a > b">'
program "a > b" "$one_failure" "exit 1"
expect 0 "an assertion that fails" twin
program "a > b" '<testsuites tests="1" failures="0">' "exit 0"
expect 1 "a case that passes" twin
program "a > b" "$one_failure" 'kill -SEGV $$'
expect 1 "a crash" twin
program "a > b" "$one_failure" 'kill -ABRT $$'
expect 1 "an exception" twin
program "c > d" "$one_failure" "exit 1"
expect 1 "another assertion" twin
program "a > b" '<testsuites tests="0" failures="0">' "exit 1"
expect 1 "no such case" twin
program "a > b" '<testsuites tests="2" failures="1"><failure message="a > b">' "exit 1"
expect 1 "two cases" twin
program "a > b" '<testsuites tests="1" failures="0">' "exit 1"
expect 1 "code 1 without a failure" twin

compilation() { "$folder/check_outcomes.sh" right.txt wrong.txt "cannot convert .Sum."; }
refusal=$'x.cc:1: error: cannot convert \'Sum\'\nexit 1'
echo "exit 0" >right.txt
echo "$refusal" >wrong.txt
expect 0 "a refusal" compilation
echo "exit 0" >wrong.txt
expect 1 "a wrong wiring that compiles" compilation
printf 'x.cc:1: error: no such file\nexit 1\n' >wrong.txt
expect 1 "another error" compilation
printf 'x.cc:1: error: no such file\n%s\n' "$refusal" >wrong.txt
expect 1 "an error more" compilation
echo "$refusal" | tee wrong.txt >right.txt
expect 1 "a right wiring that does not compile" compilation

exit $failed
