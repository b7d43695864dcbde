"""What each way of varying a training clip costs, beside reading it and its filter bank: milliseconds a clip, one core.

    python benchmarks/augmentation_cost.py [--seconds 2.5] [--clips 40]

Clips are made here: pulses at 120 Hz in noise. Each line is the median of five rounds, all ways in each round; share is
of the time of the filter bank in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402 - found through the line above
from asr.data.augmentation import augmentation, warped  # noqa: E402

RATE, ROUNDS = 16000, 5
VALUES = {
    "speed_perturb": [0.9, 1.1],
    "tempo": [0.8, 1.25],
    "pitch_semitones": 2,
    "formant_shift": 0.1,
    "pauses_s": [0.3, 0.6],
    "gain_db": 6,
}


def ways(folder: Path, samples: list[np.ndarray]) -> dict[str, Callable[[int], object]]:
    """Return what is timed: a function of the clip's number."""
    import torch
    from funasr.register import tables

    from asr.audio.reading import read_audio
    from asr.models.funasr_import import import_funasr

    import_funasr()
    frontend = tables.frontend_classes.get("WavFrontend")(dither=0.0)
    noise = np.random.default_rng(1).normal(0, 0.05, 10 * RATE)
    for name, sound in (("noise", noise), ("rooms", np.exp(-np.arange(RATE // 2) / 1000) * noise[: RATE // 2])):
        (folder / name).mkdir()
        soundfile.write(folder / name / "a.wav", sound, RATE)
    for number, clip in enumerate(samples):
        soundfile.write(folder / f"{number}.wav", clip, RATE)
    values = {
        **VALUES,
        "rooms": {"dir": str(folder / "rooms"), "probability": 1.0},
        "noise": {"dir": str(folder / "noise"), "probability": 1.0, "snr_db": [5, 20]},
    }

    def bank(number: int, warp: float = 1.0) -> object:
        with warped(warp):
            return frontend(torch.from_numpy(samples[number])[None], torch.tensor([len(samples[number])]))

    made = {key: augmentation({key: value}, 0) for key, value in values.items()}
    timed: dict[str, Callable[[int], object]] = {
        "reading the clip": lambda number: read_audio(str(folder / f"{number}.wav")),
        "filter bank": bank,
        "filter bank, vtlp": lambda number: bank(number, 0.9 + 0.2 * (number % 2)),
    }
    for key, one in made.items():
        timed[key] = lambda number, one=one: one.apply(samples[number], str(number), 0)
    return timed


def main() -> None:
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--clips", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chance, count = np.random.default_rng(0), int(arguments.seconds * RATE)
    pulses = np.diff(np.floor(np.arange(count + 1) * 120 / RATE))
    samples = [(0.1 * pulses + chance.normal(0, 0.01, count)).astype(np.float32) for _ in range(arguments.clips)]
    with tempfile.TemporaryDirectory() as folder:
        timed = ways(Path(folder), samples)
        took: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(ROUNDS + 1):  # the first loads and warms
            for name, way in timed.items():
                began = time.perf_counter()
                for number in range(len(samples)):
                    way(number)
                took[name].append(1000 * (time.perf_counter() - began) / len(samples))
    rows = []
    for name, every in took.items():
        shares = [one / bank for one, bank in zip(every[1:], took["filter bank"][1:], strict=True)]
        rows.append([name, f"{statistics.median(every[1:]):.2f}", f"{statistics.median(shares):.2f}"])
    print(markdown_table(("way", "ms a clip", "share of the filter bank's"), rows))


if __name__ == "__main__":
    main()
