"""Stages 2 and 5: decode a manifest: ``python -m asr.decode --help``.

The work is done in asr.decoding.run.
"""

from asr.core import errors
from asr.decoding import run

if __name__ == "__main__":
    errors.run(run.main)
