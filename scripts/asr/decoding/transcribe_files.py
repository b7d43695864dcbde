"""Use a tuned model at once: ``python -m asr.transcribe --model exp/<tag>/model FILE.wav …`` prints ``FILE<tab>text``.

A FILE is any sample rate and channel count of wav, flac, ogg, opus and mp3, and of m4a, aac and amr where PyAV is
installed; or a folder, of which every audio file is taken, at any depth, by name; or - for standard input, of what
libsndfile reads. Recordings of up to 60 s are decoded whole. A longer one is cut at the quietest point of the second
half of every 60 s and printed as ``FILE<tab>begin-end<tab>text`` (seconds); with ``--cut 10`` pieces are shorter, and
so are subtitles: a cue is a piece. Texts then differ, for the model hears less around each.

A file that cannot be read is named on stderr, the others are transcribed, and the exit status is 1.

``--json`` prints an object a line: file, begin, end, text, confidence, and characters, each with its confidence and the
likeliest others in its place. ``--tsv`` is a table: file, begin, end, confidence, text. ``--srt`` writes subtitles.
``--out DIR`` writes a file for each recording, of each format that is asked for (.txt, .jsonl, .tsv, .srt), and
replaces none. ``--phrases FILE`` prefers the phrases of a file, one a line (asr.language.phrases).

``--adapter DIR --speaker NAME`` recognises by the shared model and the adapter of one speaker, DIR/NAME.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from asr.audio.clip import UnreadableError
from asr.core import errors
from asr.core.errors import RecipeError, UsageError
from asr.core.files import write_text
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.core.names import visible
from asr.decoding import audio_inputs
from asr.decoding import transcript_formats as formats
from asr.decoding.audio_inputs import Audio
from asr.decoding.transcribe import BEAM, WHOLE, Piece, Stretch, Transcriber, calibration_of, model_folder, stretches
from asr.decoding.transcript_formats import WRITERS, Segment
from asr.language.phrases import read_phrases

ENDINGS = {"json": "jsonl", "tsv": "tsv", "srt": "srt"}  # of a format that is asked for; txt unless one is
SHORTEST_CUT, LONGEST_CUT = 5, WHOLE // MODEL_SAMPLE_RATE  # seconds
Event = tuple[Audio, "Piece | Exception"]


class Progress:
    """Where the work is, on one line of a terminal; nothing where stderr is none."""

    def __init__(self, files: int) -> None:
        self.files, self.number, self.shown = files, 0, sys.stderr.isatty()

    def show(self, stretch: Stretch) -> None:
        """Show the file and the seconds that are decoded next."""
        if self.shown:
            of = f" of {_clock(stretch.of)}" if stretch.of else ""
            line = f"{self.number} of {self.files}: {_clock(stretch.begin)}{of} {visible(stretch.name)}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{line[:width]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for another line."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Write a line of its own to stderr."""
        self.clear()
        print(visible(line), file=sys.stderr)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def recognised(transcriber: Transcriber, found: Sequence[Audio], cut: int, progress: Progress) -> Iterator[Event]:
    """Yield the pieces of the files in their order, and of a file that cannot be read, in its place, the error.

    Short files that follow each other are decoded in one batch; their texts do not depend on it.
    """
    waiting: list[tuple[Audio, Stretch]] = []

    def decoded() -> Iterator[Event]:
        if waiting:
            of = [audio for audio, _ in waiting]
            yield from zip(of, transcriber.recognise([stretch for _, stretch in waiting]), strict=True)
        waiting.clear()

    for progress.number, audio in enumerate(found, 1):
        failed = None
        for stretch in _read(audio, cut, progress):
            if isinstance(stretch, Exception):
                failed = stretch
                break
            if not transcriber.fits([each for _, each in waiting], stretch):
                yield from decoded()
            progress.show(stretch)
            waiting.append((audio, stretch))
            if not stretch.last:  # a long recording's text is shown as it comes
                yield from decoded()
        if failed:
            yield from decoded()
            yield audio, failed
    yield from decoded()


def _read(audio: Audio, cut: int, progress: Progress) -> Iterator[Stretch | Exception]:
    try:
        with audio_inputs.readable(audio) as path:
            yield from stretches(audio.name, path, cut * MODEL_SAMPLE_RATE, progress.say)
    except (RecipeError, UnreadableError) as error:
        yield error


class Printed:
    """Segments on standard output, as they come."""

    def __init__(self, ending: str) -> None:
        self.lines = {"txt": formats.text_lines, "jsonl": formats.json_lines, "tsv": formats.tsv_rows}[ending]
        if ending == "tsv":
            print(formats.TSV_HEADER, end="")

    def add(self, audio: Audio, segment: Segment, last: bool) -> None:
        """Print a segment."""
        print(self.lines([segment]), end="", flush=True)

    def drop(self) -> None:
        """Do nothing: what was recognised before a file broke off has been printed."""


class Whole:
    """Segments that are kept until their recording has come to its end, and then written together."""

    def __init__(self, write: Callable[[Audio, list[Segment]], None]) -> None:
        self.write, self.segments = write, []

    def add(self, audio: Audio, segment: Segment, last: bool) -> None:
        """Keep a segment, and with the last one write all."""
        self.segments.append(segment)
        if last:
            self.write(audio, self.segments)
            self.segments = []

    def drop(self) -> None:
        """Forget those of a recording that broke off."""
        self.segments = []


def print_srt(_: Audio, segments: list[Segment]) -> None:
    """Print subtitles."""
    print(formats.srt(segments), end="", flush=True)


