"""What a training step costs: FunASR's as train_ds takes it, and ours, side by side in one run.

    python benchmarks/benchmark_step.py [--model DIR | --full-size DIR] [--batch-sizes 6000,24000] [--ngpu 1]
                                   [--memory-gb 23.5] [--steps 20] [--compile]

Random features of clips whose lengths are CDSD's (log-normal, 2.65 s on average) in batches of like length; the model
with its own weights, or Paraformer-large with random ones, made in DIR. Each row is a process of its own. FunASR's: its
model code, Adam, fp32 (TF32 on a GPU), loss and accuracy read after each step. Ours: the trainer's own step, with
``use_fast_step``, Adam fused, bf16 where the GPU has it, and what is read is read every 50 steps. launches are kernels,
waits host-device synchronisations, of one step, optimizer included; without a GPU both are counted on the pretended one
(tests/pretended_gpu.py). busy is the GPU's share of the time. The last two columns are ratios of the
audio trained on a second: to FunASR's step on batches of the same size, and to the first row, which is the manual's
command where the first batch size is its 6,000. Reading clips is no part of it: benchmarks/benchmark_train.py has that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402 - found through the line above

READ_EVERY = 50  # steps, conf/finetune_3090.yaml's log_interval
GIB = 2.0**30
STOCK, COMPILED = "FunASR's", "ours, compiled"
OURS = ("ours", COMPILED)
CUDA_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "cudaEventSynchronize")


def batches(batch_size: int, count: int, vocabulary: int) -> list[dict[str, Any]]:
    """Random features and targets; the largest batch first, so that the peak is in the warm-up too."""
    import torch

    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    lengths = np.sort((100 * chance.lognormal(np.log(2.65) - 0.18, 0.6, 200_000).clip(0.4, 20)).astype(int))
    made = []
    for begin in np.linspace(0.05, 0.95, count) * len(lengths):
        number = max(int(batch_size // lengths[int(begin)]), 1)
        frames = torch.from_numpy(np.sort(lengths[int(begin) - number : int(begin)])[::-1].copy())
        stacked = (frames + 5) // 6
        tokens = (frames / 45).round().long().clamp(min=2)
        text = torch.randint(3, vocabulary - 1, (number, int(tokens.max())))
        text[torch.arange(text.size(1))[None, :] >= tokens[:, None]] = -1
        speech = torch.randn(number, int(stacked.max()), 560)
        made.append(
            {
                "speech": speech,
                "speech_lengths": stacked[:, None],
                "text": text,
                "text_lengths": tokens[:, None],
            }
        )
    return made


class Stepper:
    """FunASR's model and an optimizer, stepped as its trainer does it."""

    bf16 = False

    def __init__(self, model: Path, ngpu: int, memory_gb: float) -> None:
        import torch
        from funasr import AutoModel

        from asr.models.loading import compose, quiet

        self.torch, self.device, self.done = torch, "cuda" if ngpu else "cpu", 0
        torch.backends.cudnn.deterministic = True  # as train_ds.main sets it
        if ngpu:
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            torch.cuda.set_per_process_memory_fraction(min(memory_gb / total, 1.0))
            torch.backends.cuda.matmul.allow_tf32 = True
        with quiet():
            kwargs = compose(model)
            weights = model / "model.pt"
            kwargs["init_param"] = str(weights) if weights.is_file() else None
            self.model = AutoModel(**{**kwargs, "device": self.device, "disable_log": True}).model.train()
        self.optimise()

    def step(self, batch: dict[str, Any]) -> None:
        """One step, and what is read of it."""
        torch = self.torch
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        loss, stats, _ = self.model(**batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5)
        if torch.isfinite(norm):
            self.optim.step()
        self.optim.zero_grad(set_to_none=True)
        self.done += 1
        loss.detach().cpu().item(), stats["acc"].detach().cpu().item()

    def wait(self) -> None:
        """Until all that was launched is done."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def counted(self, batch: dict[str, Any]) -> tuple[int, int, float]:
        """Launches, waits and the GPU's busy seconds of one step."""
        if self.device == "cpu":
            return *self.pretended(batch), 0.0
        from torch.profiler import ProfilerActivity, profile

        def seen(work: Callable[[], None]) -> list[Any]:
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
                work()
                self.wait()
            return list(profiled.events())

        idle = sum(event.name in CUDA_WAITS for event in seen(lambda: None))  # our own wait, and the profiler's
        events = seen(lambda: self.step(batch))
        # The GPU's own events; a named range of the program, such as the optimizer's step, covers some of them again.
        busy = [event for event in events if str(event.device_type).endswith("CUDA") and not event.is_user_annotation]
        kernels = sum(not event.name.startswith(("Memcpy", "Memset")) for event in busy)
        waits = sum(event.name in CUDA_WAITS for event in events) - idle
        return kernels, waits, sum(event.time_range.elapsed_us() for event in busy) / 1e6

    def optimise(self) -> None:
        """Make an optimizer of the model's parameters."""
        self.optim = self.torch.optim.Adam(self.model.parameters(), lr=1e-5)

    def pretended(self, batch: dict[str, Any]) -> tuple[int, int]:
        """Kernels and synchronisations of one step on the pretended GPU, where the model then stays."""
        from tests.pretended_gpu import counted, on_gpu

        on_gpu(self.model)
        self.device = "gpu:0"
        with counted() as counts:
            self.optimise()
            for _ in range(3):  # the first makes the optimizer's state, and the second looks at its norm
                before = counts.since()
                self.step(batch)
            found = counts.since(before)
        return found.kernels, found.synchronisations.total()


