#!/usr/bin/env bash
# Write down recordings with a tuned model: a line each, or subtitles, tables and JSON.
#
#   bash scripts/transcribe.sh --model exp/mini/model FILE.wav FOLDER …
#   bash scripts/transcribe.sh --help
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python -m asr.transcribe "$@"
