"""Stage 5: write RESULTS.md and report.html; the work is done in asr.reporting.write."""

from asr.core import errors
from asr.reporting import write

if __name__ == "__main__":
    errors.run(write.main)
