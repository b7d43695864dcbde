"""Use a tuned model at once: ``python -m asr.transcribe --model exp/<tag>/model FILE.wav …`` prints ``FILE<tab>text``.

Any sample rate and channel count of wav, flac, ogg, opus and mp3; of m4a, aac and amr where PyAV is installed.
Recordings of up to 60 s are decoded whole. A longer one is read piece by piece, cut at the quietest point of the second
half of every 60 s, and printed as ``FILE<tab>begin-end<tab>text`` (seconds). This is no voice-activity detector: every
sample is decoded. A file that cannot be read is named on stderr, the others are transcribed, and the exit status is 1.

``--json`` prints an object a line: file, begin, end, text, confidence, and characters, each with its confidence and the
likeliest others in its place. ``--phrases FILE`` prefers the phrases of a file, one a line (asr.language.phrases).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core import errors
from asr.core.errors import RecipeError
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.core.nbest import NBest
from asr.core.run_folder import RunFolder, rerun
from asr.decoding.second_text import describe
from asr.language.calibration import NONE, Calibration
from asr.language.phrases import Phrases, read_phrases
from asr.language.priors import Priors
from asr.language.search import search
from asr.models.package import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np

WHOLE = 60 * MODEL_SAMPLE_RATE  # samples that are never cut
EARLIEST = 30 * MODEL_SAMPLE_RATE  # of a piece: it is cut behind this
QUIET = MODEL_SAMPLE_RATE // 5  # how long a cut looks for quiet around it
LEAST = MODEL_SAMPLE_RATE  # the last piece has as much
WINDOW = MODEL_SAMPLE_RATE // 40  # of a feature: no clip is shorter
BEAM = 5  # of a family whose greedy text has no candidates beside it
TOKENS_PER_SECOND = 10  # more than anybody speaks: a longer text is a language model's loop


def pieces(blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yield (first sample, samples, whether it is the last) of pieces of at most WHOLE samples: all of the blocks.

    No more than one piece and one block are in memory.
    """
    import numpy as np

    rest, start = np.empty(0, np.float32), 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= WHOLE + LEAST:
            at = quietest(rest[:WHOLE])
            yield start, rest[:at], False
            rest, start = rest[at:], start + at
    if len(rest) > WHOLE:
        at = quietest(rest[:-LEAST])
        yield start, rest[:at], False
        rest, start = rest[at:], start + at
    yield start, rest, True


def quietest(samples: np.ndarray) -> int:
    """Return the sample behind EARLIEST in the middle of the QUIET samples of least power."""
    import numpy as np

    total = np.cumsum(np.square(samples[EARLIEST:], dtype=np.float64))
    return EARLIEST + QUIET // 2 + int(np.argmin(total[QUIET:] - total[:-QUIET]))


@dataclass(frozen=True)
class Piece:
    """What was recognised in a piece of a file, and whether that is the whole file."""

    name: str
    begin: float
    end: float
    whole: bool
    result: NBest


