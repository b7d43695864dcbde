"""Validation: the loss of every clip, and, where they rank, the character errors of its decoded text.

FunASR's accuracy is measured at the reference's length and does not see errors of length, so the CER is of decoded
texts, as ``asr.decode`` makes them in its plainest way and ``local/score.py`` counts them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from funasr.train_utils.checkpoint_metrics import ValidationMetrics
from funasr.train_utils.device_funcs import to_device

from asr.core.errors import RecipeError
from asr.core.out_of_memory import attempt
from asr.models import families
from asr.scoring.cer import ErrorCounts, align_all
from asr.scoring.normalize import normalize
from asr.training.batch_parts import Batch, Stats, mean_of_parts, normaliser, padded_frames, parts_of
from asr.training.engine import TorchEngine
from asr.training.position import seed_generators

logger = logging.getLogger("asr.progress")


def count_errors(family: Any, tokenizer: Any, model: Any, batch: Batch, finite: bool = True) -> ErrorCounts:
    """Return the character errors of a batch, decoded; texts are compared as ``normalize`` has them.

    Texts, not ids: a character without a token is an error whatever the model writes, and a decoded <unk> is none.
    Where the loss is not ``finite`` the model has diverged: the predictor would fail, and every character is deleted.
    """
    references, hypotheses = batch["target"], [""] * len(batch["target"])
    if finite:
        ids = family.decode_batch(model, batch["speech"], batch["speech_lengths"].view(-1), family.options({}))
        hypotheses = [family.detokenize(tokenizer, each) for each in ids]
    pairs = zip(map(normalize, references), map(normalize, hypotheses), strict=True)
    return ErrorCounts.total(aligned.counts for aligned in align_all(pairs))


class Validator:
    """Validates the model of an engine.

    Args:
        before_batch: called with each batch and whether all processes have as many of them.
    """

    def __init__(self, engine: TorchEngine, before_batch: Callable[[Batch, bool], None]) -> None:
        self.settings, self.engine, self.before_batch = engine.settings, engine, before_batch
        self.ranks_by_cer, self.family = self.settings.ranking == "cer", families.of(self.settings.family)
        self.tokenizer: Any = None
        self.errors = ErrorCounts()

    def run(self, loader: Any, epoch: int) -> dict[str, float | None]:
        """Return the set's mean loss and accuracy over batches, and its CER where that ranks, from all processes.

        None for a mean that is not finite on every batch, or that the model does not report.
        """
        engine, metrics, self.errors = self.engine, ValidationMetrics(), ErrorCounts()
        even = getattr(loader.batch_sampler, "gives_all_as_many", lambda: False)()  # FunASR's samplers do not know
        self.tokenizer = loader.dataset.tokenizer
        engine.share_buffers()
        engine.model.eval()
        loader.batch_sampler.set_epoch(epoch)
        with torch.no_grad():
            for number, batch in enumerate(loader):
                self.before_batch(batch, even)
                metrics.update(*self.batch(to_device(batch, engine.device, non_blocking=True), number))
        engine.model.train()
        means = metrics.compute(engine.device, distributed=engine.several)
        values = {"loss": means["loss"], "accuracy": means["acc"]}
        return {**values, "cer": self._corpus_cer()} if self.ranks_by_cer else values

    def batch(self, batch: Batch, number: int) -> tuple[torch.Tensor, Stats]:
        """Return loss and statistics of a batch, and count its errors; of its halves where memory runs out."""
        result, out_of_memory = attempt(self._whole, batch, number)
        if not out_of_memory:
            return result
        clips = len(batch["speech_lengths"])
        if clips == 1:
            seconds = padded_frames(batch) * self.settings.seconds_per_frame
            raise RecipeError(
                f"validation: a clip of {seconds:.1f} s does not fit in memory, in a batch of its own"
                f" ({out_of_memory}); end other programs that use it"
            )
        logger.warning(f"validation: out of memory with {clips} clips: computed again in halves")
        model, halves = self.engine.plain_model, parts_of(batch, 2)
        shares = [normaliser(model, half) / normaliser(model, batch) for half in halves]
        return mean_of_parts([self.batch(half, number) for half in halves], shares)

    def _whole(self, batch: Batch, number: int) -> tuple[torch.Tensor, Stats]:
        # The loss, too, is of sampled decoding.
        seed_generators(self.settings.seed, "validation", number, self.settings.rank)
        loss, stats = self.engine.forward(batch)
        if self.ranks_by_cer and not batch.get("blank"):
            finite = bool(torch.isfinite(loss))
            self.errors += count_errors(self.family, self.tokenizer, self.engine.plain_model, batch, finite)
        return loss, stats

    def _corpus_cer(self) -> float:
        counts = torch.tensor([self.errors.errors, self.errors.ref_len], dtype=torch.float64)
        if self.engine.several:
            counts = counts.to(self.engine.device)
            dist.all_reduce(counts)
        errors, total = counts.tolist()
        if not total:
            raise RecipeError("validation: the validation set has no reference characters, so no CER to rank by")
        return errors / total
