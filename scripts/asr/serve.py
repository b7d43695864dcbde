"""Serve a model on this computer: the work is done in asr.serving.run."""

from asr.core import errors
from asr.serving import run

if __name__ == "__main__":
    errors.run(run.main)
