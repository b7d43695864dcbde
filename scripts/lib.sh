# shellcheck shell=bash
# The recipe's only shell library: strict mode, options, stages, stamps. Sourced by run.sh.

set -Eeuo pipefail
shopt -s inherit_errexit

stage_running="" # number of the stage at work, for the message when it fails
stage_log=""     # its log
stage_began=""   # when its command was begun, while it is at work
to_log=""        # while a stage is at work, the descriptor that leads to its log and to the screen
new_run=""       # exp/TAG was not there before: it is taken away again where nothing comes of it
stopped=""       # a signal has asked for a stop
command_line=()  # the options as they were given, without the stage range
overrides=()     # ++a.b=c words, passed through to the configuration
no_cdsd=""       # CDSD_ROOT was given empty, for the mini corpus on a machine where it is set
if [[ -n ${CDSD_ROOT+given} && -z $CDSD_ROOT ]]; then no_cdsd="CDSD_ROOT= "; fi

ASR_TTY="" # the terminal, where a person is watching: bars are drawn on it, past the logs
if [[ -t 2 ]]; then ASR_TTY=$(tty <&2); fi
export ASR_TTY

log() { printf '%s\n' "$*"; }

die() { # die STATUS MESSAGE: one line on stderr, then out
  printf 'error: %s\n' "$2" >&2
  exit "$1"
}

print_help() { # print_help SCRIPT: made from its "name=default  # help" lines, so it cannot drift from them
  local line
  printf 'Usage: bash run.sh [options] [++section.key=value …]\n\n'
  while IFS= read -r line; do
    if [[ $line =~ ^([a-z_]+)=([^#]*[^#[:space:]])?[[:space:]]*#[[:space:]](.*)$ ]]; then
      printf '  --%-12s %s (default: %s)\n' "${BASH_REMATCH[1]//_/-}" "${BASH_REMATCH[3]}" "${BASH_REMATCH[2]:-none}"
    fi
  done < <(sed -n '/^# options$/,/^# end of options$/p' "$1")
  printf '  --%-12s %s\n' help "print this"
  printf '\n++section.key=value changes one value of the YAML for this run, e.g. ++dataset_conf.batch_size=4000\n'
}

parse_options() { # parse_options SCRIPT "$@": --name value, --name=value, --flag [true|false], ++a.b=c
  local script=$1 name value given
  shift
  while (($#)); do
    given=$1
    shift
    case $given in
      -h | --help)
        print_help "$script"
        exit 0
        ;;
      ++*=*)
        overrides+=("$given")
        command_line+=("$given")
        continue
        ;;
      ++*) die 2 "$given needs a value behind '=': $given=${1:-VALUE}" ;;
      --*) ;;
      *) die 2 "'$given' is not an option$(meant "$script" "$given"); see: bash run.sh --help" ;;
    esac
    name=${given#--}
    name=${name%%=*}
    value=
    [[ $given != *=* ]] || value=${given#*=}
    known_option "$script" "$name" || die 2 "unknown option --$name$(meant "$script" "$name"); see: bash run.sh --help"
    if [[ $(option_default "$script" "$name") == false ]]; then
      if [[ $given != *=* && ${1:-} =~ ^(true|false)$ ]]; then # as Kaldi's scripts are given it
        value=$1
        shift
      fi
      [[ $given != *=* || $value == true || $value == false ]] || die 2 "--$name takes no value"
      value=${value:-true}
    elif [[ $given != *=* ]]; then
      [[ $# -gt 0 && $1 != --* && $1 != ++* ]] || die 2 "--$name needs a value"
      value=$1
      shift
    fi
    [[ -n $value ]] || die 2 "--$name is given nothing; leave it out for its default"
    [[ ! $name =~ ^(corpus|data|split|speakers|conf|base)$ ]] || value=$(from_here "$name" "$value")
    printf -v "${name//-/_}" '%s' "$value"
    case $name in
      stage | stop-stage | restart) ;;
      strict | check-audio) [[ $value == false ]] || command_line+=("--$name") ;;
      *) command_line+=("--$name" "$value") ;;
    esac
  done
}

from_here() { # from_here NAME PATH: a relative path is one from where run.sh was called, or else from the recipe's folder
  local called_from=${called_from:-$PWD}
  # What is in neither is no path (a rule of --split, a model's id), or is missed where the user looks for it.
  if [[ $2 == /* || $called_from == "$PWD" ]] ||
    [[ ! -e $called_from/$2 && (-e $2 || $1 == split || $1 == base) && $1 != data ]]; then
    printf '%s' "$2"
  else
    printf '%s' "$called_from/$2"
  fi
}

meant_folder() { # meant_folder PATH: what to do about a corpus that is not there
  if [[ $1 == '~'* || $1 == */'~'* ]]; then
    printf 'a ~ in quotes is not your home folder: take the quotes away, or write %s' "$HOME${1#*'~'}"
  else
    printf 'give --corpus or CDSD_ROOT the one that holds after_catting'
  fi
}

option_lines() { sed -n '/^# options$/,/^# end of options$/p' "$1" | grep -E '^[a-z_]+='; }

known_option() { option_lines "$1" | grep -q "^${2//-/_}="; }

option_default() { option_lines "$1" | sed -n "s/^${2//-/_}=\([^ #]*\).*/\1/p"; }

meant() { # meant SCRIPT WORD: "; did you mean …?", by what other tools call it, else by an option of at most two letters' difference
  local word=${2#-} nearest
  word=${word//_/-}
  case ${word,,} in
    lr | learning-rate) nearest=++optim_conf.lr=… ;;
    epochs | epoch | max-epoch | num-epochs) nearest=++train_conf.max_epoch=… ;;
    batch-size | batch | bs) nearest=++dataset_conf.batch_size=… ;;
    gpu | gpus | num-gpus | n-gpus | nproc | device | cuda) nearest="--ngpu N" ;;
    seed) nearest=++seed=… ;;
    config) nearest="--conf FILE" ;;
    model | pretrained | init) nearest="--base ID_OR_DIR" ;;
    exp | out | output | name) nearest="--tag NAME" ;;
    resume) nearest="the same command again: it resumes" ;;
    *)
      nearest=$(option_lines "$1" | cut -d= -f1 | tr _ - | awk -v word="${word,,}" '
        function least(a, b) { return a < b ? a : b }
        { # the edit distance (Wagner and Fischer 1974), a row of the table at a time; one end left out counts as one
          for (j = 0; j <= length($0); j++) row[j] = j
          for (i = 1; i <= length(word); i++) {
            diagonal = row[0]; row[0] = i
            for (j = 1; j <= length($0); j++) {
              changed = diagonal + (substr(word, i, 1) != substr($0, j, 1)); diagonal = row[j]
              row[j] = least(changed, least(row[j], row[j - 1]) + 1)
            }
          }
          distance = row[length($0)]
          if (length(word) > 3 && substr(word, 1, 4) == substr($0, 1, 4)) distance = least(distance, 2)
          if (distance <= 2 && distance < length(word) - 1 && (best == "" || distance < closest)) { best = $0; closest = distance }
        }
        END { if (best != "") print "--" best }')
      ;;
  esac
  [[ -z $nearest ]] || printf '; did you mean %s?' "$nearest"
}

