"""Makes the typical corpus: unimpaired synthetic speech, to train a small base model on.

    python mini/make/make_typical.py --out DIR --voices node_modules/kokoro-js/voices

Two groups of speakers, told apart in speakers.tsv: espeak-ng (1xx) and Kokoro (2xx). Speakers 211 to 230
say what 201 to 210 say in voices and tempi changed by WORLD. The test speakers' voices occur nowhere in
train; 292 to 295 are the mini corpus's test voices without impairment. Run again, it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs import run_jobs
from layout import audio_path, write_audio, write_labels, write_split, write_table
from prompts import KEY_WORDS, WORDS, holds_unseen, typical_texts
from speakers import (
    ESPEAK_TEST,
    ESPEAK_TRAIN,
    ESPEAK_VAL,
    RESERVED,
    TEST_BLENDS,
    TRAIN_BLENDS,
    TYPICAL_VAL_BLEND,
    Blend,
    describe,
)
from voices import espeak, kokoro, level
from world import analyse, changed_voice, synthesise

SEED = 20240501
COPIES = 2
ESPEAK_CLIPS, KOKORO_CLIPS = 165, 96
SENTENCES, HELD_OUT_SENTENCES = 4500, 700


@dataclass(frozen=True)
class Speaker:
    """A speaker: id, split, voice (an espeak-ng variant or a Kokoro blend) and texts.

    `pitch` and `rate` are espeak-ng's; a changed copy is (speaker id, pitch, formant and tempo factor).
    """

    id: str
    split: str
    voice: str | Blend
    texts: list[str]
    pitch: int = 50
    rate: int = 150
    copies: list[tuple[str, float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One text by one speaker; `number` counts from 1."""

    speaker: Speaker
    number: int
    root: Path
    voice_dir: Path


def draw_texts(count: int, sentences: list[str], rng: random.Random) -> list[str]:
    """`count` texts: a fifth of them single words, a quarter of those the key words."""
    words = [word for word in WORDS if not holds_unseen(word)]
    n_key = min(round(count * 0.05), len(KEY_WORDS))
    n_words = round(count * 0.2) - n_key
    texts = rng.sample(KEY_WORDS, n_key) + rng.sample(words, n_words)
    texts += rng.sample(sentences, count - len(texts))
    rng.shuffle(texts)
    return texts


def espeak_speakers(train: list[str], held_out: list[str], rng: random.Random) -> list[Speaker]:
    """The espeak-ng speakers: 1xx for train, 191 for val, 192 and 193 for test."""
    made = []
    for number, variant in enumerate(ESPEAK_TRAIN, 101):
        texts = draw_texts(ESPEAK_CLIPS, train, rng)
        made.append(Speaker(str(number), "train", variant, texts, rng.randint(20, 80), rng.randint(125, 185)))
    for number, variant in enumerate(ESPEAK_VAL + ESPEAK_TEST, 191):
        split = "val" if variant in ESPEAK_VAL else "test"
        made.append(Speaker(str(number), split, variant, draw_texts(50, held_out, rng), 50, 150))
    return made


def kokoro_speakers(train: list[str], held_out: list[str], rng: random.Random) -> list[Speaker]:
    """The Kokoro speakers: 2xx for train with their changed copies, 291 for val, 292 to 295 for test."""
    made = []
    for number, blend in enumerate(TRAIN_BLENDS, 201):
        copies = [
            (str(number + 10 * nth), rng.uniform(0.82, 1.22), rng.uniform(0.9, 1.12), rng.uniform(0.87, 1.13))
            for nth in range(1, COPIES + 1)
        ]
        made.append(Speaker(str(number), "train", blend, draw_texts(KOKORO_CLIPS, train, rng), copies=copies))
    for number, blend in enumerate([TYPICAL_VAL_BLEND, *TEST_BLENDS], 291):
        made.append(Speaker(str(number), "val" if number == 291 else "test", blend, draw_texts(50, held_out, rng)))
    return made


