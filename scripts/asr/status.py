"""Show where the runs in exp/ stand: ``python -m asr.status --help``.

The work is done in asr.system.status.
"""

from asr.core import errors
from asr.system import status

if __name__ == "__main__":
    errors.run(status.main)
