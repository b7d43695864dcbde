"""A fingerprint of a clip that its changed copies share: cut at its ends, louder or softer, resampled, coded anew.

Haitsma and Kalker's (2002), of the whole clip: the part that is not silent in ``SLICES`` equal slices, each in bands a
quarter of their frequency wide; a bit says whether the energy's step from band to band grows from slice to slice. No
gain changes that, and little else does: clips of other recordings differ in half of the bits.

Measured on 2,196 clips (576 of the mini corpus, 1,620 recorded words of 34 speakers, each said four times): of any two
at least 124 of 512 bits differ, of changed copies 0 to 20, of copies in Ogg or MP3 about 40, nine of ten below 70.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SLICES, BANDS = 32, 16
ALIKE = 64  # of 512 bits: with so many or fewer that differ two clips are of one recording
_WINDOW, _HOP = 512, 160  # samples at 16 kHz
_QUIET = 1e-3  # of the loudest frame's energy: silence before and behind does not count
_STEP = 1e-6  # of a logarithm; less is rounding
_EDGES = np.searchsorted(np.fft.rfftfreq(_WINDOW, 1 / 16000), np.geomspace(150, 6000, BANDS + 2))


def fingerprint(samples: np.ndarray) -> str:
    """Return 512 bits in hex of [n] samples at 16 kHz; "" for a third of a second or less, and for a steady sound."""
    if len(samples) < _WINDOW:
        return ""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    bands = np.add.reduceat(power, _EDGES, axis=1)[:, :-1]  # [frames, BANDS + 1]
    total = bands.sum(axis=1)
    loud = np.flatnonzero(total > _QUIET * total.max())
    if not len(loud) or (size := loud[-1] + 1 - loud[0]) <= SLICES:
        return ""
    energy = np.vstack([np.zeros(BANDS + 1), bands[loud[0] : loud[-1] + 1].cumsum(axis=0)])
    at = np.linspace(0, size, SLICES + 2)
    slices = np.diff([np.interp(at, np.arange(size + 1), band) for band in energy.T])  # [BANDS + 1, SLICES + 1]
    bits = np.diff(np.diff(np.log(slices + 1e-12 * slices.sum()), axis=0), axis=1) > _STEP
    return np.packbits(bits).tobytes().hex() if 0.25 < bits.mean() < 0.75 else ""


def any_alike(fingerprints: Sequence[str], others: Sequence[str]) -> list[bool]:
    """Return of each fingerprint whether it is one of ``others`` but for ``ALIKE`` bits or fewer."""
    known = _words([other for other in others if other])
    return [
        bool(one) and len(known) > 0 and int(np.bitwise_count(known ^ _words([one])).sum(axis=1).min()) <= ALIKE
        for one in fingerprints
    ]


def _words(fingerprints: Sequence[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint64).reshape(-1, SLICES * BANDS // 64)