def make(job: Job) -> int:
    """Makes the job's clip and its copies where missing; returns how many it made."""
    speaker, text = job.speaker, job.speaker.texts[job.number - 1]
    path = audio_path(job.root, speaker.id, job.number, ".wav")
    copies = [(audio_path(job.root, copy[0], job.number, ".wav"), copy[1:]) for copy in speaker.copies]
    if path.exists() and all(copy.exists() for copy, _ in copies):
        return 0
    rng = random.Random(f"{SEED} {speaker.id} {job.number}")
    if isinstance(speaker.voice, str):
        pitch = min(max(speaker.pitch + rng.randint(-10, 10), 5), 95)
        wave = espeak(text, speaker.voice, pitch, round(speaker.rate * rng.uniform(0.9, 1.12)))
    else:
        wave = kokoro(job.voice_dir).say(text, speaker.voice, rng.uniform(0.88, 1.12))
    world = analyse(wave) if copies else None
    for copy, factors in copies:
        write_audio(copy, level(synthesise(changed_voice(world, *factors))), subtype="PCM_16", format="WAV")
    write_audio(path, wave, subtype="PCM_16", format="WAV")
    return 1 + len(copies)


def check_held_out(speakers: Iterable[Speaker]) -> None:
    """Raises if a train or val speaker has a reserved voice or any speaker a text kept out of training."""
    for speaker in speakers:
        if speaker.split != "test" and not RESERVED.isdisjoint(speaker.voice):
            raise ValueError(f"speaker {speaker.id} has a reserved voice: {speaker.voice}")
        if any(holds_unseen(text) for text in speaker.texts):
            raise ValueError(f"speaker {speaker.id} reads a text that is kept out of training")


def write_tables(root: Path, speakers: Iterable[Speaker]) -> None:
    """Labels, split.yaml and speakers.tsv of speakers and copies."""
    rows, split_of = [], {}
    for speaker in speakers:
        group, voice = (
            ("espeak", speaker.voice) if isinstance(speaker.voice, str) else ("kokoro", describe(speaker.voice))
        )
        for id_, pitch, formants, tempo in [(speaker.id, 1.0, 1.0, 1.0), *speaker.copies]:
            write_labels(root, id_, speaker.texts)
            split_of[id_] = speaker.split
            changes = {"pitch": f"{pitch:.3f}", "formants": f"{formants:.3f}", "tempo": f"{tempo:.3f}"}
            rows.append({"speaker": id_, "split": speaker.split, "group": group, "voice": voice, **changes})
    write_split(root, split_of)
    write_table(root / "speakers.tsv", rows)


def main() -> None:
    """Reads the options, fixes all texts, then makes the espeak-ng clips and the Kokoro clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--voices", type=Path, required=True, help="folder of the Kokoro voices (<name>.bin)")
    parser.add_argument("--only", choices=("espeak", "kokoro"), help="make only this group's clips")
    parser.add_argument(
        "--kokoro-texts",
        type=int,
        default=KOKORO_CLIPS,
        help="stop at so many texts of a Kokoro speaker, none at 0",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    rng = random.Random(SEED)
    sentences = [text for text in typical_texts(SENTENCES + HELD_OUT_SENTENCES, SEED) if text not in WORDS]
    rng.shuffle(sentences)
    train, held_out = sentences[HELD_OUT_SENTENCES:], sentences[:HELD_OUT_SENTENCES]
    groups = {
        "espeak": espeak_speakers(train, held_out, rng),
        "kokoro": kokoro_speakers(train, held_out, rng),
    }
    groups["kokoro"] = [replace(s, texts=s.texts[: options.kokoro_texts]) for s in groups["kokoro"]]
    groups = {name: [speaker for speaker in speakers if speaker.texts] for name, speakers in groups.items()}
    everyone = [speaker for speakers in groups.values() for speaker in speakers]
    check_held_out(everyone)
    write_tables(options.out, everyone)
    for name, speakers in groups.items():
        if options.only in (None, name):
            # Every speaker's first text, then every speaker's second: stopped early, none is left out.
            jobs = [Job(s, n, options.out, options.voices) for s in speakers for n in range(1, len(s.texts) + 1)]
            run_jobs(make, sorted(jobs, key=lambda job: job.number), options.workers, name)


if __name__ == "__main__":
    main()
