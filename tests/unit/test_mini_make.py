"""mini/make's impairment and layout on two committed clips. The WORLD vocoder itself is not installed here."""

import random
import sys

import numpy as np
import pytest
import soundfile

from asr.audio.reading import read_audio
from cdsd import read_part
from tests.stage1 import ROOT

sys.path.insert(0, str(ROOT / "mini/make"))
from impair import RANGES, draw_impairment, impaired_world  # mini/make's
from layout import audio_path, write_audio, write_labels, write_split
from world import FRAMES_PER_SECOND, World

CORPUS = ROOT / "mini/corpus"
TEXTS = [line.split() for line in (CORPUS / "after_catting/1h/Text/02_label.txt").read_text("utf-8").splitlines()][:2]


def clip(number: int) -> np.ndarray:
    return read_audio(audio_path(CORPUS, "02", number, ".opus"))


def taken_apart(wave: np.ndarray) -> World:
    """A clip as World has it, by short-time spectra in the vocoder's place: voiced where it is loud."""
    hop = round(16000 / FRAMES_PER_SECOND)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 512), 1024)[::hop] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2 + 1e-12
    loudness = power.sum(axis=1)
    f0 = np.where(loudness > 0.05 * loudness.max(), 200.0, 0.0)
    return World(f0, np.log(power), np.full(power.shape, 0.1))


@pytest.mark.parametrize("severity", RANGES)
@pytest.mark.parametrize("number", [1, 2])
def test_a_clip_is_made_slower_and_flatter_the_same_for_the_same_seed(severity, number):
    impairment = draw_impairment(severity, 1.0, 1.0, random.Random(0))
    world, syllables = taken_apart(clip(number)), len(TEXTS[number - 1][1])
    changed, again = (impaired_world(world, syllables, impairment, seed=7) for _ in range(2))
    assert len(changed.f0) > 1.05 * len(world.f0)
    assert changed.log_envelope.shape == changed.aperiodicity.shape == (len(changed.f0), 513)
    assert all(np.isfinite(part).all() for part in (changed.f0, changed.log_envelope, changed.aperiodicity))
    assert np.array_equal(changed.f0, again.f0)
    assert np.array_equal(changed.log_envelope, again.log_envelope)
    other = impaired_world(world, syllables, impairment, seed=8)
    assert len(other.f0) != len(changed.f0) or not np.array_equal(other.f0, changed.f0)


def test_what_layout_writes_is_a_corpus_that_stage_1_reads(tmp_path):
    for number in (1, 2):
        write_audio(audio_path(tmp_path, "02", number, ".wav"), clip(number), format="WAV", subtype="PCM_16")
    write_labels(tmp_path, "02", [text for _, text in TEXTS])
    write_split(tmp_path, {"02": "train"})
    part = read_part(tmp_path / "after_catting/1h", "1h")
    assert [(found.key, found.text) for found in part.clips] == [tuple(words) for words in TEXTS]
    assert part.problems == []
    assert soundfile.info(part.clips[0].audio).frames == len(clip(1))
    assert (tmp_path / "split.yaml").read_text() == 'train: ["02"]\nval: []\ntest: []\n'
