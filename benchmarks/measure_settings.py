"""What a change of settings does to the CER: the same training with one thing changed, run after run.

    python benchmarks/measure_settings.py [--only NAME,NAME] [--seeds 1,2] [--into DIR] [run.sh's options …]

Each line is ``bash run.sh`` in one fresh copy of the repository, on the mini corpus unless options name another, with
a tag of its own; a run that is there already is taken as it is. The interval is that of the CER over speakers and
utterances (scores.md); it does not hold the chance of the training itself, for which there are seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402 - found through the lines above
from tests.recipe import Recipe  # noqa: E402

# Against conf/mini.yaml: batch_size 2000 on each of two processes, lr 0.001, warmup_steps 60.
RULE = ("++dataset_conf.batch_size=8000", "++optim_conf.lr=0.002", "++scheduler_conf.warmup_steps=15")
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "speeds 0.9, 1.0, 1.1": ("++dataset_conf.speed_perturb=[0.9,1.0,1.1]",),
    "4 x batch, lr x 2, warm-up / 4": RULE,
    "4 x batch alone": RULE[:1],
    "FunASR's training step": ("++train_conf.quick_step=false",),
    "FunASR's sampler": ("++dataset_conf.batch_sampler=BatchSampler",),
    "ranked by FunASR's accuracy": ("++train_conf.avg_keep_nbest_models_type=acc",),
}


def run(recipe: Recipe, tag: str, words: list[str]) -> dict | None:
    """The tuned system's score of a run, and how many steps it took; None where it failed."""
    score = recipe.root / "exp" / tag / "score" / "score.json"
    if not score.is_file():
        done = recipe.run("--tag", tag, *words)
        if done.returncode:
            print(done.stdout[-800:], done.stderr[-400:], file=sys.stderr)
            return None
    found = json.loads(score.read_text(encoding="utf-8"))["systems"]["tuned"]
    records = (recipe.root / "exp" / tag / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    values = [item["cer"] for item in map(json.loads, records) if item.get("cer") is not None]
    return {**found, "best_val": min(values) if values else None}


def main() -> None:
    """Print a row a run, as it ends, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="0,1,2,3,4,5,6", help="numbers of the variants")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--into", type=Path, help="folder of the copy, kept; a temporary one unless given")
    arguments, words = parser.parse_known_args()
    folder = arguments.into or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(folder)
    rows = []
    names = list(VARIANTS)
    for name in [names[int(number)] for number in arguments.only.split(",")]:
        for seed in arguments.seeds.split(","):
            tag = f"v{names.index(name)}s{seed}"
            found = run(recipe, tag, [*words, f"++seed={seed}", *VARIANTS[name]])
            if found is None:
                rows.append((name, seed, "failed", "", ""))
                continue
            interval = "n/a" if found["ci95"] is None else "{:.1%} to {:.1%}".format(*found["ci95"])
            best = "" if found["best_val"] is None else f"{found['best_val']:.2%}"
            rows.append((name, seed, f"{found['cer']:.2%}", interval, best))
            print(rows[-1], flush=True)
    print(markdown_table(("setting", "seed", "CER, test", "95 % interval", "best CER, validation"), rows))


if __name__ == "__main__":
    main()
