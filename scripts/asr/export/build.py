"""The folders of a deploy/: one graph, traced once, and what each runtime wants beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.core.errors import RecipeError
from asr.export import funasr_onnx, graphs, sherpa
from asr.models.graph import FUNASR_ONNX, ONNX, SHERPA_ONNX, Graph
from asr.models.lora_merge import is_factor
from asr.models.model_folder import read_config
from asr.models.weights import read_state

NAMES = {
    FUNASR_ONNX: (funasr_onnx.FP32, funasr_onnx.INT8),
    SHERPA_ONNX: (sherpa.FP32, sherpa.INT8),
    ONNX: (funasr_onnx.FP32, funasr_onnx.INT8),
}
HOW_TO_RUN = """\
`model.onnx` (32-bit) and `model_quant.onnx` (8-bit weights) take features, not sound: 80 filter banks of a 25-ms window
every 10 ms (`frontend_conf` in `config.yaml`), plus the first and times the second row of `am.mvn`. `speech` is
(clips, frames, 80) float32, `speech_lengths` (clips,) int64; `log_probs` is (clips, frames, tokens), of which
`log_probs_lens` are real. The likeliest token of each frame, repeats joined and token 0 left out, is the text, by
`tokens.json`. In Python, with the recipe: `open_runtime("onnx").transcribe(samples)` of `asr.export.runtimes`.
"""


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long a step took, when it is done."""
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s", flush=True)


def check_model(model: Path) -> None:
    """RecipeError for weights with adapters that are not merged: a graph would not have them."""
    if any(map(is_factor, read_state(model / "model.pt"))):
        raise RecipeError(
            f"{model / 'model.pt'}: holds adapters that are not merged; export exp/<tag>/model, into which stage 4"
            " merges them"
        )


def reasons(graph: Graph, model: Path) -> dict[str, str]:
    """Return {runtime: why it is not offered, or an empty text} of a model folder."""
    front_end, found = read_config(model).get("frontend_conf") or {}, dict(graph.runtimes)
    own = {
        FUNASR_ONNX: lambda: funasr_onnx.why_not(front_end),
        SHERPA_ONNX: lambda: sherpa.why_not(front_end, graph.symbols, graph.metadata.get("model_type") == "paraformer"),
    }
    return {name: why or own.get(name, str)() for name, why in found.items()}


def build(graph: Graph, model: Path, out: Path, phrases: Iterable[str] = ()) -> dict[str, str]:
    """Fill ``out``; return {runtime: why it is not offered, or an empty text}.

    RecipeError where no runtime can have the model, and where phrases are given that none takes.
    """
    why = reasons(graph, model)
    if all(why.values()):
        raise RecipeError(
            f"{model}: no runtime takes it: " + "; ".join(f"{name}: {text}" for name, text in why.items())
        )
    if phrases and why.get(SHERPA_ONNX, "not offered"):
        raise RecipeError("--phrases: sherpa-onnx alone replaces homophones, and it does not take this model")
    fp32, int8 = out / ".model.onnx", out / ".model.int8.onnx"
    with timed("graph"):
        graphs.write(graph, fp32)
    with timed("8-bit weights"):
        graphs.quantise(fp32, int8)
    for name in (name for name, text in why.items() if not text):
        folder = out / name
        folder.mkdir()
        for source, target in zip((fp32, int8), NAMES[name], strict=True):
            _link(source, folder / target)
        if name == SHERPA_ONNX:
            sherpa.write_tokens(folder / sherpa.TOKENS, graph.symbols)
            if phrases:
                print(f"{sherpa.write_phrases(folder, phrases, graph.symbols)} phrases in {name}/{sherpa.RULES}")
        else:
            funasr_onnx.write_beside(folder, graph, read_config(model), funasr_onnx.cmvn_of(model))
        if name == ONNX:
            (folder / "README.md").write_text(HOW_TO_RUN, encoding="utf-8")
    fp32.unlink()
    int8.unlink()
    return why


def _link(source: Path, target: Path) -> None:
    """Give a graph a second name: runtimes have the same one."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
