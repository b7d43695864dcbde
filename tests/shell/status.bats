#!/usr/bin/env bats
# scripts/status.sh: a thin shell over asr.status, which tests/unit/test_status.py tests.

setup() {
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
}

@test "status says how it is used, from any folder" {
  cd /
  run bash "$root/scripts/status.sh" --help
  [ "$status" -eq 0 ]
  [[ $output == "usage: bash scripts/status.sh "* ]]
}

@test "a run that is not there is one line and status 1" {
  run bash "$root/scripts/status.sh" no_such_run_at_all
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ $output == "error: no_such_run_at_all: no such run; in exp/ there are: "* ]]
}

@test "in a pipe it is plain text" {
  run bash -c "bash '$root/scripts/status.sh' | cat"
  [ "$status" -eq 0 ]
  [[ $output != *$'\e'* ]]
}
