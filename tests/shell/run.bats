#!/usr/bin/env bats
# run.sh and scripts/lib.sh: options, help, stamps, what is said when a stage fails. No stage does real work here.

setup() {
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  exp=$BATS_TEST_TMPDIR/exp/t
  mkdir -p "$exp"
}

@test "help lists every option of run.sh, with its default, at once" {
  run bash "$root/run.sh" --help
  [ "$status" -eq 0 ]
  for name in $(sed -n '/^# options$/,/^# end of options$/s/^\([a-z_]*\)=.*/\1/p' "$root/run.sh"); do
    [[ $output == *"--${name//_/-} "* ]]
  done
  [[ $output == *"--stop-stage   last stage to run (default: 5)"* ]]
  [[ $output == *"++dataset_conf.batch_size=4000"* ]]
}

@test "help and usage errors start no Python" {
  mkdir "$BATS_TEST_TMPDIR/bin"
  printf '#!/bin/sh\ntouch "%s/python-ran"\n' "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/bin/python"
  chmod +x "$BATS_TEST_TMPDIR/bin/python"
  PATH=$BATS_TEST_TMPDIR/bin:$PATH run bash "$root/run.sh" --help
  PATH=$BATS_TEST_TMPDIR/bin:$PATH run bash "$root/run.sh" --nonsense 1
  [ ! -e "$BATS_TEST_TMPDIR/python-ran" ]
}

usage_error() { # usage_error MESSAGE ARGUMENT…: exit 2, that one line, nothing on stdout
  local message=$1
  shift
  run bash "$root/run.sh" "$@"
  [ "$status" -eq 2 ]
  [ "$output" = "error: $message" ]
}

@test "wrong usage is one line and status 2" {
  usage_error "unknown option --stag; did you mean --stage?; see: bash run.sh --help" --stag 3
  usage_error "unknown option --zzz; see: bash run.sh --help" --zzz
  usage_error "'3' is not an option; see: bash run.sh --help" 3
  usage_error "--tag needs a value" --tag
  usage_error "--stage takes a whole number, not 'three'" --stage three
  usage_error "--stage is 6; it goes from 0 to 5" --stage 6
  usage_error "--stop-stage is 1; it goes from 3 to 5" --stage 3 --stop-stage 1
  usage_error "--restart takes no value" --restart=perhaps
  usage_error "--corpus needs --tag NAME, the name of the run (exp/NAME)" --corpus /nowhere
}

@test "a value is taken as it is written, never evaluated" {
  run bash "$root/run.sh" --stage '$(touch '"$BATS_TEST_TMPDIR"'/evaluated)'
  [ "$status" -eq 2 ]
  [ ! -e "$BATS_TEST_TMPDIR/evaluated" ]
}

# A small recipe on the same library: two stages that write files.
recipe() {
  cat >"$BATS_TEST_TMPDIR/recipe.sh" <<END
# options
stage=0      # first
stop_stage=1 # last
word=a       # what stage 0 writes
# end of options
. "$root/scripts/lib.sh"
parse_options "\$0" "\$@"
exp=$exp
make_it() { printf '%s\n' "\$1" >"\$exp/made"; echo "made \$1"; }
copy_it() { cat "\$exp/made" "\$exp/extra" >"\$exp/copied"; }
if at_stage 0 "make"; then once makes "\$exp/made" by make_it "\$word"; fi
if at_stage 1 "copy"; then once "\$exp/made" "\$exp/extra" makes "\$exp/copied" by copy_it; fi
END
  touch "$exp/extra"
  run bash "$BATS_TEST_TMPDIR/recipe.sh" "$@"
}

count() { grep -c "$1" <<<"$output" || true; }

@test "a second run says up to date; a changed word, input or output reruns that stage and what depends on it" {
  recipe
  [ "$status" -eq 0 ]
  [ "$(count 'up to date')" -eq 0 ]
  recipe
  [ "$(count 'up to date')" -eq 2 ]
  touch "$exp/extra" # a new time, the same content
  recipe
  [ "$(count 'up to date')" -eq 2 ]
  echo more >"$exp/extra"
  recipe
  [ "$(count 'stage 0: make: up to date')" -eq 1 ]
  [ "$(count 'stage 1: done')" -eq 1 ]
  recipe --word b
  [ "$(count 'up to date')" -eq 0 ]
  [ "$(cat "$exp/copied")" = "$(printf 'b\nmore')" ]
  recipe --word b
  [ "$(count 'up to date')" -eq 2 ]
  echo damaged >"$exp/copied"
  recipe --word b
  [ "$(count 'stage 1: done')" -eq 1 ]
  rm "$exp/copied"
  recipe --word b
  [ "$(count 'stage 1: done')" -eq 1 ]
}

