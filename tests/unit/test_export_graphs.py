"""An exported graph decodes any number of clips of any length as torch does, in fp32; and each cure is needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from asr.export import graphs
from asr.export.build import NAMES
from asr.models.graph import silent_ids
from asr.models.paraformer import export as paraformer
from asr.models.sensevoice import family as sensevoice
from tests import tiny
from tests.exported import MAKERS, NEEDS, Exported

pytestmark = NEEDS

LENGTHS = ([*range(5, 60, 3)], [9], [30], [31], [300], [7], [8, 50, 300], [700, 11])


@pytest.fixture(scope="module", params=MAKERS)
def exported(request, tmp_path_factory):
    return Exported(tmp_path_factory.mktemp(request.param), request.param)


def graph_of(exported, precision=0):
    name = next(name for name, why in exported.why.items() if not why)
    return exported.out / name / NAMES[name][precision]


def opened(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path))


def ids_of(session, exported, features, lengths):
    """The token ids that a runtime makes of the graph's rows, by argmax alone."""
    feed = {item.name: lengths.numpy().astype(item.type[7:-1]) for item in session.get_inputs()[1:2]}
    feed |= {"speech": features.numpy()}
    if "language" in exported.graph.inputs:
        feed |= {name: np.full(len(lengths), row, np.int32) for name, row in (("language", 3), ("textnorm", 15))}
    scores, counts = session.run(None, feed)
    rows = [row[:count].argmax(-1).tolist() for row, count in zip(scores, counts, strict=True)]
    if "token_num" in exported.graph.outputs:
        return rows
    first = 4 if "language" in exported.graph.inputs else 0
    return [[token for token, _ in itertools.groupby(row[first:]) if token] for row in rows]


def batches(exported):
    generator = torch.Generator().manual_seed(1)
    width = exported.recogniser.frontend.output_size()
    for lengths in LENGTHS:
        yield torch.randn(len(lengths), max(lengths), width, generator=generator), torch.tensor(lengths)


def shown(exported, rows):
    """Ids without those that no text shows: torch's text leaves them out, a runtime has to be spared them."""
    recogniser = exported.recogniser
    if hasattr(recogniser.tokenizer, "sp"):
        silent = sensevoice.silent_ids(recogniser.tokenizer)
    else:
        silent = silent_ids(recogniser.model, recogniser.tokenizer.token_list)
    return [[token for token in row if token not in silent] for row in rows]


def agree(exported, path):
    session = opened(path)
    for features, lengths in batches(exported):
        expected = shown(exported, exported.ids(features, lengths))
        try:
            found = ids_of(session, exported, features, lengths)
        except Exception as error:  # onnxruntime has a type for each kind of failure
            return f"{lengths}: {error}"
        if found != expected:
            return f"{lengths}: {found} for {expected}"
    return ""


def test_any_number_of_clips_of_any_length_is_decoded_as_by_torch(exported):
    assert agree(exported, graph_of(exported)) == ""
    texts = [tuple(row) for batch in batches(exported) for row in exported.ids(*batch)]
    assert len(set(texts)) > 5  # not all silence


@pytest.fixture(scope="module")
def tiny_paraformer(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("cures"), "paraformer")


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("length_mask", lambda lengths, size: torch.arange(int(size))[None] < lengths[:, None]),  # a length baked in
        ("zero_padding", lambda x, _: x),  # what FunASR's export does
    ],
)
def test_the_graph_fails_without(tiny_paraformer, tmp_path, monkeypatch, what, instead):
    monkeypatch.setattr(paraformer, what, instead)
    graphs.write(tiny_paraformer.graph, tmp_path / "model.onnx")
    assert agree(tiny_paraformer, tmp_path / "model.onnx") != ""


def test_paraformers_rows_end_with_end_marks(tiny_paraformer):
    """sherpa-onnx reads all rows of a batch, up to the first end mark, and writes what blank is called."""
    session, model = opened(graph_of(tiny_paraformer)), tiny_paraformer.recogniser.model
    special, within = set(silent_ids(model, tiny.TOKENS)), 0
    for features, lengths in batches(tiny_paraformer):
        scores, counts = session.run(None, {"speech": features.numpy(), "speech_lengths": lengths.int().numpy()})
        for row, count in zip(scores.argmax(-1), counts, strict=True):
            assert not special & set(row[:count].tolist())
            assert set(row[count:].tolist()) <= {model.eos}
            within += 0 < count < len(row)
    assert within > 3


def test_the_output_layer_keeps_its_weights(exported, tmp_path, monkeypatch):
    import onnx

    def kept(path):
        return [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "MatMul"]

    assert any(part in name for name in kept(graph_of(exported, 1)) for part in graphs.EXACT)
    assert graph_of(exported, 1).stat().st_size < graph_of(exported).stat().st_size
    monkeypatch.setattr(graphs, "EXACT", ())
    graphs.quantise(graph_of(exported), tmp_path / "all.onnx")
    assert not any(part in name for name in kept(tmp_path / "all.onnx") for part in ("output", "ctc_lo"))


def test_sherpas_metadata_is_in_both(exported):
    if "neg_mean" not in exported.graph.metadata:
        return
    for precision in (0, 1):
        found = opened(graph_of(exported, precision)).get_modelmeta().custom_metadata_map
        assert found.items() >= exported.graph.metadata.items()
        assert np.allclose(np.fromstring(found["neg_mean"], sep=","), exported.recogniser.frontend.cmvn[0])