def blocks(part: Any) -> list[Any]:
    """The layers of an encoder or a decoder: the children of its repeated modules."""
    groups = [group for name, group in part.named_children() if name.startswith(("encoders", "decoders"))]
    return [block for group in groups for block in group]


class OurStepper(Stepper):
    """Our trainer's own step, as stage 3 takes it: it may run out of memory, and looks at the step before."""

    def __init__(self, model: Path, ngpu: int, memory_gb: float, compiled: bool) -> None:
        super().__init__(model, ngpu, memory_gb)
        from asr.models.loading import quiet
        from asr.models.paraformer.training import use_fast_step
        from asr.training.trainer import Trainer

        torch = self.torch
        assert use_fast_step(self.model)
        self.bf16 = bool(ngpu) and torch.cuda.is_bf16_supported(including_emulation=False)
        with quiet():
            self.trainer = Trainer(
                device=self.device,
                cpu=not ngpu,
                output_dir=tempfile.mkdtemp(),
                use_bf16=self.bf16,
                rank=0,
                world_size=1,
                grad_clip=5,
                accum_grad=1,
            )
        if compiled:  # block by block: the whole model at once ends in an error of torch's (see docs/benchmarks.md)
            for block in (*blocks(self.model.encoder), *blocks(self.model.decoder)):
                block.compile(dynamic=True)
        self.optimise()

    def optimise(self) -> None:
        """Fused, as the YAMLs for a GPU have it."""
        if not hasattr(self, "trainer"):  # called by Stepper's, before the step is ours
            return
        self.trainer.engine.device = self.device
        self.optim = self.torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)
        schedule = self.torch.optim.lr_scheduler.ConstantLR(self.optim, 1.0, 1)
        self.trainer.engine.attach(self.model, self.optim, schedule)

    def step(self, batch: dict[str, Any]) -> None:
        """One step, launched; what is read of it is waited for."""
        trainer = self.trainer
        trainer.position.advance()
        loss, stats = trainer.accumulator.add(batch, True)
        if trainer.gradients.accepts_later(trainer.engine.step(), loss, str(trainer.position)):
            trainer.engine.scheduler.step()
        self.optim.zero_grad(set_to_none=True)
        self.done += 1
        if self.done % READ_EVERY == 0:
            float(loss), float(stats["acc"])


def measure(who: str, model: Path, batch_size: int, ngpu: int, memory_gb: float, steps: int) -> dict[str, Any]:
    """One row."""
    import resource

    if not ngpu:
        from tests import pretended_gpu  # noqa: F401 - before the first backward pass
    ours = who in OURS
    stepper = OurStepper(model, ngpu, memory_gb, who == COMPILED) if ours else Stepper(model, ngpu, memory_gb)
    made = batches(batch_size, 10, stepper.model.vocab_size)
    if ngpu:  # as the dataloader's
        made = [{name: value.pin_memory() for name, value in batch.items()} for batch in made]
    for batch in made if ngpu or who == COMPILED else made[:2]:  # what is compiled is compiled here
        stepper.step(batch)
    stepper.wait()
    began, audio = time.perf_counter(), 0.0
    for number in range(steps):
        batch = made[number % len(made)]
        stepper.step(batch)
        audio += int(batch["speech_lengths"].sum()) * 0.06
    stepper.wait()
    seconds = (time.perf_counter() - began) / steps
    peak = 0 if ngpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # counting takes more
    launches, waits, busy = stepper.counted(made[len(made) // 2])
    peak = peak or stepper.torch.cuda.max_memory_reserved()
    name = stepper.torch.cuda.get_device_name(0) if ngpu else "processor"
    return {
        "seconds": seconds,
        "speed": audio / steps / seconds,
        "launches": launches,
        "waits": waits,
        "busy": busy,
        "peak": peak / GIB,
        "device": name,
        "bf16": stepper.bf16,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, default=ROOT / "mini/base")
    which.add_argument("--full-size", type=Path, metavar="DIR")
    parser.add_argument("--batch-sizes", default="6000,24000")
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=23.5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="a third row: ours, its blocks compiled, shapes dynamic")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    model = arguments.model
    if arguments.full_size:
        from benchmarks.benchmark_decode import full_size

        model = full_size(arguments.full_size)
    if arguments.row:
        who, size = arguments.row.rsplit(",", 1)
        print(json.dumps(measure(who, model, int(size), arguments.ngpu, arguments.memory_gb, arguments.steps)))
        return
    rows, first = [], None
    for size in arguments.batch_sizes.split(","):
        stock = None
        for who in (STOCK, "ours", COMPILED)[: 3 if arguments.compile else 2]:
            words = [sys.executable, __file__, "--model", str(model), "--row", f"{who},{size}"]
            words += ["--ngpu", str(arguments.ngpu), "--memory-gb", str(arguments.memory_gb)]
            words += ["--steps", str(arguments.steps)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                rows.append((f"{int(size):,}", who, *["failed"] + [""] * 7))
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            stock = found["speed"] if who == STOCK else stock
            first = stock if first is None and not rows else first
            rows.append(
                (
                    *(f"{int(size):,}", who + (", bf16" if found["bf16"] else ""), f"{found['seconds'] * 1000:,.0f}"),
                    *(f"{found['speed']:,.0f}", f"{found['launches']:,}", str(found["waits"])),
                    f"{found['busy'] / found['seconds']:.0%}" if found["busy"] else "",
                    f"{found['peak']:.2f}",
                    *(f"{found['speed'] / base:.2f}" if base else "" for base in (stock, first)),
                )
            )
            print(found["device"], rows[-1], file=sys.stderr, flush=True)
    head = (
        "batch_size",
        "step",
        "ms",
        "audio s/s",
        "launches",
        "waits",
        "busy",
        "peak GB",
        "x FunASR's",
        "x first row",
    )
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
