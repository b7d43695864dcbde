"""Export a tuned model: the work is done in asr.export.run."""

from asr.core import errors
from asr.export import run

if __name__ == "__main__":
    errors.run(run.main)
