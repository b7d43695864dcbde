"""What a pretrained base buys on real recordings: Whisper tuned in several ways, and the bundled Paraformer beside it.

    python benchmarks/real_base.py --whisper whisper-base --corpus DIR [--only full] [--seeds 1,2,3] [--into DIR]

Each line is ``bash run.sh`` in one fresh copy of the repository, by two splits: ``words``, speakers and words disjoint
(benchmarks/real_base_split.yaml), and ``speakers``, the seeded one, a closed vocabulary: every word of the test set
is in training. The untouched base is each run's own baseline. A run that is there already is taken as it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402 - found through the line above
from tests.recipe import Recipe  # noqa: E402

CPU = ("--conf", "conf/whisper_base_cpu.yaml")
SETTINGS: dict[str, tuple[str, ...]] = {
    "full": CPU,
    "encoder": (*CPU, "++train_only=encoder"),
    "adapters": (
        *CPU,
        *("++lora_conf.rank=16", "++lora_conf.alpha=32", "++optim_conf.lr=0.0005"),
    ),
    "paraformer": ("--conf", "conf/mini.yaml", "++cpu_processes=1"),
}
SPLITS = {"words": ("--split", "benchmarks/real_base_split.yaml"), "speakers": ("--split", "seeded")}
HEADER = ("split", "setting", "seed", "system", "CER %", "95 % over speakers", "sub", "del", "ins", "loops")


def rows_of(folder: Path, first: list[str]) -> list[list[str]]:
    """A line for the base and one for the tuned model, and what they were tested on."""
    score = json.loads((folder / "score/score.json").read_text(encoding="utf-8"))
    rows = []
    for name, found in score["systems"].items():
        record = json.loads((folder / name / "decode.json").read_text(encoding="utf-8"))
        interval = "n/a" if found["ci95"] is None else "{:.1f} to {:.1f}".format(*(100 * end for end in found["ci95"]))
        errors = [str(found[key]) for key in ("sub", "del", "ins")]
        loops = str(record["counts"].get("looped", "n/a"))
        rows.append([*first, name, f"{100 * found['cer']:.1f}", interval, *errors, loops])
    return rows


def run(recipe: Recipe, tag: str, words: list[str]) -> Path | None:
    """The run's folder; None where it failed."""
    folder = recipe.root / "exp" / tag
    if not (folder / "score/score.json").is_file():
        command, log = ["bash", "run.sh", "--tag", tag, *words], recipe.root / f"{tag}.log"
        with open(log, "w", encoding="utf-8") as stream:  # recipe.run gives up after a test's patience
            done = subprocess.run(command, cwd=recipe.root, env=recipe.environment, stdout=stream, stderr=stream)
        if done.returncode:
            print(f"{tag} failed: {log}", file=sys.stderr)
            return None
    return folder


def main() -> None:
    """Print a row a system, as its run ends, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whisper", required=True, type=Path, help="whisper-base in any form, tokenizer.json beside")
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--only", default=",".join(SETTINGS), help="settings")
    parser.add_argument("--splits", default=",".join(SPLITS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--into", type=Path, help="folder of the copy, kept; a temporary one unless given")
    arguments, more = parser.parse_known_args()
    folder: Any = arguments.into or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    recipe, rows = Recipe(folder), []
    for split in arguments.splits.split(","):
        for name in arguments.only.split(","):
            base = "mini/base" if name == "paraformer" else str(arguments.whisper.absolute())
            given = ["--corpus", str(arguments.corpus.absolute()), "--ngpu", "0", "--base", base, *SPLITS[split]]
            for seed in arguments.seeds.split(","):
                exp = run(recipe, f"{split}_{name}_s{seed}", [*given, *SETTINGS[name], f"++seed={seed}", *more])
                for row in rows_of(exp, [split, name, seed]) if exp else [[split, name, seed, "failed", *[""] * 6]]:
                    rows.append(row)
                    print(row, flush=True)
    print(markdown_table(HEADER, rows))


if __name__ == "__main__":
    main()
