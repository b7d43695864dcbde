"""Makes corpora with CDSD's shape out of silent clips, whole or with what is wrong with real copies.

    python tests/cdsd_tree.py DIR        # a tree of CDSD's size: 44 speakers in 1h, 8 in 10h, 148,581 labelled clips

Clips are sparse files: a true header and a hole. Texts are random Han characters, no prompt of CDSD. What is known to
be irregular in real copies is in it: ids with a full-width comma, a label file with a dash, ids of another scheme, ids
that both parts have, wavs without transcript and transcripts without wav, blanks, Latin letters, full-width marks.
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
SECONDS_LIKE_CDSD = 0.49  # makes clips of CDSD's mean duration, about 2.8 s
# The released total of 92,730 over its eight speakers; how many each one has is not known.
COUNTS_10H = {
    speaker: 11_591 + (speaker in ("01", "02")) for speaker in ("01", "02", "04", "06", "08", "09", "12", "20")
}
WITHOUT_TRANSCRIPT = {"1h": 315, "10h": 69}  # wavs that no label file names
WITHOUT_WAV = 12  # lines of the 1h part that no wav is there for
COMMA_IDS = 727  # ids of speaker 37 with a full-width comma
ODD_TEXTS = 33  # utterances of the 1h part that hold a blank or a Latin letter; as many of 10h hold a full-width mark


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


def add_speaker(
    part: Path, speaker: str, items: Mapping[str, str], label_file: str = "", rate: float = SECONDS_PER_CHARACTER
) -> None:
    """One speaker's clips and label file; ``items`` maps ids to texts, ``rate`` is in seconds for a character."""
    audio = part / "Audio" / speaker
    audio.mkdir(parents=True, exist_ok=True)
    for utt, text in items.items():
        write_wav(audio / f"{utt}.wav", 0.1 + rate * len(text))
    (part / "Text").mkdir(exist_ok=True)
    lines = "".join(f"{utt} {text}\n" for utt, text in items.items())
    (part / "Text" / (label_file or f"{speaker}_label.txt")).write_text(lines, encoding="utf-8")


def utt_id(speaker: str, number: int) -> str:
    """An id in CDSD's scheme."""
    return f"S{int(speaker):03d}T010E000N{number:05d}"


def small(root: Path, speakers: int = 6, utterances: int = 4, part: str = "1h", said: str = "") -> Path:
    """A whole, small corpus; its root is returned. Every speaker says the same first text, or always ``said``."""
    folder = root / "after_catting" / part
    for number in range(1, speakers + 1):
        speaker = f"{number:02d}"
        words = [said] * utterances if said else ["今天天气很好", *texts(utterances - 1, f"{part} {speaker}")]
        add_speaker(folder, speaker, {utt_id(speaker, index): text for index, text in enumerate(words, 1)})
    return root


def odd(said: list[str], count: int, marks: str) -> list[str]:
    """``said`` with something that is no Han character in the first ``count`` texts of at least two characters."""
    places = [number for number, text in enumerate(said) if len(text) > 1][:count]
    for turn, number in enumerate(places):
        said[number] = said[number][:1] + marks[turn % len(marks)] + said[number][1:]
    return said


def strays(folder: Path, speakers: Sequence[str], without_transcript: int, without_wav: int) -> None:
    """Wavs that no label file names, and lines of label files that no wav is there for."""
    for number in range(without_transcript):
        speaker = speakers[number % len(speakers)]
        write_wav(folder / "Audio" / speaker / f"{utt_id(speaker, 90000 + number)}.wav")
    for number in range(without_wav):
        speaker = speakers[number % len(speakers)]
        with open(folder / "Text" / f"{speaker}_label.txt", "a", encoding="utf-8") as stream:
            stream.write(f"{utt_id(speaker, 80000 + number)} 没有录音\n")


def make_1h(root: Path, counts: Mapping[str, int], comma_ids: int, odd_texts: int) -> Path:
    """CDSD's 1h part; its folder is returned."""
    folder = root / "after_catting" / "1h"
    prompts = texts(2000, "prompts")
    for speaker, count in counts.items():
        ids = [utt_id(speaker, number) for number in range(1, count + 1)]
        if speaker == "37":
            ids[:comma_ids] = [f"S037T2，3E000N{number:05d}" for number in range(1, comma_ids + 1)]
        said = texts(count, f"1h {speaker}", prompts)
        items = dict(zip(ids, odd(said, odd_texts * (speaker == "01"), " A"), strict=True))
        add_speaker(folder, speaker, items, rate=SECONDS_LIKE_CDSD)
    return folder


def make_10h(root: Path, counts: Mapping[str, int], odd_texts: int) -> Path:
    """The 10h part: 1h's ids with other texts, and for speaker 20 another scheme of ids and a dash in the name."""
    folder = root / "after_catting" / "10h"
    for speaker, count in counts.items():
        dash = speaker == "20"
        ids = [
            f"S{1 + number % 3:03d}F001P001W{number:05d}" if dash else utt_id(speaker, number)
            for number in range(1, count + 1)
        ]
        said = odd(texts(count, f"10h {speaker}"), odd_texts * (speaker == "01"), "，Ａ")
        items = dict(zip(ids, said, strict=True))
        add_speaker(folder, speaker, items, "20-label.txt" if dash else "", SECONDS_LIKE_CDSD)
    return folder


def full(root: Path, share_of_10h: float = 1.0) -> Path:
    """A tree of CDSD's size: 55,851 labelled clips in 1h, 92,730 (or a share of them) in 10h, and what is irregular."""
    strays(make_1h(root, counts_1h(), COMMA_IDS, ODD_TEXTS), sorted(counts_1h()), WITHOUT_TRANSCRIPT["1h"], WITHOUT_WAV)
    counts = {speaker: round(count * share_of_10h) for speaker, count in COUNTS_10H.items()}
    strays(make_10h(root, counts, ODD_TEXTS), sorted(counts)[:-1], WITHOUT_TRANSCRIPT["10h"], 0)
    return root


def one_in_hundred(root: Path) -> Path:
    """CDSD's 44 speakers, its irregularities, and a hundredth of its clips."""
    counts = {speaker: count // 100 for speaker, count in counts_1h().items()}
    strays(make_1h(root, counts, 7, 0), sorted(counts), 3, 0)
    make_10h(root, {speaker: count // 1000 for speaker, count in COUNTS_10H.items()}, 0)
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="DIR")
    print(full(parser.parse_args().out))
