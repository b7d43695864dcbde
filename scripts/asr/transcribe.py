"""Transcribe files with a tuned model: the work is done in asr.decoding.transcribe."""

from asr.core import errors
from asr.decoding import transcribe

if __name__ == "__main__":
    errors.run(transcribe.main)
