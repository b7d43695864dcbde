#!/usr/bin/env bash
# Install the recipe: exactly pinned packages in .venv, and scripts/asr as the package `asr`. No root.
#
#   bash scripts/install.sh [options]
#
#   --python FILE  Python to make .venv with (3.10 to 3.12); else the newest such Python on PATH that works
#   --active       install into the active conda or virtual environment, not into .venv
#   --dev          also the tools of tests/run.sh
#   --deepspeed    also DeepSpeed
#   --phone        also PyAV, which reads what phones record: m4a, aac, amr
#   --deploy       also what exports a model, checks the exports, and serves it (asr.export, asr.serve)
#   --cuda12       PyTorch's build for CUDA 12, for NVIDIA drivers from 525 on; the usual one is for CUDA 13, from 580 on
#   --help         this text
#
# Safe to run again: an installation that is whole is left alone, an interrupted one is gone on with, a damaged one
# repaired. What was chosen once (--dev, --deepspeed, --phone, --deploy, --cuda12) stays chosen. Takes about 7 GB with pip's downloads.
set -Eeuo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/scripts/requirements
log=$root/.cache/install.log
need_gb=7
# PyTorch's own index, or a mirror of it; nothing else is fetched from outside pip's usual index
cuda12_index=${ASR_CUDA12_INDEX:-https://download.pytorch.org/whl/cu126}
# the lines of base.txt that make up one build of PyTorch
cuda_build='^(torch|torchaudio|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)=='
child=

die() {
  echo "error: $1" >&2
  exit "${2:-1}"
}

interrupted() {
  trap - INT TERM HUP
  [[ -z $child ]] || { kill "$child" && wait "$child"; } 2>/dev/null || true
  echo >&2
  die "interrupted; the same command goes on from here" 130
}

parse_options() {
  python='' active='' cuda='' extras=()
  while (($#)); do
    case $1 in
      --python)
        [[ -n ${2:-} ]] || die "--python needs the file name of a Python" 2
        python=$2
        shift
        ;;
      --active) active=yes ;;
      --dev | --deepspeed | --phone | --deploy) extras+=("${1#--}") ;;
      --cuda12) cuda=12 ;;
      -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      *) die "unknown option $1; bash scripts/install.sh --help lists them" 2 ;;
    esac
    shift
  done
  [[ -z $python || -z $active ]] || die "--python makes a new .venv, --active uses what is active: give one of them" 2
}

# --- which Python ------------------------------------------------------------------------------------------------

# The version of a Python that really runs (pyenv leaves commands on PATH that do not), else nothing.
version_of() {
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true
}

# Sets `python` to the first that is new enough and can make a virtual environment; `only` limits the choice.
find_python() {
  local only=$1 name file version seen='' without_venv=''
  local names=(python3.12 python3.11 python3.10 python3 python)
  [[ -z $only ]] || names=("$only")
  for name in "${names[@]}"; do
    while IFS= read -r file; do
      version=$(version_of "$file")
      if [[ ! $version =~ ^3\.1[012]\. ]]; then
        seen+="${seen:+, }$file ${version:-does not run}"
      elif ! "$file" -c 'import ensurepip, venv' 2>/dev/null; then
        without_venv=${without_venv:-$file}
      else
        python=$file
        return
      fi
    done < <(type -aP "$name")
  done
  [[ -z $without_venv ]] || die "$without_venv cannot make virtual environments: on Debian and Ubuntu\
 apt-get install python3-venv; without root, activate a conda environment and use --active"
  die "no usable Python: needs 3.10, 3.11 or 3.12 (found: ${seen:-none${only:+ at $only}}); name one with\
 --python FILE, or activate a conda environment that has one and use --active"
}

# --- what is installed already -----------------------------------------------------------------------------------
# The stamp holds a line for each part that is whole: root PATH, cuda 12|13, base|asr|dev|deepspeed|phone|deploy DIGEST.

stamped() {
  [[ ! -f $stamp ]] || sed -n "s/^$1 //p" "$stamp"
}

put_stamp() {
  { [[ ! -f $stamp ]] || grep -v "^$1 " "$stamp" || true; } >"$stamp.tmp"
  echo "$1 $2" >>"$stamp.tmp"
  mv "$stamp.tmp" "$stamp"
}

digest() {
  if [[ $1 == asr ]]; then echo "$root" "$(<"$root/pyproject.toml")"; else cat "$requirements/$1.txt"; fi |
    sha256sum | cut -c 1-16
}

