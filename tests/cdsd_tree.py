"""Makes corpora with CDSD's shape out of silent clips, whole or with what is wrong with real copies.

    python tests/cdsd_tree.py DIR            # a tree of CDSD's size: 44 speakers in 1h, 8 in 10h (a tenth of its clips)

Clips are sparse files: a true header and a hole. Texts are random Han characters, no prompt of CDSD.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
HAN = [chr(0x4E00 + 7 * number) for number in range(400)]
SECONDS_PER_CHARACTER = 0.15  # enough for the clip to carry its text
TENTH_OF_10H = {"01": 1160, "02": 1159, "04": 1159, "06": 1159, "08": 1159, "09": 1159, "12": 1159, "20": 1159}
WITHOUT_TRANSCRIPT = 315  # wavs of the 1h part that no label file names
COMMA_IDS = 727  # ids of speaker 37 with a full-width comma


def counts_1h() -> dict[str, int]:
    """Labelled utterances by speaker of CDSD's 1h part."""
    text = (ROOT / "conf" / "split_cdsd_1h.yaml").read_text(encoding="utf-8")
    return {speaker: int(count) for speaker, count in yaml.load(text, yaml.BaseLoader)["expected"].items()}


def wav_header(num_samples: int, rate: int = 16000, channels: int = 1) -> bytes:
    """A 44-byte header of 16-bit PCM."""
    size, block = 2 * channels * num_samples, 2 * channels
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block, block, 16)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + layout + b"data" + struct.pack("<I", size)


def write_wav(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> None:
    """A silent clip."""
    samples = round(seconds * rate)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, wav_header(samples, rate, channels))
        os.ftruncate(descriptor, 44 + 2 * channels * samples)
    finally:
        os.close(descriptor)


def texts(count: int, seed: object, prompts: Sequence[str] = ()) -> list[str]:
    """Texts with CDSD's lengths: median 5, one in thirteen of a single character. A third come from ``prompts``."""
    chance = random.Random(f"{seed}")
    lengths = chance.choices(range(1, 14), weights=(8, 15, 10, 12, 14, 11, 9, 7, 5, 4, 2, 2, 1), k=count)
    own = ("".join(chance.choices(HAN, k=length)) for length in lengths)
    return [chance.choice(prompts) if prompts and chance.random() < 1 / 3 else text for text in own]


def add_speaker(part: Path, speaker: str, items: Mapping[str, str], label_file: str = "", labels: str = "Text") -> None:
    """One speaker's clips and label file; ``items`` maps ids to texts."""
    audio = part / "Audio" / speaker
    audio.mkdir(parents=True, exist_ok=True)
    for utt, text in items.items():
        write_wav(audio / f"{utt}.wav", 0.1 + SECONDS_PER_CHARACTER * len(text))
    (part / labels).mkdir(exist_ok=True)
    lines = "".join(f"{utt} {text}\n" for utt, text in items.items())
    (part / labels / (label_file or f"{speaker}_label.txt")).write_text(lines, encoding="utf-8")


def utt_id(speaker: str, number: int) -> str:
    """An id in CDSD's scheme."""
    return f"S{int(speaker):03d}T010E000N{number:05d}"


def small(root: Path, speakers: int = 6, utterances: int = 4, part: str = "1h") -> Path:
    """A whole, small corpus; its root is returned. Every speaker says the same first text."""
    folder = root / "after_catting" / part
    for number in range(1, speakers + 1):
        speaker = f"{number:02d}"
        said = ["今天天气很好", *texts(utterances - 1, f"{part} {speaker}")]
        add_speaker(folder, speaker, {utt_id(speaker, index): text for index, text in enumerate(said, 1)})
    return root


def full_1h(root: Path, counts: Mapping[str, int], without_transcript: int, comma_ids: int) -> None:
    """CDSD's 1h part with its irregularities."""
    folder = root / "after_catting" / "1h"
    prompts = texts(2000, "prompts")
    for speaker, count in counts.items():
        ids = [utt_id(speaker, number) for number in range(1, count + 1)]
        if speaker == "37":
            ids[:comma_ids] = [f"S037T2，3E000N{number:05d}" for number in range(1, comma_ids + 1)]
        add_speaker(folder, speaker, dict(zip(ids, texts(count, f"1h {speaker}", prompts), strict=True)))
    for number in range(without_transcript):
        speaker = sorted(counts)[number % len(counts)]
        write_wav(folder / "Audio" / speaker / f"{utt_id(speaker, 90000 + number)}.wav")


def full_10h(root: Path, counts: Mapping[str, int]) -> None:
    """The 10h part: 1h's ids with other texts, and for speaker 20 another scheme of ids and a dash in the name."""
    folder = root / "after_catting" / "10h"
    for speaker, count in counts.items():
        dash = speaker == "20"
        ids = [
            f"S{1 + number % 3:03d}F001P001W{number:05d}" if dash else utt_id(speaker, number)
            for number in range(1, count + 1)
        ]
        said = texts(count, f"10h {speaker}")
        add_speaker(folder, speaker, dict(zip(ids, said, strict=True)), "20-label.txt" if dash else "")


def full(root: Path) -> Path:
    """A tree of CDSD's 1h size (55,851 labelled clips, 315 without a label) and a tenth of its 10h part."""
    full_1h(root, counts_1h(), WITHOUT_TRANSCRIPT, COMMA_IDS)
    full_10h(root, TENTH_OF_10H)
    return root


def one_in_hundred(root: Path) -> Path:
    """CDSD's 44 speakers, its irregularities, and a hundredth of its clips."""
    full_1h(root, {speaker: count // 100 for speaker, count in counts_1h().items()}, 3, 7)
    full_10h(root, {speaker: count // 100 for speaker, count in TENTH_OF_10H.items()})
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="DIR")
    print(full(parser.parse_args().out))
