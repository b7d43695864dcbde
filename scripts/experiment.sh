#!/usr/bin/env bash
# Settings x seeds x folds over run.sh, one run a GPU at a time, and the folds' scores in one; begun again, it goes on.
#
#   bash scripts/experiment.sh mini/experiment.yaml
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python -m asr.experiment "$@"
