"""Use a tuned model at once: ``python -m asr.transcribe --model exp/<tag>/model FILE.wav …`` prints ``FILE<tab>text``.

Any sample rate and channel count that libsndfile reads (wav, flac, ogg, opus, mp3).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr import errors
from asr.errors import RecipeError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.transcribe", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help="a FunASR model folder, e.g. exp/<tag>/model")
    parser.add_argument("--ngpu", type=int, default=0, help="1 uses a GPU (default: the processor)")
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files")
    arguments = parser.parse_args()
    if not (arguments.model / "config.yaml").is_file():
        raise RecipeError(
            f"{arguments.model}: not a FunASR model folder (no config.yaml); stage 4 makes exp/<tag>/model"
        )
    for name in arguments.files:
        if not Path(name).is_file():
            raise RecipeError(f"{name}: no such audio file")
    from asr.funasr_model import load, read_audio

    recogniser = load(arguments.model, arguments.ngpu)
    for name in arguments.files:
        print(f"{name}\t{recogniser.transcribe([read_audio(name)])[0]}", flush=True)


if __name__ == "__main__":
    errors.run(main)
