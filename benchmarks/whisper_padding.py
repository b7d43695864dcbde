"""How much silence Whisper needs behind a short clip: CER, loops and time of one model by what clips are padded to.

    python benchmarks/whisper_padding.py --base FOLDER --manifest test.jsonl … [--clips 48]

FOLDER is a Whisper in any form that the recipe takes, or exp/TAG/model. The clips of a manifest are drawn evenly, and
decoded greedily in batches of 16 of like length.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.audio.reading import read_audio  # noqa: E402 - found through the line above
from asr.core.manifest import Utterance, read_manifest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.models import families  # noqa: E402
from asr.models.loading import load  # noqa: E402
from asr.scoring.cer import ErrorCounts, align  # noqa: E402
from asr.scoring.normalize import normalize  # noqa: E402

BATCH, RATE = 16, 16000


class Silence(NamedTuple):
    """Seconds of silence behind a clip, or seconds that it has at least with it."""

    name: str
    after: float = 0.0
    least: float = 0.0


KINDS = (
    *(
        Silence("none"),
        Silence("0.5 s behind", after=0.5),
        Silence("1 s behind", after=1),
        Silence("2 s behind", after=2),
    ),
    *(Silence(f"to {seconds} s", least=seconds) for seconds in (3, 5, 10, 30)),
)


def row(recogniser: Any, items: list[Utterance], kind: Silence) -> list[str]:
    """Decode the clips with so much silence; a line of the table."""
    recogniser.frontend.least = kind.least
    silence = np.zeros(int(kind.after * RATE), np.float32)
    clips = [np.concatenate([read_audio(item.source), silence]) for item in items]
    began, texts = time.perf_counter(), []
    for at in range(0, len(clips), BATCH):
        texts += recogniser.transcribe(clips[at : at + BATCH])
    took = time.perf_counter() - began
    pairs = zip(items, texts, strict=True)
    counts = ErrorCounts.total(align(normalize(item.target), normalize(text)).counts for item, text in pairs)
    looped = recogniser.family.counts(texts)["looped"]
    figures = [f"{100 * counts.cer:.1f}", *map(str, (counts.sub, counts.del_, counts.ins, looped)), f"{took:.0f}"]
    return [kind.name, *figures]


def main() -> None:
    """Print a table for each manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--manifest", required=True, type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=48)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = families.of("whisper").convert(arguments.base, Path(place) / "base", {})
        recogniser = load(folder)
        for manifest in arguments.manifest:
            found = sorted(read_manifest(manifest), key=lambda item: item.key)
            step = max(1, len(found) // arguments.clips)
            items = sorted(found[::step][: arguments.clips], key=lambda item: item.duration)
            characters = sum(len(normalize(item.target)) for item in items)
            speakers = len({item.speaker for item in items})
            print(f"\n{manifest}: {len(items)} clips, {characters} characters, {speakers} speakers\n", flush=True)
            rows = []
            for kind in KINDS:
                rows.append(row(recogniser, items, kind))
                print(rows[-1], file=sys.stderr, flush=True)
            print(markdown_table(["silence", "CER %", "sub", "del", "ins", "loops", "seconds"], rows), flush=True)


if __name__ == "__main__":
    main()
