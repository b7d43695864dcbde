"""How long averaging takes and how much memory: ours against FunASR's own.

    python benchmarks/benchmark_average.py DIR [--count 10] [--blocks 50] [--cold]

Makes ``count`` checkpoints of Paraformer-large (50 encoder blocks: 220 M parameters, 880 MB a file) with FunASR's
classes and random weights in DIR, and averages them with ``asr.average`` (stage 4, with every checkpoint's sha256 in
avg.json) and with funasr/train_utils/average_nbest_models.py, each in a process of its own. Seconds of averaging and of
the whole process (Python and torch loaded), the largest resident set that the kernel saw, the largest difference.
``--cold`` asks the kernel to forget the files before each run, so that they come from the disk. The files of an earlier
run in DIR are used again. FunASR's holds all checkpoints in memory: 1 GB each.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "mini" / "make")]
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402 - found through the line above

START = "import sys, time, torch; from pathlib import Path; folder, count = Path(sys.argv[1]), int(sys.argv[2]);"
TIMED = "began = time.perf_counter(); {}; print(time.perf_counter() - began)"
READ = "[[None for _ in iter(lambda s=open(p, 'rb', 0): s.readinto(buffer), 0)] for p in folder.glob('model.pt.ep*')]"
PROGRAMS = {
    "reading the files alone": (f"{START} buffer = bytearray(1 << 20);", READ),
    "ours": (f"{START} from asr.averaging.best import average;", "average(folder, count)"),
    "FunASR's": (
        f"{START} from funasr.train_utils.average_nbest_models import average_checkpoints;",
        "average_checkpoints(str(folder), count)",
    ),
}


def weights(folder: Path, blocks: int) -> dict[str, Any]:
    """The state of a Paraformer-large with random weights, built from FunASR's own classes."""
    import torch
    import yaml
    from base_skeleton import CONFIG

    from asr.core.files import write_json
    from asr.models.loading import compose, quiet
    from asr.models.model_folder import default_configuration

    config = copy.deepcopy(CONFIG)
    config["encoder_conf"] |= {"output_size": 512, "linear_units": 2048, "num_blocks": blocks}
    config["decoder_conf"] |= {"linear_units": 2048, "num_blocks": 16, "att_layer_num": 16}
    config["predictor_conf"] |= {"idim": 512}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokens.json", ["<blank>", "<s>", "</s>", *(chr(0x4E00 + n) for n in range(8400)), "<unk>"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    write_json(folder / "configuration.json", default_configuration(folder))
    with quiet():
        from funasr import AutoModel

        torch.manual_seed(0)
        kwargs = compose(folder)
        built = AutoModel(**{**kwargs, "device": "cpu", "ncpu": 1, "disable_log": True})
    return built.model.state_dict()


def make(folder: Path, count: int, blocks: int) -> int:
    """Write the checkpoints that are not there and the rankings, ours and FunASR's; the number of parameters."""
    import torch

    from asr.core.digests import sha256_file
    from asr.core.run_records import note_digest, read_digests
    from asr.training.checkpoints import checkpoint

    names = [f"model.pt.ep{number}" for number in range(1, count + 1)]
    state = weights(folder / "skeleton", blocks)
    for number, name in enumerate(names, 1):
        path = folder / name
        if not path.is_file():
            moved = {
                key: value + 0.01 * number * value.roll(1) if value.is_floating_point() else value
                for key, value in state.items()
            }
            note_digest(folder, name, checkpoint.save({"state_dict": moved}, path))  # as training does
        elif name not in read_digests(folder):
            note_digest(folder, name, sha256_file(path))
    values = {name: 0.9 - number / 1000 for number, name in enumerate(names)}
    checkpoint.write_ranking(folder, "acc", values, count, True)
    torch.save(
        {"avg_keep_nbest_models_type": "acc", "val_acc_step_or_epoch": values, "state_dict": {}}, folder / "model.pt"
    )
    return sum(value.numel() for value in state.values())


def forget(folder: Path) -> None:
    """Ask the kernel to drop the checkpoints from its cache."""
    for path in folder.glob("model.pt.ep*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(program: tuple[str, str], folder: Path, count: int) -> tuple[float, float, float]:
    """Seconds of the work, seconds of the process, its largest resident set in MB."""
    before, work = program
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    words = [sys.executable, "-c", before + TIMED.format(work), str(folder), str(count)]
    began = time.perf_counter()
    child = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{work} ended with status {status}")
    return float(output.split()[-1]), time.perf_counter() - began, usage.ru_maxrss / 1024


def largest_difference(ours: Path, theirs: Path) -> float:
    """The largest absolute difference of any value of the two averages, which must have the same keys."""
    import torch

    ours, theirs = (torch.load(path, mmap=True, weights_only=True)["state_dict"] for path in (ours, theirs))
    if list(ours) != list(theirs):
        raise RuntimeError("the averages have different keys")
    return max((ours[key].double() - theirs[key].double()).abs().max().item() for key in ours)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, default=10, help="checkpoints")
    parser.add_argument("--blocks", type=int, default=50, help="encoder blocks, 3.2 M parameters each")
    parser.add_argument("--cold", action="store_true", help="from the disk, not from the kernel's cache")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    maker = [sys.executable, __file__, str(folder), "--count", str(arguments.count), "--blocks", str(arguments.blocks)]
    if os.environ.get("MAKE_ONLY"):
        print(make(folder, arguments.count, arguments.blocks))
        return
    made = subprocess.run(maker, env={**os.environ, "MAKE_ONLY": "1"}, capture_output=True, text=True, check=True)
    parameters, size = int(made.stdout.split()[-1]), (folder / "model.pt.ep1").stat().st_size
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PROGRAMS}
    result = folder / f"model.pt.avg{arguments.count}"
    for _ in range(arguments.repeat):  # in turn, as the disk and the machine are not the same from minute to minute
        for name, program in PROGRAMS.items():
            if arguments.cold:
                forget(folder)
            runs[name].append(measure(program, folder, arguments.count))
            print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)
            if name == "ours":
                result.rename(folder / "ours.pt")
    found = {
        name: [sorted(column)[len(times) // 2] for column in zip(*times, strict=True)] for name, times in runs.items()
    }
    difference = largest_difference(folder / "ours.pt", result)
    rows = [
        (name, f"{work:.1f}", f"{whole:.1f}", f"{peak:,.0f}", f"{peak * 2**20 / size:.2f}")
        for name, (work, whole, peak) in found.items()
    ]
    theirs = [theirs / ours for theirs, ours in zip(found["FunASR's"], found["ours"], strict=True)]
    rows.append(("FunASR's / ours", *(f"{ratio:.1f}" for ratio in theirs), ""))
    where = "from the disk" if arguments.cold else "from the kernel's cache"
    print(
        f"{cpu()}, {os.cpu_count()} cores; {arguments.count} checkpoints of {parameters / 1e6:.1f} M parameters,"
        f" {size / 2**20:,.0f} MB each, {where}; middle of {arguments.repeat}; largest difference {difference:.1e}\n"
    )
    print(markdown_table(("", "s", "s with start", "peak MB", "of one model"), rows))


if __name__ == "__main__":
    main()
