#!/usr/bin/env bash
# How much of one person's speech a model of theirs needs: CER by minutes recorded, the whole model, adapters, the encoder.
#
#   bash benchmarks/learning_curve.sh CORPUS SPEAKER exp/TAG/model
#
# CORPUS holds the speaker's recordings, e.g. those of mini/make/make_speaker.py (speaker 17, simulated). One test set for
# all: a tenth of the sentences, none of them trained on. Runs are exp/curve-HOW-MINUTES; begun again, it goes on.
set -Eeuo pipefail

corpus=$1 speaker=$2 base=$3
cd "$(dirname "${BASH_SOURCE[0]}")/.."
declare -A more=(
  [full]=''
  [adapters]='++lora_conf.rank=8 ++lora_conf.alpha=16 ++optim_conf.lr=0.001'
  [encoder]='++train_only=encoder'
)
for minutes in 1 3 10 30; do
  for how in full adapters encoder; do
    # shellcheck disable=SC2086
    bash run.sh --corpus "$corpus" --data "data/curve_${minutes}min" --split "speaker-dependent:$speaker@${minutes}min" \
      --base "$base" --tag "curve-$how-$minutes" --conf conf/my_voice.yaml --ngpu 0 \
      ++train_conf.early_stopping_patience=8 ++data_conf.max_unknown_characters=0.3 ${more[$how]}
  done
done
for minutes in 1 3 10 30; do
  for how in full adapters encoder; do
    echo "$minutes min, $how: $(grep '^| tuned' "exp/curve-$how-$minutes/RESULTS.md")"
  done
done
