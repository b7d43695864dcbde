#!/usr/bin/env bash
# Everything CI runs, in this order: lint, format, types, shellcheck, shfmt, yamllint, unit, shell, e2e.
#
#   bash tests/run.sh [--quick] [--only STEP]... [--root DIR]
#
#   --quick      all but e2e, which runs the recipe from end to end
#   --only STEP  this step; may be given several times
#   --root DIR   test another folder with this one's tools: for the test that proves these steps can fail
#   --help       this text
#
# types is pyright on the sub-packages that pyproject.toml includes.
#
# The last line counts steps. A step whose tool is missing is skipped aloud; where CI is set it fails. The tools are
# installed where they are missing (scripts/install.sh --dev), unless ASR_PYTHON names a Python that has them.
set -Eeuo pipefail
shopt -s inherit_errexit

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$repository
all_steps=(lint format types shellcheck shfmt yamllint unit shell e2e)
bats_version=1.13.0
skip=77 # the status by which a step says that it did not run

usage() {
  echo "error: $1; bash tests/run.sh --help" >&2
  exit 2
}

parse_options() {
  steps=()
  local quick=''
  while (($#)); do
    case $1 in
      --quick) quick=yes ;;
      --only)
        [[ " ${all_steps[*]} " == *" ${2:-} "* && -n ${2:-} ]] || usage "--only ${2:-}: the steps are ${all_steps[*]}"
        steps+=("$2")
        shift
        ;;
      --root)
        [[ -d ${2:-} ]] || usage "--root ${2:-}: no such folder"
        root=$(cd "$2" && pwd)
        shift
        ;;
      -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      *) usage "unknown option $1" ;;
    esac
    shift
  done
  ((${#steps[@]})) || steps=("${all_steps[@]}")
  [[ -z $quick ]] || mapfile -t steps < <(printf '%s\n' "${steps[@]}" | grep -vx e2e)
}

# Sets `python`: .venv, else an active environment with the recipe in it; makes .venv where there is neither.
find_environment() {
  python=${ASR_PYTHON:-}
  if [[ -z $python ]]; then
    local how=()
    python=$repository/.venv/bin/python
    if [[ ! -e $repository/.venv ]] && type -P python >/dev/null && python -c 'import asr.machine' 2>/dev/null; then
      how=(--active)
      python=$(type -P python)
    fi
    bash "$repository/scripts/install.sh" --dev "${how[@]}" || exit 1
  fi
  PATH=$(dirname "$python"):$PATH
}

# bats is no Python package: it comes with the machine, else from npm into .cache/tools.
find_bats() {
  local tools=$repository/.cache/tools
  PATH=$PATH:$tools/node_modules/bats/bin
  if [[ " ${steps[*]} " =~ \ (unit|shell)\  ]] && ! type -P bats >/dev/null && type -P npm >/dev/null; then
    npm install --silent --no-audit --no-fund --fetch-retries 1 --prefix "$tools" "bats@$bats_version" || true
  fi
}

# --- the steps: status 0 passed, 77 skipped, else failed -----------------------------------------------------------

# Files below the root whose names match, generated folders left out, for xargs -0.
files() {
  find "$root" \( -name .git -o -name .venv -o -name .cache -o -path "$root/data" -o -path "$root/exp" \) -prune -o \
    -type f \( "$@" \) -print0
}

has() {
  type -P "$1" >/dev/null || { echo "$1 is not installed" && return $skip; }
}

step_lint() {
  "$python" -m ruff check .
}

step_format() {
  "$python" -m ruff format --check .
}

# Only the packages of `python` are known to it; the wrapper on PyPI holds pyright itself and runs it by node.
step_types() {
  PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$python" -m pyright --pythonpath "$(type -P "$python")"
}

step_shellcheck() {
  has shellcheck || return
  files -name '*.sh' -o -path '*/.ci/run' | xargs -0 -r shellcheck
}

step_shfmt() {
  has shfmt || return
  files -name '*.sh' -o -path '*/.ci/run' | xargs -0 -r shfmt -d -i 2 -ci
}

step_yamllint() {
  files -name '*.yaml' -o -name '*.yml' -o -name '*.cff' | xargs -0 -r "$python" -m yamllint --strict
}

# In CI a step that hangs is ended and named, before CI ends all without a word.
within() {
  local minutes=$1 status=0
  shift
  if [[ -z ${CI:-} ]]; then # in a group of its own, as timeout puts it, a person's Ctrl-C would miss it
    "$@"
    return
  fi
  timeout --kill-after=20 "${minutes}m" "$@" || status=$?
  ((status != 124 && status != 137)) || echo "ended after $minutes minutes: it hangs, or the machine is far too slow"
  return "$status"
}

# Two processes, a file's tests in one of them; more wait for each other's cores in the tests that train with two.
step_unit() {
  OMP_NUM_THREADS=1 within 45 "$python" -X faulthandler -m pytest -q -p xdist -n 2 --dist loadfile --durations=5 --ignore=tests/e2e tests
}

step_shell() {
  has bats || return
  within 15 bats tests/shell
}

step_e2e() {
  within 50 "$python" -m pytest -q -p xdist -p timeout -n 2 --dist loadfile --timeout 1800 --durations=15 tests/e2e
}

# --- running and counting them -------------------------------------------------------------------------------------

run_step() {
  local from=$SECONDS status=0 verdict
  echo "== $1"
  "step_$1" </dev/null || status=$?
  case $status in
    0) verdict=passed ;;
    "$skip") verdict=skipped ;;
    *) verdict=failed ;;
  esac
  if [[ $verdict == skipped && -n ${CI:-} ]]; then
    verdict=failed
    echo "in CI nothing skips"
  fi
  outcome[$verdict]+=" $1"
  echo "== $1: $verdict, $((SECONDS - from)) s"
}

main() {
  parse_options "$@"
  find_environment
  find_bats
  cd "$root"
  export LC_ALL=C.UTF-8 PATH
  unset PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes
  unset CDSD_ROOT               # the tests run on the mini corpus, whatever the user has
  declare -gA outcome=([passed]='' [failed]='' [skipped]='')
  local step words
  for step in "${steps[@]}"; do run_step "$step"; done
  echo
  [[ -z ${outcome[skipped]} ]] || echo "SKIPPED:${outcome[skipped]}"
  [[ -z ${outcome[failed]} ]] || echo "FAILED:${outcome[failed]}"
  local counts=()
  for step in passed failed skipped; do
    read -ra words <<<"${outcome[$step]}"
    counts+=("${#words[@]}")
  done
  echo "${counts[0]} passed, ${counts[1]} failed, ${counts[2]} skipped"
  [[ -z ${outcome[failed]} ]]
}

main "$@"
