"""Check a YAML and lay it out for the stages: ``python -m asr.config --help``."""

from asr.config import load
from asr.core import errors

if __name__ == "__main__":
    errors.run(load.main)
