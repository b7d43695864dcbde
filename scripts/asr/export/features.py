"""The features of FunASR's front end without FunASR and torch: for graphs that onnxruntime alone runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.errors import RecipeError


def read_cmvn(path: Path) -> np.ndarray:
    """Return (2, D) float32: negated mean and inverse deviation of am.mvn, Kaldi's nnet text form."""
    words, rows = path.read_text(encoding="utf-8").split(), []
    for name in ("<AddShift>", "<Rescale>"):
        if name not in words:
            raise RecipeError(f"{path}: has no {name}; export the model again")
        begin = words.index("[", words.index(name)) + 1
        rows.append(np.array(words[begin : words.index("]", begin)], dtype=np.float32))
    return np.stack(rows)


class FrontEnd:
    """Filter banks, stacked and normalised, as FunASR's WavFrontend computes them without dither.

    Args:
        conf: config.yaml's frontend_conf.
        cmvn: (2, D) of ``read_cmvn``.
    """

    def __init__(self, conf: Mapping[str, Any], cmvn: np.ndarray) -> None:
        import kaldi_native_fbank as knf

        options = knf.FbankOptions()
        options.frame_opts.samp_freq = conf.get("fs", 16000)
        options.frame_opts.dither = 0.0
        options.frame_opts.window_type = conf.get("window", "hamming")
        options.frame_opts.frame_length_ms = float(conf.get("frame_length", 25))
        options.frame_opts.frame_shift_ms = float(conf.get("frame_shift", 10))
        options.frame_opts.snip_edges = conf.get("snip_edges", True)
        options.mel_opts.num_bins = conf.get("n_mels", 80)
        options.energy_floor = 0.0
        self.options, self.cmvn = options, cmvn
        self.stack, self.step = conf.get("lfr_m", 1), conf.get("lfr_n", 1)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return (T, D) float32 features of [n] float32 samples between -1 and 1; T is 0 below one window."""
        import kaldi_native_fbank as knf

        bank = knf.OnlineFbank(self.options)
        bank.accept_waveform(self.options.frame_opts.samp_freq, (samples * 32768).tolist())
        bank.input_finished()
        frames = [bank.get_frame(number) for number in range(bank.num_frames_ready)]
        if not frames:
            return np.zeros((0, self.options.mel_opts.num_bins * self.stack), np.float32)
        features = stacked(np.stack(frames), self.stack, self.step)
        return (features + self.cmvn[0]) * self.cmvn[1]


def stacked(frames: np.ndarray, size: int, step: int) -> np.ndarray:
    """Return (ceil(T / step), size * D): each row ``size`` frames; the first and the last are repeated at the edges."""
    left = (size - 1) // 2
    rows = -(-len(frames) // step)
    places = np.arange(rows)[:, None] * step + np.arange(size)[None] - left
    return frames[places.clip(0, len(frames) - 1)].reshape(rows, -1).astype(np.float32)
