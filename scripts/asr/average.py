"""Stage 4: average the best checkpoints, or merge runs: ``python -m asr.average --help``.

The work is done in asr.averaging.average.
"""

from asr.averaging import average
from asr.core import errors

if __name__ == "__main__":
    errors.run(average.main)
