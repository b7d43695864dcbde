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
  usage_error "unknown option --stge; did you mean --stage?; see: bash run.sh --help" --stge 3
  usage_error "unknown option --Stage; did you mean --stage?; see: bash run.sh --help" --Stage 3
  usage_error "unknown option --corpora; did you mean --corpus?; see: bash run.sh --help" --corpora x
  usage_error "unknown option --chek-audio; did you mean --check-audio?; see: bash run.sh --help" --chek-audio
  usage_error "unknown option --zzz; see: bash run.sh --help" --zzz
  usage_error "'-stage' is not an option; did you mean --stage?; see: bash run.sh --help" -stage 3
  usage_error "'stage' is not an option; did you mean --stage?; see: bash run.sh --help" stage 3
  usage_error "'3' is not an option; see: bash run.sh --help" 3
  usage_error "--tag needs a value" --tag
  usage_error "--tag needs a value" --tag --stage 4
  usage_error "--tag needs a value" --tag ++seed=1
  usage_error "++train_conf.max_epoch needs a value behind '=': ++train_conf.max_epoch=3" ++train_conf.max_epoch 3
  usage_error "--stage takes a whole number, not 'three'" --stage three
  usage_error "--stage is 6; it goes from 0 to 5" --stage 6
  usage_error "--stop-stage is 1; it goes from 3 to 5" --stage 3 --stop-stage 1
  usage_error "--restart takes no value" --restart=perhaps
  usage_error "--corpus needs --tag NAME, the name of the run (exp/NAME)" --corpus /nowhere
}

@test "what other tools call it is known" {
  usage_error "unknown option --lr; did you mean ++optim_conf.lr=…?; see: bash run.sh --help" --lr 0.001
  usage_error "unknown option --learning_rate; did you mean ++optim_conf.lr=…?; see: bash run.sh --help" --learning_rate=1
  usage_error "unknown option --gpu; did you mean --ngpu N?; see: bash run.sh --help" --gpu 1
  usage_error "unknown option --epochs; did you mean ++train_conf.max_epoch=…?; see: bash run.sh --help" --epochs 3
  usage_error "unknown option --batch-size; did you mean ++dataset_conf.batch_size=…?; see: bash run.sh --help" --batch-size 8
  usage_error "unknown option --config; did you mean --conf FILE?; see: bash run.sh --help" --config conf/mini.yaml
}

# parsed WORD…: what lib.sh makes of run.sh's words, and the command that it prints for a rerun
parsed() {
  run env -u CDSD_ROOT ${cdsd:+CDSD_ROOT="$cdsd"} bash -c '
    called_from=$PWD; cd "$0"; . scripts/lib.sh; strict=false restart=false corpus= data= conf= split=
    parse_options run.sh "$@"; printf "%s\n" "strict $strict, corpus $corpus, data $data, conf $conf, split $split" "$(this_command)"
    trap - EXIT' "$root" "$@"
  [ "$status" -eq 0 ]
}

@test "a switch takes true and false, and the printed command has it as it can be given" {
  for words in "--strict" "--strict true" "--strict=true"; do
    # shellcheck disable=SC2086
    parsed $words --tag x
    [ "${lines[0]}" = "strict true, corpus , data , conf , split " ]
    [ "${lines[1]}" = "bash $root/run.sh --strict --tag x" ]
  done
  parsed --strict false --tag x
  [ "${lines[0]}" = "strict false, corpus , data , conf , split " ]
  [ "${lines[1]}" = "bash $root/run.sh --tag x" ]
}

@test "the printed command is the same run wherever it is pasted: full paths, CDSD_ROOT" {
  mkdir -p "$BATS_TEST_TMPDIR/a b/corp"
  cd "$BATS_TEST_TMPDIR/a b"
  cdsd="$BATS_TEST_TMPDIR/a b/corp/" parsed --tag x
  [ "${lines[1]}" = "CDSD_ROOT='$BATS_TEST_TMPDIR/a b/corp' bash $root/run.sh --tag x" ]
  parsed --corpus corp --data out --split seeded --conf conf/mini.yaml --tag x
  [ "${lines[0]}" = "strict false, corpus $PWD/corp, data $PWD/out, conf conf/mini.yaml, split seeded" ]
  [ "${lines[1]}" = "bash $root/run.sh --corpus '$PWD/corp' --data '$PWD/out' --split seeded --conf conf/mini.yaml --tag x" ]
  cd "$root"
  parsed --corpus mini/corpus --tag x
  [ "${lines[1]}" = "bash $root/run.sh --corpus mini/corpus --tag x" ]
  CDSD_ROOT='' run bash -c '. scripts/lib.sh; this_command; trap - EXIT'
  [[ $output == "CDSD_ROOT= bash $root/run.sh" ]]
}