@test "files that a stage lists as @FILE are watched, wherever they lie" {
  mkdir "$BATS_TEST_TMPDIR/else where"
  echo sound >"$BATS_TEST_TMPDIR/else where/a clip.wav"
  cat >"$BATS_TEST_TMPDIR/listing.sh" <<END
# options
stage=0      # first
stop_stage=0 # last
# end of options
. "$root/scripts/lib.sh"
exp=$exp
list_it() { printf '%s\n' "$BATS_TEST_TMPDIR/else where/a clip.wav" >"\$exp/list"; }
if at_stage 0 "list"; then once makes "@\$exp/list" by list_it; fi
END
  for wanted in 0 1; do
    run bash "$BATS_TEST_TMPDIR/listing.sh"
    [ "$status" -eq 0 ]
    [ "$(count 'up to date')" -eq "$wanted" ]
  done
  echo louder >"$BATS_TEST_TMPDIR/else where/a clip.wav"
  run bash "$BATS_TEST_TMPDIR/listing.sh"
  [ "$(count 'stage 0: done')" -eq 1 ]
  rm "$BATS_TEST_TMPDIR/else where/a clip.wav"
  run bash "$BATS_TEST_TMPDIR/listing.sh"
  [ "$(count 'stage 0: done')" -eq 1 ]
  rm "$exp/list"
  run bash "$BATS_TEST_TMPDIR/listing.sh"
  [ "$(count 'stage 0: done')" -eq 1 ]
}

@test "a stage that fails leaves no stamp, shows the end of its log, and says how to rerun it alone" {
  recipe
  rm "$exp/extra"
  mkdir "$exp/extra" # cat fails on a folder
  run bash "$BATS_TEST_TMPDIR/recipe.sh" --word 'two words'
  [ "$status" -eq 1 ]
  [ ! -e "$exp/stamps/stage1" ]
  [[ $output == *"stage 1 (copy) failed; the end of $exp/log/stage1.log:"* ]]
  [[ $output == *"  | cat: "* ]]
  [[ $output == *"rerun: bash run.sh --word 'two words' --stage 1 --stop-stage 1"* ]]
}

@test "the time of a stage is that of all its continuations, and begins anew where it is done again" {
  recipe
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 1 ]
  recipe # up to date
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 1 ]
  rm "$exp/extra"
  mkdir "$exp/extra"
  recipe
  [ "$status" -eq 1 ]
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 1 ] # done before: timed anew
  run bash "$BATS_TEST_TMPDIR/recipe.sh"
  [ "$status" -eq 1 ]
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 2 ]
  rmdir "$exp/extra"
  recipe # gone on with
  [ "$status" -eq 0 ]
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 3 ]
  recipe --word b
  [ "$(wc -l <"$exp/log/stage1.seconds")" -eq 1 ]
}

@test "a stage that ends without its output has failed" {
  recipe
  sed -i 's/^make_it() .*/make_it() { echo nothing; }/' "$BATS_TEST_TMPDIR/recipe.sh"
  rm "$exp/made"
  run bash "$BATS_TEST_TMPDIR/recipe.sh"
  [ "$status" -eq 1 ]
  [[ $output == *"$exp/made: stage 0 ended without making it"* ]]
  [ ! -e "$exp/stamps/stage0" ]
}

@test "a stage that is killed is not taken for done" {
  recipe
  sed -i 's/^make_it() .*/make_it() { printf half >"$exp\/made"; kill -9 $BASHPID; }/' "$BATS_TEST_TMPDIR/recipe.sh"
  run bash "$BATS_TEST_TMPDIR/recipe.sh" --word c
  [ "$status" -ne 0 ]
  [ ! -e "$exp/stamps/stage0" ]
  recipe --word c
  [ "$(cat "$exp/made")" = c ]
}

@test "one run at a time on a tag" {
  cat >"$BATS_TEST_TMPDIR/locked.sh" <<END
. "$root/scripts/lib.sh"
lock "$exp/.lock"
\$1
END
  bash "$BATS_TEST_TMPDIR/locked.sh" "sleep 5" 3>&- &
  sleep 0.5
  run bash "$BATS_TEST_TMPDIR/locked.sh" true
  [ "$status" -eq 1 ]
  [[ $output == *"another run.sh is at work on this tag"* ]]
  kill %1 && wait || true
}
