"""Stage 3: fine-tune; the work is done in asr.training.start."""

from asr.core import errors
from asr.training import start

if __name__ == "__main__":
    errors.run(start.main)
