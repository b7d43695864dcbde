"""The fingerprint of a clip: the same for its changed copies, another for every other recording."""

import numpy as np
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.fingerprint import ALIKE, any_alike, fingerprint
from tests.stage1 import ROOT


def mini_clips():
    paths = sorted((ROOT / "mini/corpus/after_catting/1h/Audio").rglob("*.opus"))[::9]
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    return [clip for clip in clips if fingerprint(clip)]  # not so of the shortest


def distances(clips):
    bits = np.array([list(bytes.fromhex(one)) for one in map(fingerprint, clips)], dtype=np.uint8)
    return [int(np.bitwise_count(one ^ other).sum()) for n, one in enumerate(bits) for other in bits[:n]]


def test_clips_of_the_mini_corpus_are_far_apart_and_their_copies_are_not():
    """Speakers say the same texts there, in voices that are blends of few."""
    clips = mini_clips()
    assert len(clips) > 50
    assert min(distances(clips)) > 2 * ALIKE
    prints = [fingerprint(clip) for clip in clips]
    assert any_alike(prints[:5], prints[5:]) == [False] * 5
    for change in (lambda clip: clip[1:], lambda clip: np.pad(clip, 4000), lambda clip: clip * 0.3):
        assert all(any_alike([fingerprint(change(clip)) for clip in clips], prints))


def test_what_has_nothing_to_tell_has_none():
    steady = np.sin(np.arange(16000) * 2 * np.pi * 0.05)
    for samples in (np.zeros(16000), np.ones(16000), steady, np.random.default_rng(0).normal(size=4000), np.zeros(3)):
        assert fingerprint(samples.astype(np.float32)) == ""
    assert any_alike(["", "0" * 128], []) == [False, False]
    assert any_alike(["", "0" * 128], ["", "0" * 128]) == [False, True]


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), gain=st.floats(0.01, 2.0))
def test_loudness_does_not_change_it_and_another_recording_does(seed, gain):
    chance = np.random.default_rng(seed)
    samples = (chance.normal(size=16000) * np.repeat(chance.uniform(0.2, 1, 50), 320)).astype(np.float32)
    assert any_alike([fingerprint(samples * np.float32(gain))], [fingerprint(samples)]) == [True]
    assert any_alike([fingerprint(samples[::-1])], [fingerprint(samples)]) == [False]
