"""A dozen clips of the mini corpus, and a family's tiny model through the recipe's stages on them.

    python tests/dozen.py MODULE[.CASE] [++overrides …]

runs a case of ``tests.MODULE`` once, in a copy of the repository, and prints the CER on its training clips.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "local")]
from asr.core.kaldi_text import read_text  # noqa: E402
from asr.core.manifest import Utterance, read_manifest, write_manifest  # noqa: E402
from asr.scoring.cer import ErrorCounts, align_all  # noqa: E402 - found through the line above

SIZES = {"train": 12, "test": 4}
OFTEN = 10  # times that every clip is in an epoch where it is to be known by heart: an epoch's end takes long
# One process, and nothing saved or validated but at an epoch's end.
SMALL = (
    "++cpu_processes=1",
    "++dataset_conf.num_workers=0",
    "++train_conf.log_interval=20",
    "++train_conf.keep_nbest_models=2",
    "++train_conf.avg_nbest_model=2",
    "++train_conf.validate_interval=100000",
    "++train_conf.save_checkpoint_interval=100000",
)
# Nothing hidden and nothing drawn either.
PLAIN = (
    *SMALL,
    "++dataset_conf.speed_perturb=null",
    "++specaug_conf.apply_time_mask=false",
    "++specaug_conf.freq_mask_width_range=[0,1]",
)


class Case(NamedTuple):
    """How a family is tried.

    conf: its YAML in conf/.
    make_model: makes a folder a tiny random model whose tokenizer knows the characters, and returns it.
    overrides: ++… words that make conf fit the tiny model, enough for it to learn a dozen clips by heart.
    learns: whether it does; adapters of random weights, or two epochs, only go through the stages.
    """

    conf: str
    make_model: Callable[[Path, list[str]], Path]
    overrides: tuple[str, ...]
    learns: bool = True


def chosen(manifest: Iterable[Utterance], times: int) -> dict[str, list[Utterance]]:
    """Short clips, all of different texts, those of train so many times under different names.

    The validation set is the training set once more, so the checkpoints that have it best by heart are ranked best.
    """
    found: dict[str, list[Utterance]] = {name: [] for name in SIZES}
    seen: set[str] = set()
    for item in sorted(manifest, key=lambda item: (item.duration, item.key)):
        name = next((name for name, size in SIZES.items() if len(found[name]) < size), None)
        if name is None:
            break
        if 3 <= item.target_len <= 6 and item.target not in seen and item.duration > 1:
            seen.add(item.target)
            found[name].append(item)
    found["val"] = [item._replace(key=f"again-{item.key}") for item in found["train"]]
    found["train"] += [item._replace(key=f"{time}-{item.key}") for time in range(1, times) for item in found["train"]]
    return found


def lay_out(recipe, times: int = 1) -> tuple[Path, list[str]]:
    """A JSONL corpus with its own sets, a speaker each, below ``recipe.root``/data; the characters in it."""
    folder = recipe.root / f"data/dozen_{times}"
    if not (recipe.root / "data/dozen_source/train.jsonl").exists():
        done = recipe.run("mini/unpack.py", "--out", "data/mini", command=(sys.executable,))
        assert done.returncode == 0, done.stderr
        words = ("--corpus", "data/mini", "--part", "1h", "--out", "data/dozen_source")
        made = recipe.run("local/prepare_1h_dataset.py", *words, command=(sys.executable,))
        assert made.returncode == 0, made.stdout + made.stderr
    if not folder.exists():
        folder.mkdir()
        for name, items in chosen(read_manifest(recipe.root / "data/dozen_source/train.jsonl"), times).items():
            write_manifest(folder / f"{name}.jsonl", [item._replace(speaker=name) for item in items])
    targets = [item.target for name in ("train", "test") for item in read_manifest(folder / f"{name}.jsonl")]
    return folder, sorted(set("".join(targets)))


def words(recipe, case: Case, tag: str) -> list[str]:
    """run.sh's words for a case, its model made."""
    corpus, characters = lay_out(recipe, OFTEN if case.learns else 1)
    model = recipe.root / "data" / f"{tag}_base"
    if not model.exists():
        case.make_model(model, characters)
    found = ["--corpus", str(corpus), "--split", "own", "--data", f"{corpus}_dataset", "--conf", case.conf]
    return [*found, "--base", str(model), "--tag", tag, "--ngpu", "0", *case.overrides]


def cer_on_training_clips(recipe, tag: str) -> float:
    """CER of exp/<tag>/model on the clips that it was trained on: whether it can learn at all."""
    manifest = recipe.root / f"data/dozen_{OFTEN}_dataset/val.jsonl"  # the same clips, each once
    out = recipe.root / "exp" / tag / "by_heart"
    command = (sys.executable, "-m", "asr.decode", "--model", str(recipe.root / "exp" / tag / "model"))
    done = recipe.run(*command[1:], "--manifest", str(manifest), "--out", str(out), "--ngpu", "0", command=command[:1])
    assert done.returncode == 0, done.stdout + done.stderr
    heard = read_text(out / "hyp.txt")
    pairs = [(item.target, heard[item.key]) for item in read_manifest(manifest)]
    for reference, hypothesis in pairs:
        print(reference, hypothesis, sep="\t", file=sys.stderr)
    return ErrorCounts.total(item.counts for item in align_all(pairs)).cer


def main() -> None:
    """Run a case and say what came of it."""
    from tests.recipe import Recipe

    module, _, name = sys.argv[1].partition(".")
    case: Case = getattr(importlib.import_module(f"tests.{module}"), name or "CASE")
    recipe = Recipe(Path(os.environ.get("DOZEN_DIR") or tempfile.mkdtemp()))
    done = recipe.run(*words(recipe, case, "dozen"), *sys.argv[2:])
    print(done.stdout[-3000:], done.stderr[-3000:], recipe.root)
    report = recipe.root / "exp/dozen/score/score.json"
    if done.returncode == 0 and report.exists():
        score = json.loads(report.read_text(encoding="utf-8"))
        print("unseen:", {name: item["cer"] for name, item in score["systems"].items()})
        print(f"CER on the training clips: {cer_on_training_clips(recipe, 'dozen'):.1%}")


if __name__ == "__main__":
    main()