# fresh: a copy of what is called before anything is installed, and a Python without packages in front
fresh() {
  copy=$BATS_TEST_TMPDIR/copy
  mkdir -p "$copy/local" "$BATS_TEST_TMPDIR/bin"
  cp -r "$root"/{run.sh,path.sh,scripts} "$copy"
  cp "$root"/local/*.py "$copy/local"
  printf '#!/bin/sh\nexec %s -I -S "$@"\n' "$(command -v python3)" >"$BATS_TEST_TMPDIR/bin/python"
  chmod +x "$BATS_TEST_TMPDIR/bin/python" "$copy/run.sh"
}

@test "before the installation, every command says in a line what to do, and leaves nothing behind" {
  fresh
  cd "$copy"
  for command in "bash run.sh" "sh run.sh" ./run.sh "bash scripts/status.sh" "bash scripts/transcribe.sh --model m f.wav" \
    "bash scripts/check.sh --corpus x" "bash scripts/plan.sh --exp exp/x --data data/x" "bash scripts/experiment.sh x.yaml" \
    "bash scripts/serve.sh --model m"; do
    # shellcheck disable=SC2086
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run $command
    [ "$status" -eq 1 ]
    [[ $output == "error: the recipe is not installed in the active environment ("*"): bash $copy/scripts/install.sh" ]]
  done
  [ ! -e exp ] && [ ! -e data ]
}

@test "a forgotten path.sh is a line" {
  fresh
  for file in prepare_1h_dataset score; do
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run python "$copy/local/$file.py" --help
    [ "$status" -eq 1 ]
    [ "$output" = "error: Python does not find the recipe: . ./path.sh first, in the recipe's folder" ]
  done
}

@test "a checkout has no carriage returns, whatever git is set to" {
  run git -C "$root" check-attr eol -- run.sh scripts/lib.sh conf/mini.yaml
  [ "$(grep -c ': eol: lf$' <<<"$output")" -eq 3 ]
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
  [[ $output == *"stage 1: copy ($exp/extra changed)"* ]]
  recipe --word b
  [ "$(count 'up to date')" -eq 0 ]
  [[ $output == *"stage 0: make (its command changed)"* ]]
  [[ $output == *"stage 1: copy ($exp/made changed)"* ]]
  [ "$(cat "$exp/copied")" = "$(printf 'b\nmore')" ]
  recipe --word b
  [ "$(count 'up to date')" -eq 2 ]
  echo damaged >"$exp/copied"
  recipe --word b
  [ "$(count 'stage 1: done')" -eq 1 ]
  rm "$exp/copied"
  recipe --word b
  [ "$(count 'stage 1: done')" -eq 1 ]
  [[ $output == *"stage 1: copy ($exp/copied changed)"* ]]
  echo less >"$exp/extra"
  rm "$exp/copied"
  recipe --word b
  [[ $output == *"stage 1: copy ($exp/extra and 1 more changed)"* ]]
}

@test "a stamp says what it is of, a line for each file" {
  recipe
  [ "$(cat "$exp/stamps/stage1")" = "command copy_it
input sha256 $(sha256sum <"$exp/made" | cut -d ' ' -f 1) RUN/made
input sha256 $(sha256sum <"$exp/extra" | cut -d ' ' -f 1) RUN/extra
output sha256 $(sha256sum <"$exp/copied" | cut -d ' ' -f 1) RUN/copied" ]
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
  [[ $output == *"stage 1 (copy) failed; the end of its log:"* ]]
  [[ $output == *"  | cat: "* ]]
  [[ $output == *"log:   $exp/log/stage1.log"* ]]
  [[ $output == *"rerun: bash $PWD/run.sh --word 'two words' --stage 1 --stop-stage 1"* ]]
}

@test "where the error asks for an earlier stage, the rerun begins there" {
  for words in "run stage 0 first" "rerun stage 0" "run stage 0 again" "run stage 1 again" "nothing of a stage"; do
    recipe
    sed -i "s/^copy_it() .*/copy_it() { echo 'error: x: no such file; $words, or else' \&\& false; }/" "$BATS_TEST_TMPDIR/recipe.sh"
    rm -f "$exp/stamps/stage1"
    run bash "$BATS_TEST_TMPDIR/recipe.sh"
    [ "$status" -eq 1 ]
    from=0
    [[ $words == *"stage 0"* ]] || from=1
    [[ $output == *"rerun: bash $PWD/run.sh --stage $from --stop-stage 1"* ]]
  done
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
eval "\$1"
END
  local holding=$BATS_TEST_TMPDIR/holding waited=0
  bash "$BATS_TEST_TMPDIR/locked.sh" "touch '$holding'; while [[ -e '$holding' ]]; do sleep 0.1; done" 3>&- &
  until [[ -e $holding ]]; do
    sleep 0.1
    ((++waited < 6000))
  done
  run bash "$BATS_TEST_TMPDIR/locked.sh" true
  rm "$holding"
  [ "$status" -eq 1 ]
  [[ $output == *"another run.sh is at work on this tag"* ]]
  wait
}

