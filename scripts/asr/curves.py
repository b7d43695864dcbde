"""Draw a run's curves: ``python -m asr.curves --help``.

The work is done in asr.progress.curves.
"""

from asr.core import errors
from asr.progress import curves

if __name__ == "__main__":
    errors.run(curves.main)
