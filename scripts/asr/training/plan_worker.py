"""What ``asr.plan`` starts for each batch_size: some steps of real training, and what they took."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np
import torch

from asr.core import errors
from asr.core.out_of_memory import ran_out_of_memory
from asr.core.processes import die_with_parent
from asr.models.funasr_import import import_funasr
from asr.models.loading import choose_device, quiet

TIMED = 8  # ordinary batches
SAMPLE = 2000  # frames of a batch whose activations are counted and scaled, where that is done
CONTEXT_GB = 0.7  # of a GPU that CUDA's context and libraries take, about
GIB = 2.0**30


class Bench:
    """The model, optimizer and data that stage 3 would train with."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.device = choose_device(plan["ngpu"])
        if self.device == "cuda":
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            torch.cuda.set_per_process_memory_fraction(min(plan["memory_gb"] / total, 1.0))
        with quiet():
            import_funasr()
            from asr.training.building import build

            self.trainer, dataloader = build(plan, self.device)
        self.engine, self.model = self.trainer.engine, self.trainer.engine.model
        loader, _ = dataloader.build_iter(0)
        self.data = loader.dataset
        self.batches = [np.array(batch) for batch in loader.batch_sampler]
        self.lengths = np.array([self.data.get_source_len(number) for number in range(len(self.data))])  # frames
        self.read_seconds = self.read_audio = 0.0

    def extremes(self) -> list[np.ndarray]:
        """Return the batches that take the most memory, each by its own measure; the first has the most frames."""
        index = self.data.index_ds
        tokens = np.array([index.get_target_len(index[number]) for number in range(len(self.data))])
        measures = [
            [len(batch) * self.lengths[batch].max() for batch in self.batches],
            [len(batch) * tokens[batch].max() for batch in self.batches],  # the decoder's scores
            [len(batch) * self.lengths[batch].max() ** 2 for batch in self.batches],  # attention
            [len(batch) for batch in self.batches],
            [self.lengths[batch].max() for batch in self.batches],
        ]
        numbers = dict.fromkeys(int(np.argmax(measure)) for measure in measures)
        return [self.batches[number] for number in numbers]

    def load(self, batch: np.ndarray) -> dict[str, Any]:
        """Return a batch, read and featurised here; the time that took is counted."""
        began = time.process_time()
        made = self.data.collator([self.data[int(number)] for number in batch])
        self.read_seconds += time.process_time() - began
        self.read_audio += self.lengths[batch].sum() / 100
        return made

    def step(self, batch: np.ndarray) -> float:
        """Return the seconds of one training step, waited for, without those of reading its batch."""
        made = self.load(batch)
        began = time.perf_counter()
        loss, _ = self.engine.forward(made)
        self.engine.backward(loss)
        self.engine.step()
        self.engine.optimizer.zero_grad(set_to_none=True)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def peak_gb(self) -> float:
        """Return the most memory taken so far: what torch has reserved of the GPU, else this process's resident set."""
        if self.device == "cuda":
            return torch.cuda.max_memory_reserved() / GIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB

    def computed_gb(self) -> float:
        """Return what a GPU would take: context, model, gradients, optimizer, and activations of the worst batch."""
        kept = max(self.kept_bytes(batch) for batch in self.extremes())
        states = self.engine.optimizer.state.values()
        state = [value for values in states for value in values.values() if torch.is_tensor(value)]
        gradients = [value for value in self.model.parameters() if value.requires_grad]
        held = sum(value.nbytes for value in [*self.model.parameters(), *gradients, *state])
        return (held + kept) / GIB + CONTEXT_GB

    def kept_bytes(self, batch: np.ndarray) -> float:
        """Return what autograd keeps of a batch for the backward pass: counted on some clips, scaled by frames."""
        part = batch[: max(SAMPLE // int(self.lengths[batch].max()), 1)]
        weights = {value.untyped_storage().data_ptr() for value in self.model.parameters()}
        kept: dict[int, int] = {}

        def keep(value: torch.Tensor) -> torch.Tensor:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            self.step(part)
        scale = len(batch) * self.lengths[batch].max() / (len(part) * self.lengths[part].max())
        return float(sum(size for place, size in kept.items() if place not in weights) * scale)


def measure(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what ``asr.training.plan.search`` asks of a batch_size."""
    bench = Bench(plan)
    padded = sum(len(batch) * bench.lengths[batch].max() for batch in bench.batches)
    row = {
        "batch_size": plan["dataset_conf"]["batch_size"],
        "steps": len(bench.batches),
        "padding": float(1 - bench.lengths.sum() / padded),
        "audio_seconds": float(bench.lengths.sum() / 100),
        "trained": sum(value.numel() for value in bench.model.parameters() if value.requires_grad),
    }
    if plan["by_arithmetic"]:
        peak = bench.computed_gb()
        return {**row, "fits": peak <= plan["memory_gb"], "peak_gb": peak, "device": "a GPU, by arithmetic"}
    try:
        return {**row, **take_steps(bench, plan["memory_gb"])}
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        return {**row, "fits": False, "why": str(error).splitlines()[0]}


def take_steps(bench: Bench, memory_gb: float) -> dict[str, Any]:
    """Return what steps with the hardest batches and with ordinary ones take."""
    hard = bench.extremes()
    for batch in [hard[0], *hard]:  # the first step makes the optimizer's state
        bench.step(batch)
        if bench.device == "cpu" and bench.peak_gb() > memory_gb:
            return {"fits": False, "why": f"{bench.peak_gb():.2f} GB"}
    numbers = np.linspace(0, len(bench.batches) - 1, min(TIMED, len(bench.batches))).astype(int)
    ordinary = [bench.batches[number] for number in numbers]
    seconds = sum(bench.step(batch) for batch in ordinary)
    # Scaled by audio, because the last batch of a buffer may be a small one.
    share = sum(bench.lengths[batch].sum() for batch in ordinary) / bench.lengths.sum()
    return {
        "fits": True,
        "peak_gb": bench.peak_gb(),
        "seconds_per_step": float(seconds / share / len(bench.batches)),
        "reading_seconds_per_second": float(bench.read_seconds / bench.read_audio),
        "device": torch.cuda.get_device_name(0) if bench.device == "cuda" else "the CPU",
        "bf16": bench.trainer.settings.use_bf16,
    }


def main() -> None:
    die_with_parent()
    print(json.dumps(measure(json.load(sys.stdin))))


if __name__ == "__main__":
    errors.run(main)
