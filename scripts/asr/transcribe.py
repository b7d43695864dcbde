"""Transcribe files with a tuned model: the work is done in asr.decoding.transcribe_files."""

from asr.core import errors
from asr.decoding import transcribe_files

if __name__ == "__main__":
    errors.run(transcribe_files.main)
