"""Draw a run's curves: the work is done in asr.progress.curves."""

from asr.core import errors
from asr.progress import curves

if __name__ == "__main__":
    errors.run(curves.main)
