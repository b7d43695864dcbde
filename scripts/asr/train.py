"""Stage 3: fine-tune: ``python -m asr.train --help``.

The work is done in asr.training.start.
"""

from asr.core import errors
from asr.training import start

if __name__ == "__main__":
    errors.run(start.main)