# A stage of two commands, the first of which saves when it is asked to stop.
stopping() { # stopping SIGNAL COMMAND…: COMMAND runs the recipe; run.sh alone gets the signal; status and output as of `run`
  local signal=$1 waited=0
  shift
  rm -f "$BATS_TEST_TMPDIR/said"
  cat >"$BATS_TEST_TMPDIR/saving.sh" <<'END'
trap 'echo saving; sleep 0.3; echo saved; exit 130' TERM
echo ready
for ((n = 0; n < ${PATIENCE:-200}; n++)); do sleep 0.1 & wait $!; done
echo "ended by itself"
END
  cat >"$BATS_TEST_TMPDIR/stopped.sh" <<END
# options
stage=3      # first
stop_stage=3 # last
# end of options
. "$root/scripts/lib.sh"
exp=$exp
work() {
  run bash "$BATS_TEST_TMPDIR/saving.sh"
  echo "the next command"
}
if at_stage 3 "train"; then once makes "\$exp/made" by work; fi
END
  "$@" bash "$BATS_TEST_TMPDIR/stopped.sh" >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
  until grep -qs ready "$BATS_TEST_TMPDIR/said"; do
    sleep 0.1
    ((++waited < 6000))
  done
  kill "-$signal" $!
  status=0
  wait $! || status=$?
  output=$(<"$BATS_TEST_TMPDIR/said")
}

@test "a signal to run.sh alone reaches what it runs at once: it saves, stops, and the stage says so" {
  for signal in TERM HUP INT; do
    stopping "$signal" env --default-signal=INT
    [ "$status" -eq 130 ]
    [[ $output == *$'ready\nsaving\nsaved\n\nstage 3 (train) was interrupted'* ]]
    [[ $output != *"the next command"* ]]
    [ ! -e "$exp/stamps/stage3" ]
    [[ $(<"$exp/log/stage3.log") == *$'saving\nsaved' ]]
  done
}

@test "under nohup a hangup is not a stop" {
  PATIENCE=50 stopping HUP nohup
  [ "$status" -eq 1 ] # it does not make what it should
  [[ $output == *"ended by itself"* ]]
  [[ $output == *"the next command"* ]]
}

@test "a file system without locks: one note, and on it goes" {
  mkdir "$BATS_TEST_TMPDIR/bin"
  printf '#!/bin/sh\necho "flock: 11: Function not implemented" >&2\nexit 71\n' >"$BATS_TEST_TMPDIR/bin/flock"
  chmod +x "$BATS_TEST_TMPDIR/bin/flock"
  PATH=$BATS_TEST_TMPDIR/bin:$PATH run bash -c ". '$root/scripts/lib.sh'; lock '$exp/.lock'; echo on; cat '$exp/.lock'"
  [ "$status" -eq 0 ]
  [ "${lines[0]}" = "note: $exp/.lock cannot be locked here (Function not implemented): see to it that no second run.sh works on this tag" ]
  [ "${lines[1]}" = on ]
  [[ ${lines[2]} =~ ^[0-9]+$ ]] # for status.sh
}

