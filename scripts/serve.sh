#!/usr/bin/env bash
# Serve a tuned model on this computer: a page to speak to, and OpenAI's transcription protocol.
#
#   bash scripts/serve.sh --model exp/mini/model
#   bash scripts/serve.sh --help
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python -m asr.serve "$@"
