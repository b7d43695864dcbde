"""Weights in 8 bits: what onnxruntime computes with them, and why activations stay as they are."""

import numpy as np
import pytest

from asr.export import graphs, weight_only

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
INPUTS, OUTPUTS = 70, 5  # not whole blocks


def network(path, layers, shared=False):
    """Matrix products one behind the other, the last named as one that decides between tokens."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    square = (generator.normal(size=(INPUTS, INPUTS)) / np.sqrt(INPUTS)).astype(np.float32)
    weights = [square if shared else np.roll(square, n) for n in range(layers)]
    names = ["w0" if shared else f"w{n}" for n in range(layers)]
    nodes = [
        helper.make_node("MatMul", [f"x{n}", name], [f"x{n + 1}"], name=f"/layer{n}/MatMul")
        for n, name in enumerate(names)
    ]
    last = generator.normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    nodes.append(helper.make_node("MatMul", [f"x{layers}", "last"], ["y"], name="/output_layer/MatMul"))
    initial = {**dict(zip(names, weights, strict=True)), "last": last}
    shape = [None, INPUTS]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, OUTPUTS])],
        [numpy_helper.from_array(array, name) for name, array in initial.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", graphs.OPSET)], ir_version=8)
    onnx.save(model, str(path))
    return weights, last


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x0": x})[0])


def rounded(weights):
    """What packed weights stand for."""
    packed, scales = weight_only.pack(weights)
    blocks = (packed.astype(np.float32) - weight_only.MIDDLE) * scales.reshape(*packed.shape[:2], 1)
    return blocks.reshape(weights.shape[1], -1)[:, : len(weights)].T


def test_a_weight_is_rounded_by_at_most_half_a_step_of_its_block():
    weights = np.random.default_rng(0).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    weights[32:64, 1] *= 1000
    weights[64:, 2] = 0
    wrong = np.abs(rounded(weights) - weights)
    for first in range(0, INPUTS, weight_only.BLOCK):
        block = slice(first, first + weight_only.BLOCK)
        assert (wrong[block] <= np.abs(weights[block]).max(axis=0) / 254 * 1.001).all()


@pytest.mark.parametrize("shared", [False, True])
def test_onnxruntime_computes_with_the_rounded_weights_and_with_the_last_as_it_is(tmp_path, shared):
    weights, last = network(tmp_path / "a.onnx", 2, shared)
    weight_only.write(tmp_path / "a.onnx", tmp_path / "b.onnx")
    x = np.random.default_rng(2).normal(size=(3, INPUTS)).astype(np.float32)
    wanted = x @ rounded(weights[0]) @ rounded(weights[1]) @ last
    assert np.abs(run(tmp_path / "b.onnx", x) - wanted).max() < 1e-4
    kinds = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert kinds == ["MatMulNBits", "MatMulNBits", "MatMul"]
    left = {tensor.name for tensor in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert not left & {"w0", "w1"}


def test_what_dynamic_quantisation_makes_of_a_small_difference(tmp_path):
    """Features of two implementations differ by 1e-5: with rounded activations that is a hundred times as much."""
    network(tmp_path / "a.onnx", 4)
    weight_only.write(tmp_path / "a.onnx", tmp_path / "b.onnx")
    graphs.quantise(tmp_path / "a.onnx", tmp_path / "c.onnx")
    x = np.random.default_rng(2).normal(size=(50, INPUTS)).astype(np.float32)
    near = x + np.random.default_rng(3).normal(0, 1e-5, x.shape).astype(np.float32)
    moved = {name: np.abs(run(tmp_path / name, x) - run(tmp_path / name, near)).max() for name in ("b.onnx", "c.onnx")}
    assert moved["b.onnx"] < 1e-3
    assert moved["c.onnx"] > 10 * moved["b.onnx"]
