"""Show where the runs in exp/ stand: the work is done in asr.progress.status."""

from asr.core import errors
from asr.progress import status

if __name__ == "__main__":
    errors.run(status.main)
