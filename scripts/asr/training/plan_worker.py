"""What ``asr.plan`` starts for each batch_size: some steps of real training, and what they took."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.core import errors
from asr.core.files import write_json
from asr.core.out_of_memory import ran_out_of_memory
from asr.core.processes import die_with_parent

TIMED = 8  # ordinary batches
SAMPLE = 2000  # frames of a batch whose activations are counted and scaled, where that is done
CONTEXT_GB = 0.7  # of a GPU that CUDA's context and libraries take, about
GIB = 2.0**30


def extremes(batches: list[np.ndarray], lengths: np.ndarray, tokens: np.ndarray) -> list[int]:
    """Numbers of the batches that take the most memory, each by its own measure; the first has the most frames."""
    measures = [
        [len(batch) * lengths[batch].max() for batch in batches],
        [len(batch) * tokens[batch].max() for batch in batches],  # the decoder's scores
        [len(batch) * lengths[batch].max() ** 2 for batch in batches],  # attention
        [len(batch) for batch in batches],
        [lengths[batch].max() for batch in batches],
    ]
    return list(dict.fromkeys(int(np.argmax(measure)) for measure in measures))


class Bench:
    """The model, optimizer and data that stage 3 would train with."""

    def __init__(self, plan: dict[str, Any]) -> None:
        from asr.models.funasr_import import import_funasr
        from asr.models.loading import choose_device, quiet

        with quiet():
            import_funasr()
            from asr.training.building import build

        self.device = choose_device(plan["ngpu"])
        if self.device == "cuda":
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            torch.cuda.set_per_process_memory_fraction(min(plan["memory_gb"] / total, 1.0))
        with quiet():
            self.trainer, dataloader = build(plan, self.device)
        self.engine, self.model = self.trainer.engine, self.trainer.engine.model
        loader, _ = dataloader.build_iter(0)
        self.data = loader.dataset
        self.batches = [np.array(batch) for batch in loader.batch_sampler]
        self.lengths = np.array([self.data.get_source_len(number) for number in range(len(self.data))])
        self.read_seconds = self.read_audio = 0.0

    def load(self, batch: np.ndarray) -> dict[str, Any]:
        """One batch, read and featurised here; the time that took is counted."""
        began = time.process_time()
        made = self.data.collator([self.data[int(number)] for number in batch])
        self.read_seconds += time.process_time() - began
        self.read_audio += self.lengths[batch].sum() / 100
        return made

    def step(self, batch: dict[str, Any]) -> float:
        """Return the seconds of one training step, waited for."""
        began = time.perf_counter()
        loss, _ = self.engine.forward(batch)
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

    def kept_bytes(self, batch: np.ndarray) -> float:
        """Return what autograd keeps of a batch for the backward pass: counted on some clips, scaled by frames."""
        part = batch[: max(SAMPLE // int(self.lengths[batch].max()), 1)]
        own = {value.untyped_storage().data_ptr() for value in self.model.parameters()}
        kept: dict[int, int] = {}

        def keep(value: Any) -> Any:
            storage = value.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            self.step(self.load(part))
        scale = len(batch) * self.lengths[batch].max() / (len(part) * self.lengths[part].max())
        return float(sum(kept.values()) * scale)

    def held_bytes(self) -> int:
        """Return the bytes of parameters, gradients and the optimizer's state after a step."""
        states = self.engine.optimizer.state.values()
        state = [value for values in states for value in values.values() if torch.is_tensor(value)]
        trained = [value for value in self.model.parameters() if value.requires_grad]
        from asr.training.building import bytes_of

        return bytes_of([*self.model.parameters(), *trained, *state])

    def device_name(self) -> str:
        """Return the GPU's name, or "the CPU"."""
        return torch.cuda.get_device_name(0) if self.device == "cuda" else "the CPU"


def measure(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what ``asr.training.plan.search`` asks of a batch_size."""
    size = plan["dataset_conf"]["batch_size"]
    bench = Bench(plan)
    tokens = np.array([bench.data.index_ds.get_target_len(bench.data.index_ds[n]) for n in range(len(bench.data))])
    hard = extremes(bench.batches, bench.lengths, tokens)
    padded = sum(len(batch) * bench.lengths[batch].max() for batch in bench.batches)
    audio = bench.lengths.sum() / 100
    row = {
        "batch_size": size,
        "steps": len(bench.batches),
        "padding": float(1 - bench.lengths.sum() / padded),
        "audio_seconds": float(audio),
        "trained": sum(value.numel() for value in bench.model.parameters() if value.requires_grad),
    }
    if plan.get("by_arithmetic"):
        kept = max(bench.kept_bytes(bench.batches[number]) for number in hard)
        peak = (bench.held_bytes() + kept) / GIB + CONTEXT_GB
        return {**row, "fits": peak <= plan["memory_gb"], "peak_gb": peak, "device": "a GPU, by arithmetic"}
    ordinary = np.linspace(0, len(bench.batches) - 1, min(TIMED, len(bench.batches))).astype(int).tolist()
    try:
        for number in [hard[0], *hard]:  # the first step makes the optimizer's state
            bench.step(bench.load(bench.batches[number]))
            if bench.device == "cpu" and bench.peak_gb() > plan["memory_gb"]:
                return {"batch_size": size, "fits": False, "why": f"{bench.peak_gb():.2f} GB"}
        seconds = [bench.step(bench.load(bench.batches[number])) for number in ordinary]
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        return {"batch_size": size, "fits": False, "why": str(error).splitlines()[0]}
    timed = sum(bench.lengths[bench.batches[number]].sum() for number in ordinary) / 100
    # Scaled by audio, because the last batch of a buffer may be a small one.
    return {
        **row,
        "fits": True,
        "peak_gb": bench.peak_gb(),
        "seconds_per_step": float(sum(seconds) / timed * audio / len(bench.batches)),
        "reading_seconds_per_second": float(bench.read_seconds / bench.read_audio),
        "device": bench.device_name(),
        "bf16": bool(bench.trainer.settings.use_bf16),
    }


def main() -> None:
    die_with_parent()
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_json(Path(plan["answer"]), measure(plan))


if __name__ == "__main__":
    errors.run(main)
