"""Weights in 8 bits, activations in 32: a quarter of the size, and a text that does not depend on the machine.

Dynamic quantisation (model_quant.onnx) rounds activations as well. A difference of 1e-5 in the features, as there is
between any two implementations, then moves log-probabilities by up to 0.3 and changes texts. Weights that are rounded
once, when they are written, leave the network as smooth as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asr.export import graphs

BITS, BLOCK, MIDDLE = 8, 32, 128  # weights of a block share a scale; what 0 is written as
_ENDS = "_8_bits", "_scales"  # of the names of packed weights and of their scales
FP32_ACTIVATIONS = 1  # accuracy_level of onnxruntime's MatMulNBits


def write(network: Path, out: Path) -> None:
    """Write an ONNX network with the weights of its matrix products as onnxruntime's MatMulNBits to ``out``.

    Products that decide between tokens, or how many there are, stay as they are (``graphs.EXACT``).
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(network))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    exact = set(graphs.exact(node.name for node in graph.node))
    packed: set[str] = set()
    for node in graph.node:
        name = node.input[1] if node.op_type == "MatMul" and node.name not in exact else ""
        if name not in weights:
            continue
        if name not in packed:  # two products may share weights
            for array, end in zip(pack(numpy_helper.to_array(weights[name])), _ENDS, strict=True):
                graph.initializer.append(numpy_helper.from_array(array, name + end))
            packed.add(name)
        _replace(node, weights[name].dims)
    for name in packed - {name for node in graph.node for name in node.input}:
        graph.initializer.remove(weights[name])
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(out))


def pack(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (K, N) weights as (N, blocks, BLOCK) bytes, zeros behind the last, and (N * blocks,) scales."""
    inputs, outputs = weights.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = weights.T
    by_block = padded.reshape(outputs, blocks, BLOCK)
    scales = np.maximum(np.abs(by_block).max(axis=2) / (MIDDLE - 1), np.finfo(np.float32).tiny)
    packed = np.rint(by_block / scales[..., None]) + MIDDLE
    return packed.astype(np.uint8), scales.reshape(-1).astype(np.float32)


def _replace(node: Any, dims: Any) -> None:
    """Make a MatMul the product with the packed weights, which stand beside its own in the graph."""
    from onnx import helper

    name = node.input[1]
    node.op_type, node.domain = "MatMulNBits", "com.microsoft"
    node.input[1] = name + _ENDS[0]
    node.input.append(name + _ENDS[1])
    numbers = {"K": dims[0], "N": dims[1], "bits": BITS, "block_size": BLOCK, "accuracy_level": FP32_ACTIVATIONS}
    node.attribute.extend(helper.make_attribute(key, int(value)) for key, value in numbers.items())
