"""What of a model other runtimes are given: a graph that ONNX can hold, and what they must know of it.

A runtime reads a graph's outputs in its own way and knows nothing of the recipe's decoding. So what our decoding does
beside taking the likeliest token is in the graph: whoever takes the likeliest token of each row gets our text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FUNASR_ONNX, SHERPA_ONNX, ONNX = "funasr-onnx", "sherpa-onnx", "onnx"
UNSHOWN = ("<s>", "</s>", "<unk>", "<OOV>")  # symbols that sentence_postprocess leaves out
NEVER = -1e4  # a log-probability that nothing is chosen by; finite, as a quantised graph and JavaScript want it


@dataclass(frozen=True)
class Graph:
    """A module to trace, and what is written beside it.

    Attributes:
        inputs: example tensors by name, two clips of different lengths.
        outputs: names.
        axes: {name of an input or output: {dimension: what it is called}}; all others are fixed.
        metadata: what sherpa-onnx reads from the graph.
        symbols: the token of each id.
        files: further files of the funasr-onnx folder, {name: where it is}.
        runtimes: {folder: why there is none of it, or an empty text}.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    metadata: Mapping[str, str]
    symbols: tuple[str, ...]
    runtimes: Mapping[str, str]
    files: Mapping[str, Path] = field(default_factory=dict)


def silent_ids(model: Any, symbols: Sequence[str]) -> list[int]:
    """Return the ids that no text of FunASR's shows: blank, marks, and tokens for what is unknown."""
    unshown = {number for number, symbol in enumerate(symbols) if symbol in UNSHOWN}
    return sorted({model.blank_id, model.sos, model.eos} | unshown)


def one_hot(size: int, place: int) -> Tensor:
    """Return (size,) log-probabilities of which one is certain."""
    return torch.full((size,), NEVER).index_fill(0, torch.tensor(place), 0.0)


def front_end_metadata(frontend: Any) -> dict[str, str]:
    """Return what sherpa-onnx's metadata says of features: frames stacked, negated mean and inverse deviation."""
    size = frontend.output_size()
    rows = [[0.0] * size, [1.0] * size] if frontend.cmvn is None else frontend.cmvn.tolist()
    mean, scale = (",".join(map(str, row)) for row in rows)
    return {
        "lfr_window_size": str(frontend.lfr_m),
        "lfr_window_shift": str(frontend.lfr_n),
        "neg_mean": mean,
        "inv_stddev": scale,
    }
