"""Makes the mini corpus: simulated impaired Mandarin speech of 16 speakers, packed as Ogg/Opus.

    python mini/make/make_corpus.py --voices node_modules/kokoro-js/voices --clean DIR --out mini/corpus

Every clip is read by a Kokoro voice (kept as a wave in --clean), then impaired. Run again, it goes on
where it stopped: a clip that is there is not made again.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import soundfile
from impair import Impairment, draw_impairment, impaired
from jobs import run_jobs
from layout import audio_path, write_audio, write_labels, write_split, write_table
from prompts import TEST_UNSEEN, VAL_UNSEEN, speaker_prompts
from speakers import TEST_BLENDS, TRAIN_BLENDS, VAL_BLENDS, Blend, describe, voice_groups
from voices import kokoro, level, trim

SEED = 20240502
BITS_PER_SECOND = 20000
UNSEEN = {"train": [], "val": VAL_UNSEEN, "test": TEST_UNSEEN}

# Severity, pitch factor and formant factor of speakers 01 to 16, in the order of the blends.
CHANGES = [
    ("moderate", 1.0, 1.0),
    ("mild", 0.95, 0.97),
    ("severe", 1.0, 1.0),
    ("moderate", 1.06, 1.03),
    ("severe", 1.05, 1.02),
    ("mild", 0.92, 0.96),
    ("moderate", 0.95, 0.97),
    ("mild", 1.05, 1.03),
    ("severe", 1.0, 0.97),
    ("moderate", 1.08, 1.05),
    ("mild", 1.0, 1.0),
    ("severe", 0.94, 0.97),
    ("moderate", 1.0, 1.0),
    ("mild", 1.0, 1.0),
    ("severe", 0.92, 0.95),
    ("moderate", 1.1, 1.04),
]


@dataclass(frozen=True)
class Speaker:
    """A speaker: two-digit id, split, voice, impairment and texts (the first is utterance 1)."""

    id: str
    split: str
    blend: Blend
    impairment: Impairment
    texts: list[str]


@dataclass(frozen=True)
class Job:
    """One text by one speaker; `number` counts from 1."""

    speaker: Speaker
    number: int
    clean: Path
    out: Path
    voice_dir: Path


def all_speakers() -> list[Speaker]:
    """The 16 speakers: 10 train, 2 val, 4 test."""
    rng = random.Random(SEED)
    used: Counter[str] = Counter()
    voices = [(split, blend) for split, blends in splits() for blend in blends]
    speakers = []
    for number, ((split, blend), (severity, pitch, formants)) in enumerate(zip(voices, CHANGES, strict=True), 1):
        impairment = draw_impairment(severity, pitch, formants, rng)
        texts = speaker_prompts(UNSEEN[split], used, rng)
        speakers.append(Speaker(f"{number:02d}", split, blend, impairment, texts))
    return speakers


def splits() -> list[tuple[str, list[Blend]]]:
    """The voices of each split, in the order of the speakers."""
    return [("train", TRAIN_BLENDS), ("val", VAL_BLENDS), ("test", TEST_BLENDS)]


def make(job: Job) -> int:
    """Makes the job's clip if it is missing; returns how many it made."""
    speaker, text = job.speaker, job.speaker.texts[job.number - 1]
    path = audio_path(job.out, speaker.id, job.number, ".opus")
    if path.exists():
        return 0
    clean = audio_path(job.clean, speaker.id, job.number, ".wav")
    if not clean.exists():
        wave = kokoro(job.voice_dir).say(text, speaker.blend)
        write_audio(clean, wave, format="WAV", subtype="PCM_16")
    # Always read back, so that a clip comes out the same whether its wave was there or not.
    wave, _ = soundfile.read(clean, dtype="float32")
    seed = int(speaker.id) * 1000 + job.number
    changed = level(trim(impaired(wave, len(text), speaker.impairment, seed)))
    # libsndfile's scale: 0 stands for 256 kbit/s, 1 for 6 kbit/s.
    compression = (256000 - BITS_PER_SECOND) / 250000
    write_audio(path, changed, format="OGG", subtype="OPUS", compression_level=compression)
    return 1


def write_tables(root: Path, speakers: list[Speaker]) -> None:
    """Labels, split.yaml and speakers.tsv."""
    rows = []
    for speaker, group in zip(speakers, voice_groups([speaker.blend for speaker in speakers]), strict=True):
        write_labels(root, speaker.id, speaker.texts)
        head = {"speaker": speaker.id, "split": speaker.split, "kind": "simulated"}
        rows.append({**head, "voice": describe(speaker.blend), "voice_group": group, **asdict(speaker.impairment)})
    write_split(root, {speaker.id: speaker.split for speaker in speakers})
    write_table(root / "speakers.tsv", rows)


def main() -> None:
    """Reads the options, fixes speakers and texts, then makes the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the packed corpus")
    parser.add_argument("--clean", type=Path, required=True, help="folder of the clips without impairment")
    parser.add_argument("--voices", type=Path, required=True, help="folder of the Kokoro voices (<name>.bin)")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    speakers = all_speakers()
    write_tables(options.out, speakers)
    jobs = [
        Job(speaker, number, options.clean, options.out, options.voices)
        for speaker in speakers
        for number in range(1, len(speaker.texts) + 1)
    ]
    run_jobs(make, jobs, options.workers, "mini")


if __name__ == "__main__":
    main()
