"""Each transform does what it says, to clips of any length and to silence, and off means off."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from funasr.register import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.data import recordings
from asr.data.augmentation import (
    FORMANTS,
    PAUSES,
    PITCH,
    TRANSFORMS,
    VTLP,
    Augmentation,
    augmentation,
    unchanged,
    warped,
)
from asr.data.chance import hashes_of, more
from asr.data.waveforms import at_pitch, quiet_places, samples_with, with_formants, with_pauses

RATE = 16000
HASH = hashes_of(["a"])


def voice(pitch=120.0, resonance=1500.0, seconds=1.0):
    """A pulse train through one resonance: its pitch and its formant are known."""
    count = int(seconds * RATE)
    pulses = np.diff(np.floor(np.arange(count + 1) * pitch / RATE))
    times = np.arange(800) / RATE
    ring = np.exp(-times * np.pi * 120) * np.sin(2 * np.pi * resonance * times)
    return (0.3 * np.convolve(pulses, ring)[:count]).astype(np.float32)


def pitch_of(samples):
    middle = samples[2000:-2000] * np.hanning(len(samples) - 4000)
    spectrum = np.abs(np.fft.rfft(middle, 1 << 17)) ** 2
    self_alike = np.fft.irfft(spectrum)[: RATE // 80]
    return RATE / (RATE // 400 + np.argmax(self_alike[RATE // 400 :]))


def formant_of(samples):
    """The centre of the spectrum's energy around its strongest place."""
    spectrum = np.abs(np.fft.rfft(samples[2000:-2000])) ** 2
    hertz = np.linspace(0, RATE / 2, len(spectrum))
    smooth = np.convolve(spectrum, np.hanning(300 * 2 * len(spectrum) // RATE), "same")
    near = np.abs(hertz - hertz[np.argmax(smooth)]) < 300
    return float((hertz * spectrum)[near].sum() / spectrum[near].sum())


@pytest.mark.parametrize("semitones", [-4, -1.5, 2, 4])
def test_pitch_moves_by_its_semitones_and_the_formant_stays(semitones):
    changed = at_pitch(voice(), semitones)
    assert len(changed) == RATE
    assert pitch_of(changed) == pytest.approx(120 * 2 ** (semitones / 12), rel=0.02)
    assert formant_of(changed) == pytest.approx(1500, rel=0.05)


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.2])
def test_formants_move_by_their_factor_and_pitch_stays(factor):
    changed = with_formants(voice(), factor)
    assert pitch_of(changed) == pytest.approx(120, rel=0.01)
    assert formant_of(changed) == pytest.approx(1500 * factor, rel=0.05)
    assert np.square(changed).sum() == pytest.approx(np.square(voice()).sum(), rel=1e-3)


@settings(max_examples=60)
@given(st.integers(1, 9000), st.sampled_from(["noise", "zeros", "loud"]), st.floats(0, 1.5))
def test_every_transform_gives_the_stated_length_of_any_clip(count, kind, seconds):
    noise = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    samples = {"noise": 0.1 * noise, "zeros": 0 * noise, "loud": 50 * noise}[kind]
    for changed in (at_pitch(samples, -3.0), with_formants(samples, 1.15)):
        assert len(changed) == count
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
    paused = with_pauses(samples, seconds)
    assert len(paused) == samples_with(count, seconds) == count + round(seconds * RATE)
    assert paused.dtype == np.float32
    assert np.isfinite(paused).all()
    assert kind != "zeros" or not paused.any()


def test_pauses_are_between_words_are_quiet_and_leave_the_words_as_they_were():
    word, gap = voice(seconds=0.3), np.random.default_rng(0).normal(0, 1e-4, 3200).astype(np.float32)
    samples = np.concatenate([gap, word, gap, word, gap])
    places = quiet_places(samples, 1)
    assert 8000 < places[0] < 11200  # in the gap between the two words, not before or behind them
    longer = with_pauses(samples, 0.3)
    inside = longer[places[0] + 200 : places[0] + 4600]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(1e-4, rel=0.3)
    assert np.array_equal(longer[: places[0]], samples[: places[0]])
    assert np.array_equal(longer[places[0] + 4800 :], samples[places[0] :])
    assert np.array_equal(with_pauses(samples, 0.3), longer)
    assert with_pauses(samples, 0.0) is samples


def folder_of(place, **sounds):
    place.mkdir(exist_ok=True)
    for name, (samples, rate) in sounds.items():
        soundfile.write(place / f"{name}.wav", samples, rate, "FLOAT")
    return str(place)


@pytest.mark.parametrize("seconds", [0.2, 3.0])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_noise_is_added_at_the_ratio_drawn(tmp_path, seconds, rate):
    noise = np.random.default_rng(1).normal(0, 0.02, int(seconds * rate))
    folder = folder_of(tmp_path / f"{seconds}-{rate}", hum=(noise, rate))
    value = {"dir": folder, "snr_db": [5, 20], "probability": 1.0}
    ratios = []
    for epoch in range(20):
        changed = recordings.NOISE.vary(voice(), value, HASH, 3, epoch)
        assert len(changed) == RATE
        added = changed - voice()
        ratios.append(10 * np.log10(np.square(voice()).sum() / np.square(added).sum()))
    assert 5 <= min(ratios) < 9
    assert 16 < max(ratios) <= 20
    value["snr_db"] = [10, 10]
    added = recordings.NOISE.vary(voice(), value, HASH, 3, 0) - voice()
    assert 10 * np.log10(np.square(voice()).sum() / np.square(added).sum()) == pytest.approx(10, abs=0.01)
    assert not recordings.NOISE.vary(0 * voice(), value, HASH, 3, 0).any()