class Transcriber:
    """A recogniser, the phrases that it prefers, and how sure its characters are.

    Args:
        fitted: the calibration that stage 5 left beside the model; None where there is none.
    """

    def __init__(self, recogniser: Any, phrases: Phrases | None = None, fitted: Calibration | None = None) -> None:
        self.recogniser, self.priors, self.fitted = recogniser, Priors(phrases=phrases), fitted

    def text_line(self, piece: Piece) -> str:
        """Return FILE, the seconds unless it is the whole file, and the text, with tabs between."""
        where = [] if piece.whole else [f"{piece.begin:.2f}-{piece.end:.2f}"]
        return "\t".join([piece.name, *where, search(piece.result, self.priors)])

    def json_line(self, piece: Piece) -> str:
        """Return an object on one line; ``calibrated`` says whether confidences are shares of right characters."""
        text = search(piece.result, self.priors)
        fitted = self.fitted or Calibration(NONE, 0, 0)
        about = {"file": piece.name, "begin": round(piece.begin, 2), "end": round(piece.end, 2), "text": text}
        sure = {**describe(piece.result, fitted, text), "calibrated": fitted.method != NONE}
        return json.dumps({**about, **sure}, ensure_ascii=False)

    def pieces(self, name: str) -> Iterator[Piece]:
        """Yield what is recognised of a file. UnreadableError or RecipeError where it cannot be read to its end."""
        from asr.audio.headers import read_header
        from asr.audio.reading import resampled

        if Path(name).is_dir():
            raise RecipeError(f"{name}: is a folder; name the files in it: {name.rstrip('/')}/*.wav")
        if not Path(name).is_file():
            raise RecipeError(f"{name}: no such audio file")
        for start, samples, last in pieces(resampled(name)):
            begin, end = start / MODEL_SAMPLE_RATE, (start + len(samples)) / MODEL_SAMPLE_RATE
            if len(samples) < WINDOW:
                raise RecipeError(f"{name}: has {1000 * end:.1f} ms, less than one 25-ms feature window")
            if not start and (rate := read_header(name).sample_rate) < MODEL_SAMPLE_RATE:
                print(
                    f"note: {name}: {rate} Hz: no sound above {rate // 2} Hz is in it, and models trained on 16 kHz"
                    " expect some: more errors are to be expected",
                    file=sys.stderr,
                )
            self._allow_tokens(end - begin)
            yield Piece(name, begin, end, last and not start, self.recogniser.nbest([samples])[0])

    def _allow_tokens(self, seconds: float) -> None:
        """Let a language model that writes the text write as much as is spoken in so long a piece."""
        recogniser = self.recogniser
        if "max_new_tokens" in recogniser.options:
            most = max(recogniser.family.decode_options["max_new_tokens"], int(seconds * TOKENS_PER_SECOND))
            recogniser.options = {**recogniser.options, "max_new_tokens": most}


def calibration_of(folder: Path, method: str) -> Calibration | None:
    """Return what stage 5 left in a model's folder; None where it is of another decoding method, or cannot be read."""
    try:
        record = json.loads((folder / CONFIDENCE).read_text(encoding="utf-8"))
        return Calibration.from_dict(record["calibration"]) if record["method"] == method else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def model_folder(given: Path) -> Path:
    """Return the model to use: ``given``, or the average of the run that it is. RecipeError where it is neither."""
    run, model = RunFolder(given).base_record.is_file(), RunFolder(given).model
    if (given / "config.yaml").is_file() and not run:
        return given
    if (model / "config.yaml").is_file():
        print(f"note: {given} is a run; its averaged model is used, {model}", file=sys.stderr)
        return model
    if run:
        raise RecipeError(f"{given}: a run without an averaged model; make it first: {rerun(given, 4)}")
    raise RecipeError(f"{given}: not a FunASR model folder (no config.yaml); stage 4 makes exp/<tag>/model")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m asr.transcribe", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help="a FunASR model folder, e.g. exp/<tag>/model")
    parser.add_argument("--ngpu", type=int, default=0, help="1 uses a GPU (default: the CPU)")
    parser.add_argument("--json", action="store_true", help="an object a line, with confidences and alternatives")
    parser.add_argument("--phrases", type=Path, metavar="FILE", help="phrases to prefer, one a line (names, places)")
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files")
    arguments = parser.parse_args()
    folder = model_folder(arguments.model)
    phrases = read_phrases(arguments.phrases) if arguments.phrases else None
    from asr.audio.reading import UnreadableError
    from asr.models.loading import load

    recogniser, status = load(folder, arguments.ngpu), 0
    if (phrases or arguments.json) and "nbest_beam" in recogniser.options:
        recogniser.options = {**recogniser.options, "nbest_beam": BEAM}
    fitted = calibration_of(folder, recogniser.family.method(recogniser.options))
    transcriber = Transcriber(recogniser, phrases, fitted)
    line_of = transcriber.json_line if arguments.json else transcriber.text_line
    for name in arguments.files:
        try:
            for piece in transcriber.pieces(name):
                print(line_of(piece), flush=True)
        except RecipeError as error:
            status = errors.EXIT_FAILED
            print(f"error: {error}", file=sys.stderr)
        except UnreadableError as error:
            status = errors.EXIT_FAILED
            anew = f"; if it is sound: ffmpeg -i {shlex.quote(name)} NEW.wav"
            print(f"error: {name}: {error}{anew if error.kind == 'unreadable audio' else ''}", file=sys.stderr)
    return status
