"""The metrics by which checkpoints can be ranked. What is measured is in asr.training.validation."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One metric of a validation.

    record: what progress.jsonl calls it.
    title: what the axis of its curve says, in which it is multiplied by ``scale``.
    sign: 1 where low values are better, -1 where high ones are.
    shown: how a value is written, multiplied by ``scale``.
    """

    record: str
    title: str
    scale: int = 100
    sign: int = 1
    shown: str = "{name} {value:.2f} %"

    def text(self, name: str, value: float) -> str:
        """Return a value as people read it."""
        return self.shown.format(name=name.upper(), value=self.scale * value)


METRICS = {
    "cer": Metric("cer", "validation CER, %"),
    "acc": Metric("accuracy", "validation accuracy, %", sign=-1),
    "loss": Metric("loss", "validation loss", scale=1, shown="loss {value:.4f}"),
}
