"""Python side of the recipe: small modules, named by what they do, each also run as ``python -m asr.NAME``."""

__version__ = "0.1.0"

from asr.models import funasr_import

funasr_import.lazily()  # before anything imports FunASR