is_whole() {
  [[ $(stamped "$1") == "$(digest "$1")" ]]
}

# True when every part that is wanted is whole, and nobody has changed a package since.
all_whole() {
  local part
  [[ $(stamped cuda) == "$cuda" ]] || return 1
  for part in base asr "${extras[@]}"; do
    is_whole "$part" || return 1
  done
  "$python" -m asr.machine --packages >/dev/null 2>&1 || put_stamp base damaged
  is_whole base
}

# Adds to `extras` and `cuda` what an earlier call chose.
remember_choices() {
  local part
  for part in dev deepspeed phone deploy; do
    [[ " ${extras[*]-} " == *" $part "* || -z $(stamped $part) ]] || extras+=("$part")
  done
  [[ -n $cuda ]] || cuda=$(stamped cuda)
  cuda=${cuda:-13}
}

# --- doing it ----------------------------------------------------------------------------------------------------

# phase TITLE COMMAND...: COMMAND writes to the log; the screen gets one line.
phase() {
  local title=$1 from=$SECONDS status=0 what_to_do="check the network and pip's settings (pip config list)"
  shift
  printf '%s ...' "$title"
  "$@" >"$log.phase" 2>&1 </dev/null &
  child=$!
  wait "$child" || status=$?
  child=
  { echo "== $title" && cat "$log.phase"; } >>"$log"
  ((status)) || { echo " $((SECONDS - from)) s" && return; }
  echo " failed"
  grep -v '^ *$' "$log.phase" | tail -n 8 | sed 's/^/  | /' >&2 || true
  if grep -q 'No space left' "$log.phase"; then what_to_do="make room on the disk"; fi
  die "$title: failed with status $status, the whole log is $log: $what_to_do, then run the same command again"
}

# These replace the process they run in: for `phase`, which kills that one when it is interrupted.
run_pip() {
  exec "$python" -m pip "$@"
}

# funasr-onnx asks for numpy <= 1.26.4 and runs with what torch needs: asr.export compares its texts.
fit_together() {
  local misfits
  misfits=$("$python" -m pip check) && return
  echo "$misfits"
  [[ -n $misfits ]] && ! grep -vq '^funasr-onnx .* has requirement numpy' <<<"$misfits"
}

# Only the pins, never what they ask for: the pins are complete (`pip check` has the last word). pip compiles them, or
# every process of every stage would start more than twice as slowly where PYTHONDONTWRITEBYTECODE is set.
pip_pins() {
  run_pip install --no-deps --compile --no-build-isolation --use-pep517 --progress-bar off "$@"
}

