"""What augmentation does to the samples of a clip: speed, tempo, pitch, formants, pauses, level.

All take and return [samples] float32 at 16 kHz, and the length that comes out depends on the length that goes in and
on the number drawn, never on the sound: the sampler counts on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr

from asr.audio.reading import QUALITY
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.data.chance import fractions, more

WINDOW, HOP = 512, 128  # samples of short-time spectra: 32 ms and 8 ms
ENVELOPE = 32  # samples of quefrency that are a spectrum's envelope, 2 ms: below the period of a pitch of 500 Hz
FLOOR = 1e-4  # of a frame's largest bin: what lies below is taken for as strong
# A pause is counted from 250 ms on in studies of speech (Goldman-Eisler, Psycholinguistics, 1968).
PAUSE = 0.25
LOOK, STEP = 320, 160  # samples of the frames, and between them, among which quiet places are looked for
APART = 10  # of these frames between two pauses, at least: 100 ms, most of a syllable
SPEECH_DB = 30.0  # below the loudest frame, where speech is taken to begin and to end
FADE = 160  # samples over which a pause is joined to what is beside it


def samples_at(num_samples: np.ndarray | int, speed: np.ndarray | float) -> np.ndarray:
    """Return how many samples a clip of ``num_samples`` has at ``speed`` times its speed; at least one."""
    return np.maximum(np.rint(np.asarray(num_samples) / speed).astype(np.int64), 1)


def samples_with(num_samples: np.ndarray | int, seconds: np.ndarray | float) -> np.ndarray:
    """Return how many samples a clip of ``num_samples`` has with so many seconds of pauses more."""
    return np.asarray(num_samples) + np.rint(np.asarray(seconds) * MODEL_SAMPLE_RATE).astype(np.int64)


def of_length(samples: np.ndarray, count: int) -> np.ndarray:
    """Return [count] the samples, cut off or with zeros behind."""
    return samples[:count] if len(samples) >= count else np.pad(samples, (0, count - len(samples)))


def as_strong(changed: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return changed samples with the energy of those before."""
    energy = float(np.square(changed, dtype=np.float64).sum())
    wanted = float(np.square(samples, dtype=np.float64).sum())
    return changed * np.float32((wanted / energy) ** 0.5) if energy > 0 else changed


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Return the samples played at ``speed`` times their speed, pitch and all, exactly ``samples_at`` long."""
    if speed == 1.0:
        return samples
    changed = soxr.resample(samples, MODEL_SAMPLE_RATE * speed, MODEL_SAMPLE_RATE, quality=QUALITY)
    # soxr may round the other way: the sampler has counted these
    return of_length(changed, int(samples_at(len(samples), speed)))


def at_tempo(samples: np.ndarray, tempo: float) -> np.ndarray:
    """Return the samples at ``tempo`` times their tempo, pitch unchanged, exactly ``samples_at`` long."""
    if tempo == 1.0:
        return samples
    import torch
    from torchaudio.functional import phase_vocoder

    def faster(spectra: torch.Tensor) -> torch.Tensor:
        return phase_vocoder(spectra, tempo, torch.linspace(0, torch.pi * HOP, WINDOW // 2 + 1)[:, None])

    return _by_spectra(samples, faster, int(samples_at(len(samples), tempo)))


def _by_spectra(samples: np.ndarray, change: Callable, count: int) -> np.ndarray:
    """Return [count] samples of what ``change`` makes of the [bins, frames] complex short-time spectra."""
    import torch

    window = torch.hann_window(WINDOW)
    spectra = torch.stft(
        torch.from_numpy(samples), WINDOW, HOP, window=window, pad_mode="constant", return_complex=True
    )
    return torch.istft(change(spectra), WINDOW, HOP, window=window, length=count).numpy()


def with_formants(samples: np.ndarray, factor: float) -> np.ndarray:
    """Return the samples with their resonances at ``factor`` times their frequencies; pitch, length and energy stay.

    The envelope of each short-time spectrum, its cepstrum below ENVELOPE (Oppenheim and Schafer), is stretched along
    frequency and put in place of the old one; what is above Nyquist in it is as at Nyquist.
    """
    if factor == 1.0:
        return samples
    import torch

    def moved(spectra: torch.Tensor) -> torch.Tensor:
        level = spectra.abs()
        level = torch.maximum(level, (FLOOR * level.amax(0)).clamp(min=1e-10)).log()
        cepstra = torch.fft.irfft(level, WINDOW, dim=0)
        cepstra[ENVELOPE : WINDOW - ENVELOPE + 1] = 0
        envelope = torch.fft.rfft(cepstra, dim=0).real
        places = (torch.arange(len(level)) / factor).clamp(max=len(level) - 1)
        below = places.long().clamp(max=len(level) - 2)
        stretched = torch.lerp(envelope[below], envelope[below + 1], (places - below)[:, None])
        return spectra * (stretched - envelope).exp()

    return as_strong(_by_spectra(samples, moved, len(samples)), samples)


def at_pitch(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Return the samples with their pitch so many semitones higher; formants, length and energy stay.

    Slower at the same pitch, then faster with it, moves both; the formants are then moved back.
    """
    if semitones == 0.0:
        return samples
    factor = 2.0 ** (semitones / 12.0)
    moved = of_length(at_speed(at_tempo(samples, 1.0 / factor), factor), len(samples))
    return as_strong(with_formants(moved, 1.0 / factor), samples)


