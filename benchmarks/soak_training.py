"""Kill the mini training again and again, go on each time, and compare with a training that was left alone.

    python benchmarks/soak_training.py DIR [--kills 50] [--seed 0]

SIGKILL at random moments, every third one while a file is being written. When a training has come to its end before
all kills are done, it is begun anew. At each end every checkpoint, the optimizer and the ranking must be those of the
training that was never stopped, bit for bit. CPU, two processes, 3 epochs of the mini corpus, a save every 4 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
import torch  # noqa: E402 - what is above finds the packages below

from tests.recipe import Recipe  # noqa: E402

SETTINGS = (
    *("++train_conf.max_epoch=3", "++train_conf.save_checkpoint_interval=4", "++train_conf.validate_interval=8"),
    *("++train_conf.keep_nbest_models=3", "++train_conf.avg_nbest_model=3"),
)


def words(tag: str, first: int, last: int) -> list[str]:
    """run.sh's arguments."""
    return ["--tag", tag, "--stage", str(first), "--stop-stage", str(last), *SETTINGS]


def kill(recipe: Recipe, tag: str, chance: random.Random, while_saving: bool) -> str:
    """Start stage 3 and kill it; what became of it: ``killed``, ``killed while saving`` or ``ended``."""
    child = recipe.start(*words(tag, 3, 3), output=subprocess.DEVNULL)
    exp, log = recipe.root / "exp" / tag, recipe.root / "exp" / tag / "train.log"
    before, written = time.time(), -1.0
    while child.poll() is None and written < before:  # until this training has begun
        written = log.stat().st_mtime if log.exists() else -1.0
        time.sleep(0.02)
    deadline = time.monotonic() + (60 if while_saving else chance.uniform(0, 8))
    wanted = chance.randrange(1, 4)  # of the files that are written, the first, second or third
    seen: set[str] = set()
    saving = False
    while child.poll() is None and time.monotonic() < deadline and not saving:
        if while_saving:
            seen |= {name for name in os.listdir(exp) if name.endswith(".tmp")}
            saving = len(seen) >= wanted
        time.sleep(0.0005 if while_saving else 0.01)
    if child.poll() is not None:
        return "ended"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return "killed while saving" if saving else "killed"


def content(exp: Path) -> dict[str, Any]:
    """Everything that must be equal: tensors of all checkpoints and of the optimizer, ranking, place."""
    found: dict[str, Any] = {"ranking": json.loads((exp / "checkpoints.json").read_text(encoding="utf-8"))}
    for path in sorted(exp.glob("*.pt*")):
        found[path.name] = torch.load(path, weights_only=False)
    return found


def difference(one: Any, two: Any, where: str = "") -> str | None:
    """The first place at which two trees of dicts, lists and tensors are not equal bit for bit, or None."""
    if isinstance(one, dict) and isinstance(two, dict):
        if one.keys() != two.keys():
            return f"{where}: {sorted(map(str, one.keys() ^ two.keys()))}"
        return next(filter(None, (difference(one[key], two[key], f"{where}/{key}") for key in one)), None)
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)) and len(one) == len(two):
        return next(filter(None, (difference(*pair, f"{where}[]") for pair in zip(one, two, strict=True))), None)
    same = torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
    return None if same else f"{where}: {one!r:.60} is not {two!r:.60}"


def soak(recipe: Recipe, kills: int, seed: int) -> dict[str, int]:
    """Kill ``kills`` times; how often what happened. RuntimeError where a training ended with anything else."""
    for tag in ("straight", "soak"):
        done = recipe.run(*words(tag, 0, 3 if tag == "straight" else 2))
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    expected, chance, counts = content(recipe.root / "exp/straight"), random.Random(seed), {"trainings compared": 0}
    number = 0
    while number < kills:
        what = kill(recipe, "soak", chance, while_saving=number % 3 == 2)
        counts[what] = counts.get(what, 0) + 1
        number += what != "ended"
        print(f"{number}: {what}", file=sys.stderr, flush=True)
        if what == "ended" or number == kills:
            compare(recipe, expected)
            counts["trainings compared"] += 1
            for path in [*(recipe.root / "exp/soak").glob("*.pt*"), recipe.root / "exp/soak/saves.json"]:
                path.unlink()
            for name in ("run.json", "checkpoints.json", "stamps/stage3"):
                (recipe.root / "exp/soak" / name).unlink(missing_ok=True)
    return counts


def compare(recipe: Recipe, expected: dict[str, Any]) -> None:
    """Let the training come to its end, and compare."""
    done = recipe.run(*words("soak", 3, 3))
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    found = difference(expected, content(recipe.root / "exp/soak"))
    if found:
        raise RuntimeError(f"not what the training that was left alone ended with: {found}")


def main() -> None:
    """Soak, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    print(soak(Recipe(arguments.folder.resolve()), arguments.kills, arguments.seed))


if __name__ == "__main__":
    main()
