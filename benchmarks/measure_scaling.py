"""What training costs from 44 h to 100,000 h of audio on 1 to 64 GPUs: the tables of docs/scaling.md.

    python benchmarks/measure_scaling.py [--utterances 1000000] [--clips 300]

First measures, here and on one core, what the processor does for a GPU: reading WAV and FLAC, features of the real
frontend (80 mel bins, 7 frames stacked, every 6th), and the index over a manifest. Then a model of an epoch from these
and from INPUTS, each of which says whether it was measured, and on what, or is assumed. The model has not been held
against a training on more than one GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402 - found through the line above

CLIP = 2.8  # seconds of a clip: what the GPU's figures were measured with
HOURS, GPUS = (44, 1_000, 10_000, 100_000), (1, 8, 16, 64)
ASSUMED = "assumed"


@dataclass(frozen=True)
class Input:
    """A number of the model, and where it is from."""

    value: float
    unit: str
    origin: str


H100 = "measured: H100 80 GB, full Paraformer-large, random weights, clips of 2.8 s, bf16, batch_size 24,000"
SETTINGS = yaml.safe_load((ROOT / "conf/finetune_3090.yaml").read_text(encoding="utf-8"))
INPUTS = {
    "GPU, audio a second": Input(640, "s/s", H100),
    "step": Input(0.339, "s", H100),
    "parameters": Input(220.1e6, "", "counted: Paraformer-large"),
    "gradient": Input(4, "B a parameter", "fp32"),
    "exchange within a machine": Input(100e9, "B/s", ASSUMED),
    "exchange between machines": Input(10e9, "B/s", f"{ASSUMED}: 100 Gbit/s, 80 % of it"),
    "GPUs a machine": Input(8, "", ASSUMED),
    "checkpoint, weights and optimizer": Input(3 * 4 * 220.1e6, "B", "counted: fp32, Adam"),
    "disk": Input(1e9, "B/s", ASSUMED),
    "steps between saves": Input(SETTINGS["train_conf"]["save_checkpoint_interval"], "", "conf/finetune_3090.yaml"),
    "validation set": Input(3600, "s of audio", ASSUMED),
    "steps between validations": Input(SETTINGS["train_conf"]["validate_interval"], "", "conf/finetune_3090.yaml"),
    "plan of an epoch": Input(0.46e-6, "s a clip", "measured: docs/benchmarks.md, Batches, 2 cores"),
}


def value(name: str) -> float:
    """An input's number."""
    return INPUTS[name].value


# --- measured here ---------------------------------------------------------------------------------------------------


def per_second(function: Callable[[Any], Any], items: list[Any], seconds: float) -> float:
    """Seconds of audio that ``function`` works off a second of one core; the middle one of three runs."""
    rates = []
    for _ in range(3):
        began = time.process_time()
        for item in items:
            function(item)
        rates.append(len(items) * seconds / (time.process_time() - began))
    return sorted(rates)[1]


def measure_audio(folder: Path, clips: int) -> dict[str, Input]:
    """Reading, another speed and features: audio seconds a second of one core, on noise that lies in the page cache."""
    import soundfile
    import torch
    from funasr.frontends.wav_frontend import WavFrontend
    from funasr.utils.load_utils import extract_fbank

    from asr.audio.reading import resampled
    from asr.data.waveforms import at_speed

    torch.set_num_threads(1)
    chance, where = np.random.default_rng(0), f"measured here: {cpu()}, one core, {clips} clips of {CLIP} s"
    waves = [(0.1 * chance.standard_normal(int(CLIP * 16000))).astype(np.float32) for _ in range(clips)]
    found = {}
    for kind in ("wav", "flac"):
        paths = [folder / f"{number}.{kind}" for number in range(clips)]
        for path, wave in zip(paths, waves, strict=True):
            soundfile.write(path, wave, 16000)
        found[f"read {kind.upper()}"] = Input(per_second(lambda path: list(resampled(path)), paths, CLIP), "s/s", where)
    found["another speed"] = Input(per_second(lambda wave: at_speed(wave, 0.9), waves, CLIP), "s/s", where)
    frontend = WavFrontend(fs=16000, window="hamming", n_mels=80, frame_length=25, frame_shift=10, lfr_m=7, lfr_n=6)

    def features(wave: torch.Tensor) -> Any:
        return extract_fbank(wave, data_type="sound", frontend=frontend)

    found["features"] = Input(per_second(features, [torch.from_numpy(wave) for wave in waves], CLIP), "s/s", where)
    return found


