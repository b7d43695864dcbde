# shellcheck shell=bash
# The recipe's only shell library: strict mode, options, stages, stamps. Sourced by run.sh.

set -Eeuo pipefail
shopt -s inherit_errexit

stage_running="" # number of the stage at work, for the message when it fails
stage_log=""     # its log
stage_began=""   # when its command was begun, while it is at work
to_log=""        # while a stage is at work, the descriptor that leads to its log and to the screen
stopped=""       # a signal has asked for a stop
command_line=()  # the options as they were given, without the stage range
overrides=()     # ++a.b=c words, passed through to the configuration

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

parse_options() { # parse_options SCRIPT "$@": --name value, --name=value, --flag, ++a.b=c
  local script=$1 name value
  shift
  while (($#)); do
    case $1 in
      -h | --help)
        print_help "$script"
        exit 0
        ;;
      ++*=*)
        overrides+=("$1")
        command_line+=("$1")
        shift
        continue
        ;;
      --*) ;;
      *) die 2 "'$1' is not an option; see: bash run.sh --help" ;;
    esac
    name=${1#--}
    value=""
    if [[ $name == *=* ]]; then
      value=${name#*=}
      name=${name%%=*}
    fi
    known_option "$script" "$name" || die 2 "unknown option --$name$(nearest_option "$script" "$name"); see: bash run.sh --help"
    if [[ $(option_default "$script" "$name") == false ]]; then
      [[ $1 != *=* || $value == true || $value == false ]] || die 2 "--$name takes no value"
      value=${value:-true}
    elif [[ $1 != *=* ]]; then
      (($# > 1)) || die 2 "--$name needs a value"
      value=$2
      shift
    fi
    shift
    [[ -n $value ]] || die 2 "--$name is given nothing; leave it out for its default"
    printf -v "${name//-/_}" '%s' "$value"
    case $name in
      stage | stop-stage | restart) ;;
      *) command_line+=("--$name" "$value") ;;
    esac
  done
}

option_lines() { sed -n '/^# options$/,/^# end of options$/p' "$1" | grep -E '^[a-z_]+='; }

known_option() { option_lines "$1" | grep -q "^${2//-/_}="; }

option_default() { option_lines "$1" | sed -n "s/^${2//-/_}=\([^ #]*\).*/\1/p"; }

nearest_option() { # "; did you mean --x?" for an option that begins alike or differs by little
  local wanted=${2//-/_} name
  while IFS= read -r name; do
    if [[ $name == "${wanted:0:4}"* || $wanted == "${name:0:4}"* ]]; then
      printf '; did you mean --%s?' "${name//_/-}"
      return
    fi
  done < <(option_lines "$1" | cut -d= -f1)
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
  why=$(mkdir -p "$1/conf" 2>&1 && touch "$1/.lock" 2>&1) ||
    die 1 "$1: ${why##*: }; exp/ and data/ must be folders that can be written to, or links to such"
}

lock() { # lock FILE: one run.sh at a time on a tag; the lock dies with the processes that hold it, which takes a moment
  local status=0 why
  exec {lock_fd}>>"$1"
  why=$(flock -E 75 -w 2 "$lock_fd" 2>&1) || status=$?
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

on_exit() { # after a failed stage: the tail of its log, where the log is, how to rerun that stage alone
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e # a terminal that is gone cannot be written to
  end_log
  [[ $status == 0 || -z $stage_running ]] && exit "$status"
  note_seconds || true
  {
    if [[ $status == 130 || $status == 143 ]]; then
      status=130
      printf '\nstage %s (%s) was interrupted; nothing half-written is left\n' "$stage_running" "$stage_title"
    elif [[ -f $stage_log ]]; then
      printf '\nstage %s (%s) failed; the end of %s:\n' "$stage_running" "$stage_title" "$stage_log"
      tail -n 8 "$stage_log" | sed 's/^/  | /'
    else
      printf '\nstage %s (%s) failed before it began\n' "$stage_running" "$stage_title"
    fi
    [[ ! -f $stage_log ]] || printf 'log:   %s\n' "$stage_log"
    printf 'rerun: bash run.sh%s --stage %s --stop-stage %s\n' \
      "$(quoted "${command_line[@]}")" "$stage_running" "$stage_running"
  } >&2
  [[ $status == 2 || $status == 130 ]] || status=1
  exit "$status"
}

trap on_exit EXIT
trap stop INT TERM HUP
