"""Unpacks the mini corpus to waves in CDSD's layout.

    python mini/unpack.py --out DIR

Needs only soundfile and numpy. Writes DIR/after_catting/1h/Audio/<speaker>/<utterance>.wav (16-bit, 16 kHz,
mono), the transcripts in DIR/after_catting/1h/Text, split.yaml and speakers.tsv. The folder appears under
its name only when it is whole.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000
AUDIO = Path("after_catting", "1h", "Audio")
TEXT = Path("after_catting", "1h", "Text")
SOURCE = "packed.sha256"  # which packed corpus an unpacked folder is of
TABLES = ("split.yaml", "speakers.tsv")


def unpack_clip(packed: Path, wave_path: Path) -> int:
    """Decodes one clip to 16-bit PCM; returns its number of samples."""
    wave, rate = soundfile.read(packed, dtype="float32")
    if rate != SAMPLE_RATE or wave.ndim != 1:
        raise ValueError(f"{packed}: {rate} Hz with shape {wave.shape}, wanted {SAMPLE_RATE} Hz mono")
    samples = np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)
    wave_path.parent.mkdir(parents=True, exist_ok=True)
    partial = wave_path.with_suffix(".part")
    soundfile.write(partial, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    partial.rename(wave_path)
    return len(samples)


def digest(corpus: Path) -> str:
    """sha256 over the names and bytes of the packed corpus."""
    total = hashlib.sha256()
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(corpus)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def is_whole(corpus: Path, out: Path) -> bool:
    """Whether `out` is of this very packed `corpus`, and holds every clip, transcript and table of it."""
    if not (out / SOURCE).is_file() or (out / SOURCE).read_text(encoding="utf-8") != digest(corpus):
        return False
    clips = (AUDIO / path.parent.name / f"{path.stem}.wav" for path in (corpus / AUDIO).glob("*/*.opus"))
    texts = (TEXT / path.name for path in (corpus / TEXT).glob("*.txt"))
    return all((out / path).is_file() for path in (*clips, *texts, *map(Path, TABLES)))


def unpack(corpus: Path, out: Path) -> tuple[int, float]:
    """Unpacks `corpus` to `out` by way of .<out>.tmp; returns the numbers of clips and of seconds."""
    partial = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    packed = sorted((corpus / AUDIO).glob("*/*.opus"))
    samples = sum(unpack_clip(clip, partial / AUDIO / clip.parent.name / f"{clip.stem}.wav") for clip in packed)
    shutil.copytree(corpus / TEXT, partial / TEXT)
    for table in TABLES:
        shutil.copyfile(corpus / table, partial / table)
    (partial / SOURCE).write_text(digest(corpus), encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)
    return len(packed), samples / SAMPLE_RATE


def main() -> int:
    """Reads the options and unpacks unless it is done already; an unrelated folder is never touched."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parent / "corpus", help="packed corpus")
    parser.add_argument("--force", action="store_true", help="unpack again over an earlier unpacking")
    options = parser.parse_args()
    out = options.out.resolve()
    # SOURCE tells an earlier unpacking from a real corpus in the same layout, which must never be removed.
    if out.exists() and not (out / SOURCE).is_file() and (not out.is_dir() or any(out.iterdir())):
        print(f"error: {out}: holds what is no unpacked mini corpus; give --out another folder", file=sys.stderr)
        return 1
    if is_whole(options.corpus, out) and not options.force:
        print(f"{out} is there already; --force unpacks it again")
        return 0
    try:
        clips, seconds = unpack(options.corpus, out)
    except OSError as error:
        print(f"error: {error.filename or out}: {error.strerror}; {out} cannot be made", file=sys.stderr)
        return 1
    print(f"{clips} clips, {seconds / 60:.1f} minutes in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