@test "another corpus, part or split under the tag of a trained run is refused before its data is replaced" {
  mkdir -p "$exp/stamps" "$BATS_TEST_TMPDIR/my corpus" "$BATS_TEST_TMPDIR/other"
  cd "$BATS_TEST_TMPDIR"
  same() { # same CORPUS [RESTART [PART [SPLIT]]]
    run bash -c ". '$root/scripts/lib.sh'; exp='$exp' restart='${2:-false}'; same_data '$1' '${3:-1h}' '${4:-}'; echo on"
  }
  printf "command python local/prepare_1h_dataset.py --corpus 'my corpus' --part 1h --out data/x\n" >"$exp/stamps/stage1"
  same other && [ "$output" = on ] # nothing is trained yet
  echo '[]' >"$exp/saves.json"
  same "my corpus" && [ "$output" = on ]
  same "$PWD/my corpus/" && [ "$output" = on ]
  same other true && [ "$output" = on ]
  same other
  [ "$status" -eq 1 ]
  [ "$output" = "error: $exp: was trained on the corpus my corpus; give other a --tag of its own, or --restart to throw the training away" ]
  another() { # another WITH THIS: of the same corpus
    [ "$status" -eq 1 ]
    [ "$output" = "error: $exp: was trained with $1, and this is $2; give it a --tag of its own, or --restart to throw the training away" ]
  }
  same "my corpus" false 1h,10h
  another "--part 1h" "--part 1h,10h"
  touch "my split.yaml"
  same "my corpus" false 1h "my split.yaml"
  another "no --split" "--split my split.yaml"
  printf "command python local/prepare_1h_dataset.py --corpus 'my corpus' --part 1h --out x --split 'my split.yaml'\n" >"$exp/stamps/stage1"
  same "my corpus" false 1h "./my split.yaml" && [ "$output" = on ]
  same "my corpus" true 1h loso:02 && [ "$output" = on ]
  same "my corpus" false 1h
  another "--split my split.yaml" "no --split"
  same "my corpus" false 1h loso:02
  another "--split my split.yaml" "--split loso:02"
  mv "my corpus" moved
  same moved false 1h "my split.yaml" && [ "$output" = on ] # nobody can tell; stage 3 compares what was prepared
}

@test "a table of speakers that is not there is said before anything is begun" {
  PATH=$BATS_TEST_TMPDIR/bin:$PATH run bash "$root/run.sh" --speakers "$BATS_TEST_TMPDIR/none.tsv"
  [ "$status" -eq 1 ]
  [[ $output == *"none.tsv: no such table of speakers; --speakers takes a file with a column 'speaker'" ]]
}

@test "a tag is the name of a folder in exp/, and an option is given something" {
  for tag in a/b ../a /a . .. -a $'a\nb'; do
    usage_error "--tag '$tag': it is the name of a folder in exp/: no slash, no - in front, not . or .." --tag "$tag"
  done
  usage_error "--tag is given nothing; leave it out for its default" --tag ''
  usage_error "--corpus is given nothing; leave it out for its default" --corpus=
  copy=$BATS_TEST_TMPDIR/copy # blanks, quotes and Chinese stay: refused for the YAML alone
  mkdir "$copy"
  cp -r "$root/run.sh" "$root/path.sh" "$root/scripts" "$copy"
  for tag in 'my "run"' '普通话 1' '$(touch x)'; do
    run bash "$copy/run.sh" --tag "$tag" --conf none.yaml
    [ "$status" -eq 1 ]
    [[ $output == "error: "*"/none.yaml: no such configuration file"* ]]
    [ ! -e "$copy/exp/$tag" ] # nothing has come of it
  done
  [ ! -e "$copy/x" ]
}

@test "a run of which nothing has come is not left in exp/, one in which a stage has ended is" {
  copy=$BATS_TEST_TMPDIR/copy
  mkdir "$copy"
  cp -r "$root"/{run.sh,path.sh,scripts,conf,local,mini} "$copy"
  run bash "$copy/run.sh" --tag new --stage 4
  [ "$status" -eq 1 ]
  [[ $output == *"error: "*"run stage 0 first"* ]]
  [[ $output == *"  | error: "* && $output != *"log:   "* ]]
  [ ! -e "$copy/exp/new" ]
  mkdir -p "$copy/exp/new/conf" "$copy/exp/new/stamps" "$copy/data/mini_dataset"
  touch "$copy/exp/new/conf/.made_by_run" "$copy/exp/new/model.pt.ep1"
  run bash "$copy/run.sh" --tag new --stage 4 --conf none.yaml
  [ "$status" -eq 1 ]
  [ -e "$copy/exp/new/model.pt.ep1" ] # it was there before
}

