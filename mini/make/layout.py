"""Where clips, texts and the split go: CDSD's folder layout, each file written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000


def utterance_id(speaker: str, number: int) -> str:
    """An id in CDSD's scheme: speaker, task, environment and number."""
    return f"S{int(speaker):03d}T000E000N{number:05d}"


def audio_path(root: Path, speaker: str, number: int, suffix: str) -> Path:
    """The clip's path under `root`; `suffix` is with its dot."""
    return root / "after_catting" / "1h" / "Audio" / speaker / f"{utterance_id(speaker, number)}{suffix}"


def write_audio(path: Path, wave: np.ndarray, **options: object) -> None:
    """Writes `wave` float [samples] at 16 kHz under a temporary name, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        soundfile.write(file, wave, SAMPLE_RATE, **options)
    partial.rename(path)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Writes lines as UTF-8 under a temporary name, then renames. Another text that is there is not replaced."""
    text = "".join(f"{line}\n" for line in lines)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise SystemExit(f"error: {path}: is there, with another text; remove it, or give --out another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def write_labels(root: Path, speaker: str, texts: Sequence[str]) -> None:
    """The speaker's transcripts; the first is of utterance 1."""
    path = root / "after_catting" / "1h" / "Text" / f"{speaker}_label.txt"
    write_text(path, (f"{utterance_id(speaker, number)} {text}" for number, text in enumerate(texts, 1)))


def write_split(root: Path, split_of: Mapping[str, str]) -> None:
    """split.yaml from the split ("train", "val" or "test") of each speaker."""
    lines = []
    for split in ("train", "val", "test"):
        speakers = ", ".join(f'"{speaker}"' for speaker in sorted(split_of) if split_of[speaker] == split)
        lines.append(f"{split}: [{speakers}]")
    write_text(root / "split.yaml", lines)


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows with the same keys as tab-separated values under a header."""
    lines = ["\t".join(rows[0])]
    lines += ["\t".join(str(value) for value in row.values()) for row in rows]
    write_text(path, lines)
