"""What a tuned model hears in a recording, in bounded memory: samples to pieces, pieces to segments of a transcript.

Recordings of up to 60 s are decoded whole. A longer one is read piece by piece, cut at the quietest point of the second
half of every 60 s. This is no voice-activity detector: every sample is decoded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from asr.core.errors import RecipeError
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.core.nbest import NBest
from asr.core.run_folder import RunFolder, rerun
from asr.decoding import transcript_formats
from asr.decoding.second_text import describe
from asr.decoding.transcript_formats import Segment
from asr.language.calibration import NONE, Calibration
from asr.language.phrases import Phrases
from asr.language.priors import Priors
from asr.language.search import search
from asr.models.package import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np

    from asr.models.adapter_folder import Adapters

WHOLE = 60 * MODEL_SAMPLE_RATE  # samples that are never cut
QUIET = MODEL_SAMPLE_RATE // 5  # how long a cut looks for quiet around it
LEAST = MODEL_SAMPLE_RATE  # the last piece has as much
WINDOW = MODEL_SAMPLE_RATE // 40  # of a feature: no clip is shorter
BEAM = 5  # of a family whose greedy text has no candidates beside it
TOKENS_PER_SECOND = 10  # more than anybody speaks: a longer text is a language model's loop


def pieces(blocks: Iterable[np.ndarray], longest: int = WHOLE) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yield (first sample, samples, whether it is the last) of pieces of at most ``longest`` samples: all there are.

    No more than one piece and one block are in memory.
    """
    import numpy as np

    rest, start = np.empty(0, np.float32), 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= longest + LEAST:
            at = quietest(rest[:longest], longest // 2)
            yield start, rest[:at], False
            rest, start = rest[at:], start + at
    if len(rest) > longest:
        at = quietest(rest[:-LEAST], longest // 2)
        yield start, rest[:at], False
        rest, start = rest[at:], start + at
    yield start, rest, True


def quietest(samples: np.ndarray, earliest: int) -> int:
    """Return the sample behind ``earliest`` in the middle of the QUIET samples of least power."""
    import numpy as np

    total = np.cumsum(np.square(samples[earliest:], dtype=np.float64))
    return earliest + QUIET // 2 + int(np.argmin(total[QUIET:] - total[:-QUIET]))


class Stretch(NamedTuple):
    """A piece of a file before it is recognised; ``of`` is the file's length by its header, all in seconds."""

    name: str
    begin: float
    end: float
    whole: bool
    last: bool
    samples: np.ndarray
    of: float


@dataclass(frozen=True)
class Piece:
    """What was recognised in a piece of a file, and whether that is the whole file, or its last piece."""

    name: str
    begin: float
    end: float
    whole: bool
    result: NBest
    last: bool = True


class Transcriber:
    """A recogniser, the phrases that it prefers, and how sure its characters are.

    Args:
        fitted: the calibration that stage 5 left beside the model; None where there is none.
    """

    def __init__(self, recogniser: Any, phrases: Phrases | None = None, fitted: Calibration | None = None) -> None:
        self.recogniser, self.priors, self.fitted = recogniser, Priors(phrases=phrases), fitted
        self.adapters: Adapters | None = None
        self._fitted_alone = fitted

    def use(self, speaker: str) -> bool:
        """Recognise as the speaker's adapter does; return whether there is one. Without one the model is as it was."""
        folder = self.adapters.use(speaker) if self.adapters else None
        method = folder and self.recogniser.family.method(self.recogniser.options)
        self.fitted = calibration_of(folder, method) if folder else self._fitted_alone
        return folder is not None

    def load_adapters(self, folder: Path, model: Path, speaker: str, say: Callable[[str], None]) -> None:
        """Load a folder of adapters and use the speaker's, or, having said so, the model alone where there is none."""
        from asr.models.adapter_folder import Adapters

        self.adapters = Adapters(folder, model, self.recogniser.model)
        if not self.use(speaker) and speaker:
            whose = ", ".join(self.adapters.folders)
            say(f"note: {folder}: no adapter of {speaker} (there are: {whose}); the model is used without one")

    def segment(self, piece: Piece, sure: bool = True) -> Segment:
        """Return a piece's text and, with ``sure``, confidences; calibrated ones are shares of right characters."""
        text = search(piece.result, self.priors)
        about: dict[str, Any] = {}
        if sure:
            fitted = self.fitted or Calibration(NONE, 0, 0)
            about = {**describe(piece.result, fitted, text), "calibrated": fitted.method != NONE}
        return Segment(piece.name, piece.begin, piece.end, piece.whole, text, about)

    def text_line(self, piece: Piece) -> str:
        """Return FILE, the seconds unless it is the whole file, and the text, with tabs between."""
        return transcript_formats.text_lines([self.segment(piece, sure=False)]).rstrip("\n")

    def json_line(self, piece: Piece) -> str:
        """Return an object on one line."""
        return transcript_formats.json_lines([self.segment(piece)]).rstrip("\n")

    def pieces(self, name: str) -> Iterator[Piece]:
        """Yield what is recognised of a file. UnreadableError or RecipeError where it cannot be read to its end."""
        for stretch in stretches(name):
            yield from self.recognise([stretch])

    def recognise(self, batch: Sequence[Stretch]) -> Iterator[Piece]:
        """Yield what is recognised in stretches that are decoded as one batch."""
        self._allow_tokens(max(stretch.end - stretch.begin for stretch in batch))
        results = self.recogniser.nbest([stretch.samples for stretch in batch])
        for stretch, result in zip(batch, results, strict=True):
            yield Piece(stretch.name, stretch.begin, stretch.end, stretch.whole, result, stretch.last)

    def fits(self, batch: Sequence[Stretch], other: Stretch) -> bool:
        """Return whether a stretch may be decoded with others: together, padded, they are no longer than one piece.

        A language model that writes the text decodes each by itself: how much it may write is set by the length.
        """
        if not batch or "max_new_tokens" in self.recogniser.options:
            return not batch
        longest = max(len(stretch.samples) for stretch in (*batch, other))
        return longest * (len(batch) + 1) <= WHOLE

    def _allow_tokens(self, seconds: float) -> None:
        """Let a language model that writes the text write as much as is spoken in so long a piece."""
        recogniser = self.recogniser
        if "max_new_tokens" in recogniser.options:
            most = max(recogniser.family.decode_options["max_new_tokens"], int(seconds * TOKENS_PER_SECOND))
            recogniser.options = {**recogniser.options, "max_new_tokens": most}


def stretches(
    name: str, path: str | None = None, longest: int = WHOLE, say: Callable[[str], None] | None = None
) -> Iterator[Stretch]:
    """Yield the pieces of a file, at 16 kHz. UnreadableError or RecipeError where it cannot be read to its end.

    Args:
        path: what is read, ``name`` unless given.
        longest: samples of a piece.
        say: is given a note to whoever transcribes; stderr's unless given.
    """
    from asr.audio.headers import read_header
    from asr.audio.reading import resampled

    path = path or name
    if Path(path).is_dir():
        raise RecipeError(f"{name}: is a folder; name the files in it: {name.rstrip('/')}/*.wav")
    if not Path(path).is_file():
        raise RecipeError(f"{name}: no such audio file")
    if not os.path.getsize(path):
        raise RecipeError(f"{name}: the file has 0 bytes")
    of, header = 0.0, None
    for start, samples, last in pieces(resampled(path), longest):
        begin, end = start / MODEL_SAMPLE_RATE, (start + len(samples)) / MODEL_SAMPLE_RATE
        if len(samples) < WINDOW:
            raise RecipeError(f"{name}: has {1000 * end:.1f} ms, less than one 25-ms feature window")
        if not header:
            header = read_header(path)
            of = header.num_samples / header.sample_rate
            if header.sample_rate < MODEL_SAMPLE_RATE:
                (say or _note)(
                    f"note: {name}: {header.sample_rate} Hz: no sound above {header.sample_rate // 2} Hz is in it, and"
                    " models trained on 16 kHz expect some: more errors are to be expected"
                )
        yield Stretch(name, begin, end, last and not start, last, samples, of)


def _note(line: str) -> None:
    print(line, file=sys.stderr)


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
