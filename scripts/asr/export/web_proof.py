"""deploy/web/ in an export: its network proven on the clips, by Python's onnxruntime.

The page runs the same file in the browser's onnxruntime on the same features (fbank.js); that its texts are these is
what tests/e2e/test_web.py looks at, in a browser.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.manifest import Utterance
from asr.export import parity, web
from asr.export.build import timed
from asr.export.features import FrontEnd
from asr.export.gate import decoded
from asr.export.onnxruntime_web import NotOfferedError
from asr.export.runtimes import THREADS, WINDOW, joined
from asr.models.graph import FUNASR_ONNX
from asr.models.sensevoice.family import without_tags

NAME = "web"


class Web:
    """The network of a deploy/web/ with the page's decoding."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        (about,) = folder.glob(f"*/{web.ABOUT}")
        self.about = json.loads(about.read_text(encoding="utf-8"))
        front_end = self.about["frontend"]
        cmvn = np.array([front_end["add"], front_end["scale"]], np.float32)
        self.front_end = FrontEnd({"lfr_m": front_end["stack"], "lfr_n": front_end["shift"]}, cmvn)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        network = str(about.with_name(web.MODEL))
        self.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text."""
        if len(samples) < WINDOW:
            return ""
        features = self.front_end(samples)
        numbers = [np.array([number], np.int32) for number in (len(features), *self.about["told"])]
        names = [each.name for each in self.session.get_inputs()]
        outputs = self.session.run(None, dict(zip(names, [features[None], *numbers], strict=True)))
        scores, counts = map(np.asarray, outputs)
        best, symbols = scores[0, : int(counts[0])].argmax(-1).tolist(), self.about["tokens"]
        if self.about["family"] != "sensevoice":
            return joined([symbols[token] for token in best])
        return without_tags("".join(symbols[token] for token, _ in itertools.groupby(best) if token).replace("▁", " "))


def offer(
    deploy: Path, name: str, why: Mapping[str, str], clips: Sequence[Utterance], reference: Mapping[str, str]
) -> dict[str, Any]:
    """Make deploy/web/ and return what parity.json has of it, and print it: equal texts are counted, not demanded."""
    reason = why.get(FUNASR_ONNX, "the page decodes Paraformer and SenseVoice")
    try:
        if not reason:
            with timed("web page"):
                web.build(deploy / FUNASR_ONNX, deploy / NAME, name)
    except NotOfferedError as error:
        reason = str(error)
    if reason:
        print(f"{NAME}: not offered: {reason}")
        return {"status": parity.NOT_OFFERED, "reason": reason}
    with timed(f"{NAME} int8, {len(clips)} clips"):
        texts = decoded(clips, Web(deploy / NAME).transcribe)
    row = parity.result(clips, reference, texts)
    print(parity.in_words(NAME, "int8", row))
    return {"int8": row}
