#!/usr/bin/env bash
# Where the runs stand, at once: every run in exp/ in a line each, or all about those that are named.
#
#   bash scripts/status.sh                       # a table
#   bash scripts/status.sh exp/mini other_tag    # stages, epoch, loss, CER, saves, the last error, what to run next
set -Eeuo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec python -m asr.status "$@"
