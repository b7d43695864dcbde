#!/usr/bin/env bash
# Train the tiny base model again, by this recipe, from typical synthetic speech: bash mini/make_base.sh [CORPUS]
# CORPUS is what mini/make/make_typical.py made (see mini/README.md). Writes mini/base.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh

corpus=${1:-data/typical} data=data/typical_dataset tag=mini_base
[[ -d $corpus ]] || {
  echo "error: $corpus: no such corpus; make it with mini/make/make_typical.py" >&2
  exit 1
}
python local/prepare_1h_dataset.py --corpus "$corpus" --out "$data"
python mini/make/base_skeleton.py --manifest "$data/train.jsonl" --out exp/mini_base_skeleton
bash run.sh --corpus "$corpus" --data "$data" --conf conf/mini_base.yaml --tag "$tag"
python mini/make/pack_base.py --model "exp/$tag/model" --out mini/base
# The figures in mini/README.md: the packed model, as it is in git, on unseen typical voices.
python -m asr.decode --model mini/base --manifest "$data/test.jsonl" --out "exp/$tag/packed" --ngpu 0
python local/score.py --ref "$data/test.jsonl" --hyp "exp/$tag/packed/hyp.txt" --train "$data/train.jsonl" --out "exp/$tag/packed"