# An interrupted pip leaves packages without their list of files, which it would take for whole ones.
remove_half_installed() {
  local packages info
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  for info in "$packages"/*.dist-info; do
    [[ ! -d $info || -f $info/RECORD ]] || rm -rf "$info"
  done
  rm -rf "$packages"/~*
}

need_disk() {
  local dir=$1 free_gb
  free_gb=$(df -Pk "$dir" | awk 'NR == 2 { printf "%d", $4 / 1000000 }')
  ((free_gb >= need_gb)) || die "$dir: $free_gb GB free, about $need_gb GB are needed: make room there, or move the repository"
}

make_venv() {
  local venv=$root/.venv wanted=$python have
  stamp=$venv/asr-install.stamp
  have=$(version_of "$venv/bin/python")
  python=$venv/bin/python
  if [[ -n $have && $(stamped root) == "$root" ]] && "$python" -c 'import pip' 2>/dev/null &&
    [[ -z $wanted || $(version_of "$wanted") == "$have" ]]; then
    return
  fi
  [[ ! -L $venv ]] || die "$venv: is a link, and the environment that it leads to would be emptied: remove the link"
  [[ ! -e $venv || -f $stamp || -f $root/.cache/venv_begun ]] ||
    die "$venv: this script has not made it, and would empty it: move it away, or activate it and use --active"
  find_python "$wanted"
  : >"$root/.cache/venv_begun"
  phase "virtual environment .venv with Python $(version_of "$python")" "$python" -m venv --clear "$venv"
  python=$venv/bin/python
  put_stamp root "$root"
}

use_active() {
  [[ -n ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} ]] || die "--active: no environment is active; conda activate NAME, or leave --active out"
  local prefix version
  python=$(type -P python) || die "--active: the active environment has no python"
  version=$(version_of "$python")
  [[ $version =~ ^3\.1[012]\. ]] ||
    die "--active: $python is ${version:-no Python that runs}, needs 3.10 to 3.12; conda create -n asr python=3.11"
  prefix=$("$python" -c 'import sys; print(sys.prefix)')
  [[ -w $prefix ]] || die "--active: $prefix cannot be written to; activate an environment of your own"
  "$python" -m pip --version >/dev/null 2>&1 || die "--active: $python has no pip; $python -m ensurepip, or conda install pip"
  stamp=$prefix/asr-install.stamp
}

install_base() {
  local list=$root/.cache/requirements
  grep -E "$cuda_build" "$requirements/base.txt" >"$list.torch"
  grep -vE "$cuda_build" "$requirements/base.txt" >"$list.rest"
  "$python" -c 'import importlib.util as u; raise SystemExit(u.find_spec("torch") is None)' ||
    need_disk "$(dirname "$stamp")"
  phase "build tools" pip_pins "$(grep ^setuptools== "$requirements/base.txt")"
  if [[ $cuda == 13 ]]; then
    phase "$(grep ^torch== "$list.torch") for CUDA 13 and CPU (about 1.5 GB to download)" pip_pins -r "$list.torch"
  fi
  phase "FunASR and $(grep -c == "$list.rest") other packages" pip_pins -r "$list.rest"
  [[ $cuda != 12 ]] || install_cuda12 "$list.torch"
  put_stamp cuda "$cuda"
}

# The two builds share folders, so one goes before the other comes: but not before the other is on this disk.
install_cuda12() {
  local wheels=$root/.cache/cuda12 builds
  mapfile -t builds < <(sed -nE "s/^(torch|torchaudio)==.*/&+cu126/p" "$1")
  phase "${builds[0]} for CUDA 12: downloading from $cuda12_index" run_pip download --progress-bar off -d "$wheels" \
    --index-url "$cuda12_index" "${builds[@]}"
  phase "removing the CUDA 13 build" run_pip uninstall -y -r "$1"
  phase "${builds[0]}" run_pip install --progress-bar off --no-index --find-links "$wheels" "${builds[@]}"
  rm -rf "$wheels"
}

install_parts() {
  local part base_is_new=''
  [[ -n $active ]] || remove_half_installed
  if ! is_whole base || [[ $(stamped cuda) != "$cuda" ]]; then
    put_stamp base unfinished
    install_base
    base_is_new=yes
  fi
  is_whole asr || phase "the recipe's own package" pip_pins -e "$root"
  for part in "${extras[@]}"; do
    is_whole "$part" || phase "$part" pip_pins -r "$requirements/$part.txt"
    put_stamp "$part" "$(digest "$part")"
  done
  if [[ -n $base_is_new ]]; then
    phase "check: torch, torchaudio and FunASR load" "$python" -c 'import torch, torchaudio; from funasr import AutoModel'
    [[ -n $active ]] || phase "check: the packages fit together" fit_together
    put_stamp base "$(digest base)"
  fi
  put_stamp asr "$(digest asr)"
}

warn_of_driver() {
  local problem
  problem=$(PYTHONPATH=$root/scripts "$python" -m asr.machine --driver-for "$cuda" || true)
  [[ -z $problem ]] || echo "WARNING: the GPU here cannot be used: $problem" >&2
}

main() {
  parse_options "$@"
  # a user's own settings must not send packages elsewhere, nor lend the ones of another Python
  export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PYTHONNOUSERSITE=1 DS_BUILD_OPS=0
  unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
  trap interrupted INT TERM HUP
  [[ -n ${HOME:-} ]] || export HOME=$root/.cache # pip would keep its downloads in a folder called ~
  mkdir -p "$root/.cache"
  exec 9>"$root/.cache/install.lock"
  flock -E 75 -n 9 2>/dev/null || {
    (($? != 75)) || die "another scripts/install.sh is at work in $root: wait for it"
    echo "note: $root cannot be locked here: start no second scripts/install.sh in it meanwhile"
  }
  : >"$log"
  if [[ -n $active ]]; then use_active; else make_venv; fi
  remember_choices
  warn_of_driver
  if all_whole; then
    echo "already installed in $(dirname "$stamp") (CUDA $cuda build${extras[*]:+; ${extras[*]}}). Next: bash run.sh"
    return
  fi
  install_parts
  warn_of_driver
  echo "installed in $(dirname "$stamp") in $SECONDS s. Next: bash run.sh"
}

main "$@"
