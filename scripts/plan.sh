#!/usr/bin/env bash
# Which batch size fits this card, and which to use: by real training steps on the corpus's own longest clips.
#
#   bash scripts/plan.sh --exp exp/TAG --data data/1h_dataset
#   bash scripts/plan.sh --help
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python -m asr.plan "$@"