check_number() { # check_number NAME VALUE LOW HIGH
  [[ $2 =~ ^[0-9]+$ ]] || die 2 "--$1 takes a whole number, not '$2'"
  (($2 >= $3 && $2 <= $4)) || die 2 "--$1 is $2; it goes from $3 to $4"
}

at_stage() { # at_stage N TITLE: true when stage N is asked for; from here on a failure is stage N's
  # shellcheck disable=SC2154 # stage and stop_stage are run.sh's options
  ((stage <= $1 && $1 <= stop_stage)) || return 1
  stage_running=$1
  stage_title=$2
  # shellcheck disable=SC2154 # exp is run.sh's
  stage_log=$exp/log/stage$1.log
  mkdir -p "$exp/log" "$exp/stamps"
}

describe() { # describe ROLE PATH…: what each path holds, a line "ROLE KIND VALUE PATH" of a stamp; asr.progress.stages reads it
  # sha256: a file's content; large: its size and time; folder, list: sizes and times of the files in it, or that @FILE lists.
  # What cannot be read, and a link that leads round in a circle, is part of what is there: the stage says so itself.
  # A path in the run's folder begins with RUN/: a copy under another tag is as up to date as the run.
  local role=$1 path kind value
  shift
  for path in "$@"; do
    if [[ $path == @* && -f ${path#@} ]]; then
      kind=list value=$({ xargs -r -d '\n' -a "${path#@}" stat -L -c '%n %s %.9Y %.9Z' -- 2>&1 || true; } | sha256sum)
    elif [[ -d $path ]]; then
      kind=folder value=$({ find -L "$path" -type f -printf '%P %s %T@\n' 2>&1 || true; } | sort | sha256sum)
    elif [[ ! -f $path ]]; then
      kind=missing value=-
    elif (($(stat -L -c %s "$path") < 67108864)); then
      kind=sha256 value=$(sha256sum 2>/dev/null <"$path" || echo unreadable)
    else
      kind=large value=$(stat -L -c '%s:%Y' "$path")
    fi
    printf '%s %s %s %s\n' "$role" "$kind" "${value%% *}" "${path/#"$exp/"/RUN/}"
  done
}

what_changed() { # what_changed STAMP LINES: which of the lines are not in the stamp, in words
  local -a changed
  mapfile -t changed < <(grep -vxFf "$1" <<<"$2" | sed 's/^command .*/its command/; s/^[a-z]* [a-z0-9]* [^ ]* //')
  ((${#changed[@]} == 0)) || changed[0]=${changed[0]/#RUN\//"$exp/"}
  ((${#changed[@]} < 2)) || changed[0]+=" and $((${#changed[@]} - 1)) more"
  printf '%s changed' "${changed[0]:-what it is made from}"
}

run() { # run COMMAND…: with its words in the stage's log; a signal is passed on to it at once, not when it has ended
  local status=0
  trap stop INT TERM HUP # anew, for a function that is itself run so
  "$@" >&"$to_log" 2>&1 &
  wait "$!" || status=$?
  while kill -0 "$!" 2>/dev/null; do # a signal ends the wait, but what is waited for saves first
    status=0
    wait "$!" || status=$?
  done
  [[ -z $stopped ]] || exit 130
  return "$status"
}

stop() { # what a signal does: TERM to what is run, which has Ctrl-C ignored as all that bash runs beside itself; else out
  local running
  running=$(jobs -pr)
  [[ -n $running ]] || exit 130
  stopped=yes
  kill -TERM "$running" 2>/dev/null || true
}

end_log() { # all that was said is on the screen and in the log when this returns
  [[ -n $to_log ]] || return 0
  exec {to_log}>&-
  to_log=""
  wait "$tee" || true
}

once() { # once INPUT… makes OUTPUT… by COMMAND…: run COMMAND unless it, its inputs and its outputs are as they were
  local -a inputs=() outputs=()
  while [[ $1 != makes ]]; do inputs+=("$1") && shift; done
  shift
  while [[ $1 != by ]]; do outputs+=("$1") && shift; done
  shift
  local stamp=$exp/stamps/stage$stage_running made_from now why="" path
  made_from=$(printf 'command%s\n' "$(quoted "$@")" && describe input "${inputs[@]}")
  if [[ -f $stamp ]]; then
    now=$made_from$'\n'$(describe output "${outputs[@]}")
    if [[ $now == "$(<"$stamp")" ]]; then
      log "stage $stage_running: $stage_title: up to date"
      return
    fi
    why=" ($(what_changed "$stamp" "$now"))"
  fi
  log "stage $stage_running: $stage_title$why"
  # A stage that is done again is timed from zero; one that was interrupted is resumed, its time added to (training: asr.train decides).
  [[ ! -f $stamp || $stage_running == 3 ]] || rm -f "$exp/log/stage$stage_running.seconds"
  rm -f "$stamp"
  stage_began=$SECONDS
  printf '$ %s\n' "$*" >"$stage_log"
  exec {to_log}> >(trap '' TERM HUP && exec tee -ai "$stage_log") # a stop is the command's alone: its last words are kept
  tee=$!
  run "$@"
  end_log
  for path in "${outputs[@]}"; do
    [[ -e ${path#@} ]] || die 1 "${path#@}: stage $stage_running ended without making it"
  done
  printf '%s\n' "$made_from" "$(describe output "${outputs[@]}")" >"$stamp.new"
  mv "$stamp.new" "$stamp"
  log "stage $stage_running: done in $((SECONDS - stage_began)) s"
  note_seconds
}

note_seconds() { # a line more in log/stageN.seconds: what this run has spent in the stage
  [[ -z $stage_began ]] || printf '%s\n' $((SECONDS - stage_began)) >>"$exp/log/stage$stage_running.seconds"
  stage_began=""
}

own_run() { # own_run EXP: make it, unless it holds what no run of this version's format has begun (asr.core.made_by)
  if [[ ! -e $1/conf/.made_by_run && -n $(find -L "$1" ! -type d ! -name '.*' -print -quit 2>/dev/null) ]]; then
    die 1 "$1: holds what this version of the recipe has not made; keep it, and give --tag NEW"
  fi
  local why
  [[ -e $1 ]] || new_run=$1
  why=$(mkdir -p "$1/conf" 2>&1 && touch "$1/.lock" 2>&1) ||
    die 1 "$1: ${why##*: }; exp/ and data/ must be folders that can be written to, or links to such"
}

forget_run() { # after a failure: an exp/TAG that this command has made, and in which no stage has ended
  [[ -n $new_run && -z $(find "$new_run/stamps" -type f -name 'stage?' -print -quit 2>/dev/null) ]] || return 0
  rm -rf "$new_run"
}

option_of() { if [[ -n $2 ]]; then printf -- '--%s %s' "$1" "$2"; else printf 'no --%s' "$1"; fi; }

same_data() { # same_data CORPUS PART SPLIT: said before stage 1 replaces the data of a run that was trained on other data
  local stamp=$exp/stamps/stage1 i words
  local -A now=([part]=$2 [split]=$3) before=([corpus]="" [part]="" [split]="")
  # shellcheck disable=SC2154 # restart is run.sh's option
  [[ -f $stamp && -f $exp/saves.json && $restart == false ]] || return 0
  mapfile -t words < <(sed -n 1p "$stamp" | xargs printf '%s\n')
  for ((i = 0; i + 1 < ${#words[@]}; i++)); do
    [[ ${words[i]} != --* ]] || before[${words[i]#--}]=${words[i + 1]}
  done
  [[ ! -e ${before[corpus]} || ${before[corpus]} -ef $1 ]] ||
    die 1 "$exp: was trained on the corpus ${before[corpus]}; give $1 a --tag of its own, or --restart to throw the training away"
  for i in part split; do
    [[ ${before[$i]} == "${now[$i]}" || ${before[$i]} -ef ${now[$i]} ]] ||
      die 1 "$exp: was trained with $(option_of "$i" "${before[$i]}"), and this is $(option_of "$i" "${now[$i]}"); give it a --tag of its own, or --restart to throw the training away"
  done
}

lock() { # lock FILE: one run.sh at a time on a tag; the lock dies with the processes that hold it, which takes a moment
  local status=0 why
  exec {lock_fd}>>"$1"
  why=$(flock -E 75 -w 2 "$lock_fd" 2>&1) || status=$?
  [[ $status != 75 ]] || new_run="" # it is the other's
  [[ $status != 75 ]] || die 1 "$1: another run.sh is at work on this tag: pid $(tail -n 1 "$1"), or what it has started; wait for it or stop it"
  [[ $status == 0 ]] || log "note: $1 cannot be locked here (${why##*: }): see to it that no second run.sh works on this tag"
  printf '%s\n' $$ >"$1"
}

quoted() { # the words as a shell would need them
  local word
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then printf ' %s' "$word"; else printf " '%s'" "${word//\'/\'\\\'\'}"; fi
  done
}

this_command() { # what was given, without the stages, as it can be pasted anywhere: CDSD_ROOT and run.sh by their full paths
  local corpus=""
  [[ " ${command_line[*]} " == *" --corpus "* ]] || corpus=$no_cdsd
  [[ -z ${CDSD_ROOT:-} ]] || corpus="CDSD_ROOT=$(quoted "$(realpath -m -s "$CDSD_ROOT")" | sed 's/^ //') "
  printf '%sbash%s%s' "$corpus" "$(quoted "$PWD/run.sh")" "$(quoted "${command_line[@]}")"
}

on_exit() { # after a failed stage: the tail of its log, where the log is, how to rerun that stage alone
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e # a terminal that is gone cannot be written to
  end_log
  [[ $status != 0 ]] || exit 0
  if [[ -z $stage_running ]]; then
    forget_run
    exit "$status"
  fi
  note_seconds || true
  {
    if [[ $status == 130 || $status == 143 ]]; then
      status=130
      printf '\nstage %s (%s) was interrupted; nothing half-written is left\n' "$stage_running" "$stage_title"
    elif [[ -f $stage_log ]]; then
      printf '\nstage %s (%s) failed; the end of its log:\n' "$stage_running" "$stage_title"
      tail -n 8 "$stage_log" | sed 's/^/  | /'
    else
      printf '\nstage %s (%s) failed before it began\n' "$stage_running" "$stage_title"
    fi
    local first=$stage_running # or the stage that the error asks for
    if [[ -f $stage_log && $(tail -n 3 "$stage_log") =~ error:.*run\ stage\ ([0-5]) && ${BASH_REMATCH[1]} -lt $first ]]; then first=${BASH_REMATCH[1]}; fi
    [[ $status == 130 ]] || forget_run
    [[ ! -f $stage_log ]] || printf 'log:   %s\n' "$stage_log"
    printf 'rerun: %s --stage %s --stop-stage %s\n' "$(this_command)" "$first" "$stage_running"
  } >&2
  [[ $status == 2 || $status == 130 ]] || status=1
  exit "$status"
}

trap on_exit EXIT
trap stop INT TERM HUP