def measure_index(folder: Path, utterances: int) -> dict[str, Input]:
    """Memory and time of the index that every rank has, a clip."""
    path = folder / "train.jsonl"
    with open(path, "w", encoding="utf-8") as stream:
        for number in range(utterances):
            name = f"S{number % 1000:04d}T{number % 97:03d}E{number % 7:03d}N{number:08d}"
            line = {"key": name, "source": f"/data/corpus/wav/{name[:5]}/{name}.wav", "target": "打开客厅的灯"}
            line |= {"source_len": 280, "target_len": 6, "speaker": name[:5], "duration": CLIP, "num_samples": 44800}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    read, write = os.pipe()
    child = os.fork()  # in a process of its own, whose memory is the index's alone
    if not child:
        from asr.data.dataset import RecipeIndex

        before, began = _resident(), time.process_time()
        index = RecipeIndex(path)
        taken = time.process_time() - began
        kept, peak = _resident() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        os.write(write, json.dumps([kept, peak, taken, len(index)]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        kept, peak, taken, count = json.loads(stream.read())
    os.waitpid(child, 0)
    where = f"measured here: {cpu()}, {count:,} utterances, {path.stat().st_size / count:.0f} B a line"
    return {
        "index, memory": Input(kept / count, "B a clip", where),
        "index, peak while it is made": Input(peak / count, "B a clip", where),
        "index, time": Input(taken / count, "s a clip", where),
    }


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- the model -------------------------------------------------------------------------------------------------------


def exchange(gpus: int) -> float:
    """Seconds in which a ring adds up a step's gradients: 2 (n-1)/n of them over the slowest link, none hidden."""
    size = value("parameters") * value("gradient") * 2 * (gpus - 1) / gpus
    between = gpus > value("GPUs a machine")
    return size / value("exchange between machines" if between else "exchange within a machine")


def epoch(hours: float, gpus: int, index: dict[str, Input]) -> dict[str, float]:
    """One epoch: seconds of each part, and what it takes of a machine."""
    clips, here = hours * 3600 / CLIP, min(gpus, value("GPUs a machine"))
    audio_a_step = value("GPU, audio a second") * value("step")
    steps = max(hours * 3600 / audio_a_step / gpus, 1)
    saves = steps / value("steps between saves") + 1
    validations = steps / value("steps between validations") + 1
    parts = {
        "steps": steps * value("step"),
        "exchange": steps * exchange(gpus),
        "plan": clips * value("plan of an epoch"),
        "saves": saves * value("checkpoint, weights and optimizer") / value("disk"),
        "validation": validations * value("validation set") / value("GPU, audio a second") / gpus,
    }
    total = sum(parts.values())
    return {
        **parts,
        "total": total,
        "count": steps,
        "busy": steps * value("step") / total,
        "manifest GB": clips * index["index, memory"].value * here / 1e9,
        "start": clips * index["index, time"].value,
    }


def model(index: dict[str, Input]) -> str:
    """The table."""
    rows = []
    for hours in HOURS:
        for gpus in GPUS:
            found = epoch(hours, gpus, index)
            rows.append(
                (
                    *(f"{hours:,}", str(gpus), f"{found['count']:,.0f}", clock(found["total"])),
                    *(f"{found['total'] / 3600 * gpus:,.1f}", f"{100 * found['busy']:.0f} %"),
                    *(clock(found["exchange"]), clock(found["plan"]), clock(found["saves"])),
                    *(f"{found['manifest GB']:.1f}", clock(found["start"])),
                )
            )
    head = ("hours of audio", "GPUs", "steps an epoch", "an epoch", "GPU hours", "of it in steps", "exchange", "plan")
    return markdown_table((*head, "saves", "index GB a machine", "index read"), rows)


def clock(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def cores(audio: dict[str, Input], kind: str) -> float:
    """Cores that keep one GPU fed from files of a kind, two thirds of the clips at another speed."""
    times = (1 / audio[f"read {kind}"].value, 2 / 3 / audio["another speed"].value, 1 / audio["features"].value)
    return value("GPU, audio a second") * sum(times)


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--clips", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = measure_index(Path(folder), arguments.utterances)
        audio = measure_audio(Path(folder), arguments.clips)
    everything = {**audio, **index, **INPUTS}
    rows = [(name, f"{item.value:,.4g} {item.unit}".strip(), item.origin) for name, item in everything.items()]
    print(markdown_table(("input", "value", "from"), rows))
    needed = ", ".join(f"{cores(audio, kind):.1f} from {kind}" for kind in ("WAV", "FLAC"))
    print(f"\ncores for each GPU: {needed}\n")
    print(model(index))


if __name__ == "__main__":
    main()