class Folder:
    """A folder with a file for each recording and format. RecipeError where one is there already."""

    def __init__(self, folder: Path, endings: Sequence[str], found: Sequence[Audio]) -> None:
        self.folder, self.endings = folder, endings
        if folder.exists() and not folder.is_dir():
            raise RecipeError(f"{folder}: is a file; --out wants a folder")
        audio_inputs.check_distinct(found)
        there = [path for audio in found for path in self._paths(audio) if path.exists()]
        if there:
            more = f" (and {len(there) - 1} more files)" if len(there) > 1 else ""
            raise RecipeError(f"{there[0]}: is there already{more}, and nothing is replaced: give another --out")

    def _paths(self, audio: Audio) -> list[Path]:
        return [self.folder / audio.out.parent / f"{audio.out.name}.{ending}" for ending in self.endings]

    def write(self, audio: Audio, segments: list[Segment]) -> None:
        """Write a recording's files, each whole or not at all."""
        for path, ending in zip(self._paths(audio), self.endings, strict=True):
            write_text(path, WRITERS[ending](segments))


def transcribe(transcriber: Transcriber, found: Sequence[Audio], cut: int, sure: bool, output: Printed | Whole) -> int:
    """Transcribe the files and return how many could not be."""
    progress, failed = Progress(len(found)), 0
    for audio, piece in recognised(transcriber, found, cut, progress):
        progress.clear()
        if isinstance(piece, Exception):
            progress.say(f"error: {_why(audio, piece)}")
            failed += 1
            output.drop()
        else:
            output.add(audio, transcriber.segment(piece, sure), piece.last)
    progress.clear()
    return failed


def _why(audio: Audio, error: Exception) -> str:
    if isinstance(error, RecipeError):
        return str(error)
    anew = f"; if it is sound: ffmpeg -i {shlex.quote(audio.name)} NEW.wav"
    is_file = audio.name != audio_inputs.STDIN and getattr(error, "kind", "") == "unreadable audio"
    return f"{audio.name}: {error}{anew if is_file else ''}"


def main() -> int:
    arguments = _arguments()
    folder = model_folder(arguments.model)
    phrases = read_phrases(arguments.phrases) if arguments.phrases else None
    endings = [ending for name, ending in ENDINGS.items() if getattr(arguments, name)] or ["txt"]
    faults: list[str] = []
    found = audio_inputs.find(arguments.files, faults.append, lambda line: print(f"note: {line}", file=sys.stderr))
    for fault in faults:
        errors.report(fault)
    if not found:
        return errors.EXIT_FAILED
    if not arguments.out and endings == ["srt"] and len(found) > 1:
        raise UsageError(f"--srt of {len(found)} recordings needs --out DIR: a file for each")
    if arguments.out:
        output: Printed | Whole = Whole(Folder(arguments.out, endings, found).write)
    else:
        output = Whole(print_srt) if endings == ["srt"] else Printed(endings[0])
    from asr.models.adapter_folder import find
    from asr.models.loading import load

    recogniser, sure = load(folder, arguments.ngpu), not {"jsonl", "tsv"}.isdisjoint(endings)
    if (phrases or sure) and "nbest_beam" in recogniser.options:
        recogniser.options = {**recogniser.options, "nbest_beam": BEAM}
    fitted = calibration_of(folder, recogniser.family.method(recogniser.options))
    transcriber = Transcriber(recogniser, phrases, fitted)
    if arguments.adapter:
        whose = find(arguments.adapter)
        if not arguments.speaker and "" not in whose:
            raise UsageError(f"--adapter {arguments.adapter}: say whose with --speaker NAME: {', '.join(whose)}")
        transcriber.load_adapters(
            arguments.adapter, folder, arguments.speaker, lambda line: print(line, file=sys.stderr)
        )
    failed = transcribe(transcriber, found, arguments.cut, sure, output)
    return errors.EXIT_FAILED if failed or faults else 0


def _arguments() -> Any:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m asr.transcribe",
        description=about,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, type=Path, help="a FunASR model folder, e.g. exp/<tag>/model")
    parser.add_argument("--ngpu", type=int, default=0, help="1 uses a GPU (default: the CPU)")
    parser.add_argument("--json", action="store_true", help="an object a line, with confidences and alternatives")
    parser.add_argument("--srt", action="store_true", help="subtitles, a cue a piece")
    parser.add_argument("--tsv", action="store_true", help="a table: file, begin, end, confidence, text")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a file for each recording and format into DIR")
    parser.add_argument("--phrases", type=Path, metavar="FILE", help="phrases to prefer, one a line (names, places)")
    parser.add_argument(
        "--adapter", type=Path, metavar="DIR", help="exp/<tag>/adapter, or a folder of speakers' adapters"
    )
    parser.add_argument("--speaker", default="", metavar="NAME", help="whose adapter; without one the model alone")
    parser.add_argument(
        "--cut", type=int, default=LONGEST_CUT, metavar="SECONDS", help="how long a piece may be: 5 to 60 (default: 60)"
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files, folders of them, - for standard input")
    arguments = parser.parse_args()
    if not SHORTEST_CUT <= arguments.cut <= LONGEST_CUT:
        parser.error(f"--cut {arguments.cut}: must be from {SHORTEST_CUT} to {LONGEST_CUT} seconds")
    if arguments.speaker and not arguments.adapter:
        parser.error("--speaker chooses among adapters: give --adapter DIR as well")
    if not arguments.out and arguments.json + arguments.srt + arguments.tsv > 1:
        parser.error("several formats need --out DIR: a file for each")
    return arguments
