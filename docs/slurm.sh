#!/usr/bin/env bash
# All stages on a Slurm cluster: one GPU, one machine, or several. Not yet run on a cluster; see docs/scaling.md.
#
#   sbatch docs/slurm.sh --corpus /shared/CDSD --tag paraformer_finetune_1h              # one GPU
#   sbatch --gpus-per-node=8 docs/slurm.sh --corpus …                                    # a machine with eight
#   sbatch --nodes=4 --gpus-per-node=8 --exclusive docs/slurm.sh --corpus …              # four of them
#
# What follows the script's name goes to run.sh. Submit it in the repository's folder, which must be on a file system that
# all machines see, at one path; so must the corpus.
#SBATCH --job-name=asr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-gpu=8
#SBATCH --mem-per-gpu=48G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.log
#SBATCH --open-mode=append
# Two minutes before the time is up the training saves and stops; the job is put back into the queue and goes on.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -Eeuo pipefail
cd "${SLURM_SUBMIT_DIR:?submit it with sbatch}"

gpus=${SLURM_GPUS_ON_NODE:-1}
exp='' data='' restart='' words=()
# these are wanted here too: on several machines stage 3 is started without run.sh
while (($#)); do
  [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --tag) exp=exp/${2:?--tag needs a name} ;;
    --data) data=${2:?--data needs a folder} ;;
    --restart) ((${SLURM_RESTART_COUNT:-0})) || restart=--restart ;; # back in the queue, the job goes on
  esac
  [[ $1 == --restart ]] || words+=("$1")
  shift
done
[[ -n $exp ]] || { echo "error: give --tag NAME, the run's name" >&2 && exit 2; }
if [[ -z $data ]]; then
  data=data/$(basename "$exp")_dataset
  words+=(--data "$data")
fi
[[ -z $restart ]] || words+=(--restart)

child=''
stop() { # the signal is this shell's alone, which passes it on
  trap '' TERM
  [[ -z $child ]] || { kill -TERM -- "-$child" && wait "$child"; } || true
  scontrol requeue "$SLURM_JOB_ID"
  exit 143
}
trap stop TERM

in_background() { # so that bash hears the signal while it waits; in a group of its own
  set -m
  "$@" &
  child=$!
  set +m
  wait "$child"
  child=''
}

if ((SLURM_JOB_NUM_NODES == 1)); then
  in_background bash run.sh "${words[@]}" --ngpu "$gpus"
  exit
fi

in_background bash run.sh "${words[@]}" --ngpu "$gpus" --stop-stage 2
# torchrun reads these; a process that dies is started anew, twice, from the newest resume point
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PET_NNODES=$SLURM_JOB_NUM_NODES PET_RDZV_BACKEND=c10d PET_RDZV_ENDPOINT=$first:29400 PET_MAX_RESTARTS=2
export PET_RDZV_ID=$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0} # new for every launch
export exp data gpus restart
# shellcheck disable=SC2016 # expanded on each machine
in_background srun --kill-on-bad-exit=1 bash -c \
  '. ./path.sh && PET_NODE_RANK=$SLURM_NODEID exec python -m asr.train --exp "$exp" --data "$data" --ngpu "$gpus" $restart'
in_background bash run.sh "${words[@]}" --ngpu "$gpus" --stage 4
