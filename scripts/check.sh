#!/usr/bin/env bash
# What is in a corpus, and what is wrong with it; nothing is written or changed, unless --out DIR is given.
#
#   bash scripts/check.sh --corpus /path/to/CDSD --part 1h
#   bash scripts/check.sh --help
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python "$ASR_ROOT/local/prepare_1h_dataset.py" --check-only "$@"
