# shellcheck shell=bash
# Environment of the recipe; sourced by run.sh, and by you when you want to run a tool by hand: . ./path.sh

# Where CDSD lies: the folder that holds after_catting/. Set it in the environment, or here, once, behind the minus:
# "${CDSD_ROOT-/data/CDSD}". CDSD_ROOT= in the environment (empty) then still means the mini corpus.
export CDSD_ROOT="${CDSD_ROOT-}"

ASR_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export ASR_ROOT

# Python: .venv if scripts/install.sh made one, else the active conda or virtual environment.
if [[ -x "$ASR_ROOT/.venv/bin/python" ]]; then
  export PATH="$ASR_ROOT/.venv/bin:$PATH"
  export ASR_ENVIRONMENT=".venv"
else
  export ASR_ENVIRONMENT="the active environment (${CONDA_PREFIX:-${VIRTUAL_ENV:-$(command -v python || echo none)}})"
fi
# Said at once, in a line: what is missing would show as a traceback of whatever is called first.
if ! python -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("funasr") and u.find_spec("tqdm")))' 2>/dev/null; then
  echo "error: the recipe is not installed in $ASR_ENVIRONMENT: bash $ASR_ROOT/scripts/install.sh" >&2
  return 1
fi
export PYTHONPATH="$ASR_ROOT/scripts${PYTHONPATH:+:$PYTHONPATH}"

# docker run --user and batch systems give a user without a name, without a home, or with one that cannot be written to;
# then torch has no name for its cache, and matplotlib, ModelScope and others have no place for theirs.
[[ -n ${USER:-}${LOGNAME:-} ]] || id -un >/dev/null 2>&1 || export USER="uid$UID"
if [[ ! -d ${HOME:-} || ! -w $HOME ]]; then
  [[ ! -d ${HOME:-}/.cache/modelscope ]] || export MODELSCOPE_CACHE="${MODELSCOPE_CACHE-$HOME/.cache/modelscope}"
  for HOME in "$ASR_ROOT/.cache/home" "$ASR_ROOT/exp/.home" "${TMPDIR:-/tmp}/asr-$UID"; do
    if mkdir -p "$HOME" 2>/dev/null && [[ -O $HOME && -w $HOME ]]; then break; fi
  done
  export HOME
fi
if [[ ! -w ${TMPDIR:-/tmp} ]] && mkdir -p "$HOME/tmp" 2>/dev/null; then export TMPDIR=$HOME/tmp; fi

export LC_ALL=C.UTF-8 # one sort order and one encoding everywhere
export PYTHONUTF8=1
export OMP_WAIT_POLICY=PASSIVE # threads that wait do not spin: on a busy machine spinning made training 5 times slower
export TOKENIZERS_PARALLELISM=false
export TF_CPP_MIN_LOG_LEVEL=2
