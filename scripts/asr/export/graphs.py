"""Graphs as files: tracing, what sherpa-onnx reads in them, and 8-bit weights."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.core.errors import RecipeError
from asr.models.graph import Graph

OPSET = 14  # the newest that FunASR's and sherpa-onnx's own models have
# Parts of the names of nodes that keep their weights: what decides between tokens, and how many there are.
EXACT = ("output", "ctc_lo")


def need(*modules: str) -> None:
    """RecipeError for a module that is not installed, or whose installation is damaged."""
    for name in modules:
        try:
            with _without_warnings():
                importlib.import_module(name)
        except ImportError as error:
            raise RecipeError(f"{name} cannot be imported ({error}): bash scripts/install.sh --deploy") from None


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence what exporter and quantiser say of every model."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def write(graph: Graph, path: Path) -> None:
    """Trace a graph and write it, with its metadata, to ``path``."""
    import onnx
    import torch

    names = {"input_names": list(graph.inputs), "output_names": list(graph.outputs), "dynamic_axes": graph.axes}
    with _without_warnings(), torch.inference_mode():
        inputs = tuple(graph.inputs.values())
        torch.onnx.export(graph.module.eval(), inputs, str(path), dynamo=False, opset_version=OPSET, **names)
    model = onnx.load(str(path))
    for key, value in graph.metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, str(path))


def quantise(path: Path, out: Path) -> None:
    """Write ``path``'s graph with 8-bit weights in its matrix products, as FunASR's export does, to ``out``."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = [node.name for node in onnx.load(str(path)).graph.node]
    with _without_warnings():
        quantize_dynamic(
            model_input=str(path),
            model_output=str(out),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=False,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=exact(nodes),
        )


def exact(nodes: Iterable[str]) -> list[str]:
    """Return the names of the nodes that are not quantised."""
    return [name for name in nodes if any(part in name for part in EXACT)]
