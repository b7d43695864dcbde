"""Stage 5: confidences, and second texts by a language model: ``python -m asr.rescore --exp exp/<tag> --data data/…``.

The work is done in asr.decoding.second_text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.core import errors
from asr.core.errors import UsageError
from asr.decoding import second_text


def main() -> None:
    """Parse the command line and do the work."""
    parser = argparse.ArgumentParser(prog="python -m asr.rescore", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, decoded by stages 2 and 5")
    parser.add_argument("--data", type=Path, help="stage 1's folder")
    parser.add_argument("--check-texts", action="store_true", help="only check the texts that decode_conf names")
    parser.add_argument("--ngpu", type=int, default=0, help="GPUs to decode validation with; 0 is the CPU")
    arguments = parser.parse_args()
    if arguments.check_texts:
        second_text.check_texts(arguments.exp)
    elif arguments.data is None:
        raise UsageError("--data is missing; see --help")
    else:
        second_text.main(arguments.exp, arguments.data, arguments.ngpu)


if __name__ == "__main__":
    errors.run(main)
