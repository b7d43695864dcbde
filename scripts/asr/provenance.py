"""Stage 5: record where a result is from; the work is done in asr.reporting.provenance."""

from asr.core import errors
from asr.reporting import provenance

if __name__ == "__main__":
    errors.run(provenance.main)