def test_a_share_of_the_clips_gets_noise_and_all_files_are_used(tmp_path):
    tones = {f"n{n}": (np.sin(np.arange(RATE) * 0.1 * (n + 1)), RATE) for n in range(3)}
    value = {"dir": folder_of(tmp_path / "noise", **tones), "snr_db": [0, 0], "probability": 0.5}
    heard = [recordings.NOISE.vary(voice(), value, hashes_of([str(n)]), 0, 0) - voice() for n in range(60)]
    peaks = [np.argmax(np.abs(np.fft.rfft(added))) for added in heard if added.any()]
    assert 20 < len(peaks) < 40
    assert len({round(peak / 255) for peak in peaks}) == 3


def test_a_room_adds_no_delay_and_no_energy(tmp_path):
    response = np.zeros(4000)
    response[500], response[2500] = 1.0, 0.5
    value = {"dir": folder_of(tmp_path / "rooms", hall=(np.stack([response, 0 * response], 1), RATE))}
    value |= {"probability": 1.0}
    changed = recordings.ROOMS.vary(voice(), value, HASH, 0, 0)
    wanted = voice()
    wanted[2000:] += 0.5 * voice()[:-2000]
    wanted *= np.sqrt(np.square(voice()).sum() / np.square(wanted).sum())
    assert changed == pytest.approx(wanted, abs=1e-4)


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.txt").write_text("no sound")
    folder_of(tmp_path / "broken", good=(np.ones(99) / 2, RATE))
    (tmp_path / "broken" / "bad.wav").write_bytes(b"RIFF, or not")
    for name, says in (("gone", "no such folder"), ("empty", "holds no recording"), ("broken", r"bad\.wav: .*take it")):
        for key in ("noise", "rooms"):
            with pytest.raises(RecipeError, match=says) as caught:
                recordings.check_folders({key: {"dir": str(tmp_path / name)}})
            assert f"dataset_conf.{key}.dir" in str(caught.value)
            assert "\n" not in str(caught.value)
    recordings.check_folders({})


def test_the_filter_bank_warps_a_tone_as_drawn_and_is_itself_again():
    frontend = tables.frontend_classes.get("WavFrontend")(dither=0.0)
    tone = torch.sin(2 * torch.pi * 2000 * torch.arange(RATE) / RATE)[None]

    def bin_of(hertz, factor=1.0):
        sound = torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)[None]
        with warped(factor):
            return float(frontend(sound, [RATE])[0][0, 10:-10].mean(0).argmax())

    before = frontend(tone, [RATE])[0]
    for factor in (0.9, 1.1):
        assert bin_of(2000, factor) == pytest.approx(bin_of(2000 * factor), abs=1)
        assert bin_of(2000, factor) != bin_of(2000)
    assert torch.equal(frontend(tone, [RATE])[0], before)


ALL = {"pitch_semitones": 3, "formant_shift": 0.1, "vtlp": 0.1, "pauses_s": [0, 0.5], "gain_db": 3, "tempo": [0.9, 1.1]}


def test_the_same_draws_in_another_process_and_others_in_another_epoch_or_seed():
    code = (
        "import json, sys, numpy as np; from asr.data.augmentation import augmentation;"
        "conf, samples = json.loads(sys.argv[1]), np.sin(np.arange(8000) * 0.05).astype(np.float32);"
        "made = augmentation(conf, 4); print(made.apply(samples, 'k', 7).tobytes().hex()[:4000], made.warp('k', 7))"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(ALL)], capture_output=True, text=True, check=True)
    samples = np.sin(np.arange(8000) * 0.05).astype(np.float32)
    made = augmentation(ALL, 4)
    assert done.stdout.split() == [made.apply(samples, "k", 7).tobytes().hex()[:4000], str(made.warp("k", 7))]
    assert made.warp("k", 7) != made.warp("k", 8)
    assert made.warp("k", 7) != augmentation(ALL, 5).warp("k", 7)


def test_the_sampler_knows_the_length_under_all_of_them():
    made = augmentation(ALL, 4)
    for epoch in range(5):
        samples = voice(seconds=0.7)
        (stated,) = made.lengths(np.array([len(samples)]), HASH, epoch)
        assert stated == len(made.apply(samples, "a", epoch)) <= made.longest(len(samples))
    again = augmentation(dict(made.length_factors), 4)  # as a checkpoint keeps it
    assert again.lengths(np.array([9999]), HASH, 3) == made.lengths(np.array([9999]), HASH, 3)


def test_each_draws_by_itself_within_its_range_and_off_is_off():
    hashes = hashes_of(map(str, range(4000)))
    assert len({kind.purpose for kind in TRANSFORMS} | {3, 11, 12, 13}) == len(TRANSFORMS) + 4
    for kind, value, low, high in ((PITCH, 4, -4, 4), (FORMANTS, 0.1, 0.9, 1.1), (VTLP, 0.2, 0.8, 1.2)):
        drawn = kind.drawn(value, hashes, 0, 0)
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn.max() <= high
    assert PAUSES.drawn([0.2, 0.6], hashes, 0, 0).mean() == pytest.approx(0.4, abs=0.01)
    assert augmentation({"pitch_semitones": 0, "noise": None, "vtlp": 0.0, "pauses_s": []}, 0) == Augmentation()
    assert Augmentation().warp("k", 0) == 1.0
    samples = voice()
    assert Augmentation().apply(samples, "k", 0) is samples
    assert unchanged(samples, 1.1) is samples
    assert len(set(more(np.uint64(5), 9).tolist())) == 9