def quiet_places(samples: np.ndarray, count: int) -> list[int]:
    """Return up to ``count`` places, rising, where speech is quietest: in its pauses, else between its syllables."""
    power = np.cumsum(np.concatenate([[0.0], np.square(samples, dtype=np.float64)]))
    starts = np.arange(0, max(len(samples) - LOOK, 0) + 1, STEP)
    energy = power[np.minimum(starts + LOOK, len(samples))] - power[starts]
    loud = np.flatnonzero(energy > energy.max() * 10.0 ** (-SPEECH_DB / 10.0))
    if len(loud):
        energy[: loud[0]] = energy[loud[-1] + 1 :] = np.inf  # before the first word and behind the last is no pause
    found: list[int] = []
    while len(found) < count and np.isfinite(energy).any():
        frame = int(np.argmin(energy))
        found.append(int(min(starts[frame] + LOOK // 2, len(samples) // 2 if len(starts) == 1 else len(samples))))
        energy[max(frame - APART, 0) : frame + APART + 1] = np.inf
    return sorted(found)


def _pause(samples: np.ndarray, place: int, count: int, seed: np.uint64) -> np.ndarray:
    """Return [count] noise like the samples around a place, joined to them on both sides."""
    from scipy.signal import fftconvolve

    around = samples[max(place - WINDOW // 2, 0) : place + WINDOW // 2]
    white = 2.0 * fractions(more(seed, count)) - 1.0
    noise = fftconvolve(white, around * np.hanning(len(around)), "full")[:count]
    level = float(np.sqrt(np.mean(np.square(around, dtype=np.float64))))
    own = float(np.sqrt(np.mean(np.square(noise))))
    noise = noise * (level / own if own > 0 else 0.0)
    fade = min(FADE, count // 2, place, len(samples) - place)
    rising = np.linspace(0, 1, fade, endpoint=False)
    noise[:fade] = noise[:fade] * rising + samples[place : place + fade] * rising[::-1]
    noise[count - fade :] = noise[count - fade :] * rising[::-1] + samples[place - fade : place] * rising
    return noise.astype(np.float32)


def with_pauses(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Return the samples with so many seconds of pauses put in, exactly ``samples_with`` long.

    About PAUSE long, at the quietest places between the first word and the last: pauses that are there grow, and
    others begin between syllables. Their noise goes on like the clip's own at that place.
    """
    total = int(samples_with(len(samples), seconds)) - len(samples)
    if total <= 0:
        return samples
    places = quiet_places(samples, max(round(seconds / PAUSE), 1))
    ends = np.linspace(0, total, len(places) + 1).astype(int)
    pieces, begin, seeds = [], 0, more(np.float64(seconds).view(np.uint64), len(places))
    for place, count, seed in zip(places, np.diff(ends), seeds, strict=True):
        pieces += [samples[begin:place], _pause(samples, place, int(count), seed) if count else samples[:0]]
        begin = place
    return np.concatenate([*pieces, samples[begin:]])


def louder(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Return the samples ``decibels`` louder."""
    return samples * np.float32(10.0 ** (decibels / 20.0))