@test "exp/TAG that holds something else, or is of an earlier version, is left as it is" {
  run bash -c ". '$root/scripts/lib.sh'; own_run '$exp/new'"
  [ "$status" -eq 0 ]
  mkdir -p "$exp/mine/model" "$exp/old/conf"
  echo weights >"$exp/mine/model/model.pt"
  touch "$exp/old/conf/base.yaml" "$exp/old/base.json"
  for name in mine old; do
    run bash -c ". '$root/scripts/lib.sh'; own_run '$exp/$name'"
    [ "$status" -eq 1 ]
    [ "$output" = "error: $exp/$name: holds what this version of the recipe has not made; keep it, and give --tag NEW" ]
  done
  [ "$(find "$exp/mine" -type f)" = "$exp/mine/model/model.pt" ]
  mkdir -p "$exp/begun" # and killed at once
  touch "$exp/begun/.lock" "$exp/begun/.made_by_run.x.tmp"
  run bash -c ". '$root/scripts/lib.sh'; own_run '$exp/begun'"
  [ "$status" -eq 0 ]
  touch "$exp/file"
  run bash -c ". '$root/scripts/lib.sh'; own_run '$exp/file/t'"
  [ "$status" -eq 1 ]
  [ "$output" = "error: $exp/file/t: Not a directory; exp/ and data/ must be folders that can be written to, or links to such" ]
}

# as_nobody COMMAND…: permissions bind nobody that is root
as_nobody() {
  if [[ $UID == 0 ]]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi
}

@test "links in a circle, odd names and folders that cannot be read are part of a corpus's fingerprint" {
  corpus=$(mktemp -d) # where nobody may go, which bats' own folders are not
  mkdir -p "$corpus/closed" "$corpus/a"
  ln -s .. "$corpus/a/loop"
  ln -s itself "$corpus/itself"
  ln -s nowhere "$corpus/dangling"
  touch "$corpus/line"$'\n'"break.wav" "$corpus/closed/inside.wav" "$corpus/shut.jsonl"
  cp "$root/scripts/lib.sh" "$corpus/a"
  chmod 755 "$corpus"
  chmod 0 "$corpus/closed" "$corpus/shut.jsonl"
  of() { as_nobody bash -c ". '$corpus/a/lib.sh'; exp=exp/t; line=\$(describe input '$1'); echo \"\$line\"; echo whole"; }
  for path in "$corpus" "$corpus/shut.jsonl"; do
    first=$(of "$path")
    [[ $first == *$'\n'whole ]]
    [ "$(of "$path")" = "$first" ]
  done
  first=$(of "$corpus")
  touch "$corpus/one more.wav"
  more=$(of "$corpus")
  [ "$more" != "$first" ]
  chmod 755 "$corpus/closed"
  [ "$(of "$corpus")" != "$more" ]
  rm -r "$corpus"
}

@test "a user without a name, a home or a folder for temporary files gets one of the recipe's" {
  copy=$BATS_TEST_TMPDIR/copy
  mkdir -p "$copy" "$BATS_TEST_TMPDIR/bin"
  cp "$root/path.sh" "$copy"
  printf '#!/bin/sh\necho "id: cannot find name for user ID 12345" >&2\nexit 1\n' >"$BATS_TEST_TMPDIR/bin/id"
  chmod +x "$BATS_TEST_TMPDIR/bin/id"
  show='. ./path.sh; printf "%s\n" "$HOME" "${USER:-}" "${TMPDIR:-}"'
  for home in "" /nonexistent; do
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run env -C "$copy" -u USER -u LOGNAME HOME="$home" TMPDIR=/nonexistent bash -euo pipefail -c "$show"
    [ "$status" -eq 0 ]
    [ "$output" = "$copy/.cache/home"$'\n'"uid$UID"$'\n'"$copy/.cache/home/tmp" ]
    [ -d "$copy/.cache/home/tmp" ]
  done
  run env -C "$copy" -u HOME -u TMPDIR USER=me bash -euo pipefail -c "$show"
  [ "$output" = "$copy/.cache/home"$'\n'me ]
  run env -C "$copy" -u TMPDIR HOME="$BATS_TEST_TMPDIR" USER=me bash -euo pipefail -c "$show"
  [ "$output" = "$BATS_TEST_TMPDIR"$'\n'me ]
}
