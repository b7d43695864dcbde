"""What recognises speech for the server: a tuned model, or another runtime's copy of it; one thread, and a queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asr.core.errors import RecipeError
from asr.core.nbest import HYPOTHESES, NBest
from asr.decoding.transcribe import BEAM, Transcriber, calibration_of, model_folder, stretches
from asr.decoding.transcript_formats import Segment
from asr.language.phrases import read_phrases
from asr.serving.settings import RefusedError

if TYPE_CHECKING:
    import numpy as np

MOST_WAITING = 32  # requests: each keeps its upload on the disk
Result = TypeVar("Result")


@dataclass
class Decoder:
    """A model by the name that clients use.

    Attributes:
        sure: whether it says how sure it is of each character.
        speaker: whose adapter is used where none is asked for; "": none.
    """

    name: str
    transcriber: Transcriber
    sure: bool
    speaker: str = ""

    def models(self) -> dict[str, str]:
        """Return {what clients may ask for: whose adapter}: NAME, and NAME@SPEAKER for each adapter."""
        adapters = self.transcriber.adapters
        return {
            self.name: self.speaker,
            **{f"{self.name}@{who}": who for who in (adapters.folders if adapters else ()) if who},
        }

    def segments(
        self, path: Path, minutes: float, stopped: Callable[[], bool], speaker: str | None = None
    ) -> list[Segment]:
        """Return what is recognised in a file, with the adapter of ``speaker``; None: as the server was started.

        RefusedError for what is no sound, for what lasts longer than ``minutes``, and once it is ``stopped``.
        """
        from asr.audio.headers import read_header
        from asr.audio.reading import UnreadableError

        self.transcriber.use(self.speaker if speaker is None else speaker)
        found: list[Segment] = []
        try:
            header = read_header(str(path))
            _check_length(header.num_samples / header.sample_rate, minutes)
            for stretch in stretches("the recording", str(path), say=lambda _: None):
                if stopped():
                    raise RefusedError(503, "The server is being ended.", code="ending")
                _check_length(stretch.end, minutes)  # some headers only estimate it
                found += [self.transcriber.segment(piece, self.sure) for piece in self.transcriber.recognise([stretch])]
        except (UnreadableError, RecipeError) as error:
            why = str(error).replace(f"{path.parent}/", "")
            raise RefusedError(400, f"The audio cannot be used: {why}.", "file", "invalid_audio") from None
        return found


def _check_length(seconds: float, minutes: float) -> None:
    if seconds > 60 * minutes:
        why = f"The recording lasts {seconds / 60:.1f} minutes, more than the {minutes:g} that this server takes;"
        raise RefusedError(400, f"{why} cut it, or use asr.transcribe, which has no limit.", "file", "too_long")


class _Plain:
    """Another runtime, in the shape of a recogniser: texts without candidates."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    def nbest(self, clips: Sequence[np.ndarray]) -> list[NBest]:
        texts = [self.runtime.transcribe(clip) for clip in clips]
        return [NBest("", HYPOTHESES, text, texts=((text, 0.0),)) for text in texts]


def open_decoder(
    given: Path, ngpu: int = 0, phrases: Path | None = None, adapter: Path | None = None, speaker: str = ""
) -> Decoder:
    """Load a model folder, a run's averaged model, or a folder of asr.export. RecipeError where it is none of these."""
    if _is_exported(given):
        if adapter:
            raise RecipeError(f"--adapter: {given} is for other runtimes, which take none; give --model exp/TAG/model")
        from asr.export.runtimes import open_runtime

        if phrases:
            raise RecipeError(
                f"--phrases: other runtimes have no search; export them: python -m asr.export --phrases {phrases}"
            )
        if ngpu:
            raise RecipeError(
                f"--ngpu {ngpu}: the runtimes in {given} use the processor; --model exp/TAG/model can use a GPU"
            )
        return Decoder(_name_of(given), Transcriber(_Plain(open_runtime(given))), sure=False)
    folder = model_folder(given)
    preferred = read_phrases(phrases) if phrases else None
    from asr.models.loading import load

    recogniser = load(folder, ngpu)
    if "nbest_beam" in recogniser.options:
        recogniser.options = {**recogniser.options, "nbest_beam": BEAM}
    fitted = calibration_of(folder, recogniser.family.method(recogniser.options))
    transcriber = Transcriber(recogniser, preferred, fitted)
    if adapter:
        transcriber.load_adapters(adapter, folder, speaker, print)
    return Decoder(_name_of(folder), transcriber, True, speaker)


def _is_exported(folder: Path) -> bool:
    """Return whether a folder is what asr.export made, or a runtime's part of it."""
    if (folder / "model.pt").is_file():
        return False
    return (folder / "parity.json").is_file() or any(folder.glob("*.onnx")) or any(folder.glob("*/model.onnx"))


def _name_of(folder: Path) -> str:
    """Return exp/TAG/model's, exp/TAG/deploy's and exp/TAG/deploy/RUNTIME's TAG, any other folder's own name."""
    folder = folder.resolve()
    if folder.parent.name == "deploy":
        folder = folder.parent
    return folder.parent.name if folder.name in ("model", "deploy") else folder.name


class Worker:
    """One thread that works through what it is given, in order: the event loop stays free, the model is used by one."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "decoder")
        self._waiting = 0
        self.is_ending: Callable[[], bool] = lambda: False

    async def run(self, work: Callable[[Callable[[], bool]], Result]) -> Result:
        """Return what ``work`` returns. RefusedError where too many are waiting.

        Where this is cancelled, work that waits is dropped, and work that runs is told by what it was called with.
        """
        if self._waiting >= MOST_WAITING:
            raise RefusedError(503, f"{self._waiting} recordings are waiting; try again in a minute.", code="busy")
        cancelled = threading.Event()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, work, lambda: cancelled.is_set() or self.is_ending()
            )
        finally:
            self._waiting -= 1
            cancelled.set()

    def end(self) -> None:
        """Drop what waits, and wait for the piece that is being decoded."""
        self._pool.shutdown(wait=True, cancel_futures=True)
