#!/usr/bin/env bats
# scripts/my_voice.sh: what it refuses, and with what words. What it makes is in tests/e2e/test_my_voice.py.

setup() {
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  cd "$BATS_TEST_TMPDIR"
}

refused() { # refused STATUS MESSAGE ARGUMENT…: that one line on stderr
  local status_wanted=$1 message=$2
  shift 2
  run bash "$root/scripts/my_voice.sh" "$@"
  [ "$status" -eq "$status_wanted" ]
  [[ $output == "error: $message" ]]
}

@test "help says what DIR is and lists every option" {
  run bash "$root/scripts/my_voice.sh" --help
  [ "$status" -eq 0 ]
  for name in $(sed -n 's/^ *case "--\([a-z]*\).*/\1/p; s/^ *--\([a-z]*\)) [a-z]*=\$2.*/\1/p' "$root/scripts/my_voice.sh") base; do
    [[ $output == *"--$name "* ]]
  done
}

@test "wrong usage is one line and status 2" {
  refused 2 "the folder of recordings is missing; bash scripts/my_voice.sh --help" --tag me
  refused 2 "--tag NAME is missing, the name of the run (exp/NAME)" me
  refused 2 "--tag needs a value" me --tag
  refused 2 "--tag needs a value" me --tag=
  refused 2 "unknown option --speed; bash scripts/my_voice.sh --help lists them" me --speed=3
  refused 2 "you: one folder of recordings at a time; me is given already" me you --tag me
}

@test "a folder that is not there, or with too few clips, is refused with the command that records more" {
  local record="bash $root/scripts/serve.sh --record $PWD/me"
  refused 1 "$PWD/me: no such folder; record into it: $record" me --tag me
  mkdir me
  refused 1 "$PWD/me: has 0 clips, too few to tune and to test with (20 at least, 100 are better); record more: $record" me --tag me
  mkdir -p me/after_catting/1h/Text
  printf 'S001T000E000N0000%s 好\n' {1..9} {10..19} >me/after_catting/1h/Text/01_label.txt
  refused 1 "$PWD/me: has 19 clips, too few to tune and to test with (20 at least, 100 are better); record more: $record" me --tag me
}

@test "a tag of another kind of run is refused before anything of it is replaced" {
  mkdir -p me/after_catting/1h/Text "$root/exp/other_$$"
  printf 'S001T000E000N000%s 好\n' {10..39} >me/after_catting/1h/Text/01_label.txt
  echo "bash run.sh --tag other_$$" >"$root/exp/other_$$/command"
  refused 1 "exp/other_$$: is a run of something else, which would be damaged; give another --tag" me --tag "other_$$"
  rm -r "$root/exp/other_$$"
}
