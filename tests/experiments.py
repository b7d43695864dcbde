"""An experiment on a small corpus with a stand-in for run.sh, for the tests of the driver and of what it publishes."""

from __future__ import annotations

import json
import shlex
import shutil

import yaml

from asr.config.load import resolve
from asr.config.stage_files import write_stage_files
from asr.core.manifest import corpus_digest, read_manifest
from asr.core.run_folder import RunFolder
from asr.experiments.plan import plan, read
from tests import cdsd_tree
from tests.recipe import Recipe

VALUES = {
    "name": "some",
    "folds": 3,
    "fold_by": "voice_group",
    "seeds": [1, 7],
    "settings": {"plain": None, "slow": {"optim_conf": {"lr": 1e-05}}, "short": ["++train_conf.max_epoch=1"]},
}
# What run.sh does, so far as an experiment sees it: stage 1 is the real one, the base says nothing and the tuned model
# says all but the first character, and with seed 7 nothing of speaker 01 either. A line in ``calls`` for each run.
STANDIN = """#!/usr/bin/env bash
set -e
cd "$(dirname "$0")"
. ./path.sh
line="$*" corpus= split= data= tag= seed= last=5
while (($#)); do
  case $1 in
    --stop-stage) last=$2 && shift 2 ;;
    --*) printf -v "${1#--}" %s "$2" && shift 2 ;;
    ++seed=*) seed=${1#*=} && shift ;;
    *) shift ;;
  esac
done
echo "$line" >>calls
if [[ -f fails && $tag == *"$(cat fails)" ]]; then echo "error: not enough of it" && exit 1; fi
if [[ -f waits ]]; then
  trap 'echo "$tag stopped" >>calls; exit 130' TERM
  echo $$ >waiting
  while :; do sleep 0.1; done
fi
if ((last == 1)); then
  [[ ! -f $data/split.yaml ]] || exit 0 # up to date
  exec python local/prepare_1h_dataset.py --corpus "$corpus" --split "$split" --out "$data"
fi
python - "$data" "exp/$tag" "$seed" "$line" <<'END'
from tests.experiments import finish
import json, sys
from pathlib import Path
data, exp, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
items = [json.loads(line) for line in open(data / "test.jsonl", encoding="utf-8")]
for name in ("baseline", "tuned", "score"):
    (exp / name).mkdir(parents=True, exist_ok=True)
silent = lambda item: seed == "7" and item["speaker"] == "01"
said = {"baseline": lambda item: "", "tuned": lambda item: "" if silent(item) else item["target"][1:]}
for name, of in said.items():
    lines = "".join(f"{item['key']} {of(item)}\\n" for item in items)
    (exp / name / "hyp.txt").write_text(lines, encoding="utf-8")
finish(exp, data, sys.argv[4].split())
END
"""


def written(tmp_path, **changes):
    path = tmp_path / "some.yaml"
    path.write_text(yaml.safe_dump({**VALUES, **changes}, sort_keys=False), encoding="utf-8")
    return path


def planned(path):
    return plan(*read(path), path)


def finish(exp, data, words):
    """Write what else of a run is read: its command, its configuration and stamp, what it trained on, and the score."""
    folder = RunFolder(exp)
    words = words[:-2] if words[-2] == "--stage" else words
    overrides = [word for word in words if word.startswith("++")]
    write_stage_files(resolve(words[words.index("--conf") + 1], overrides), folder.conf)
    folder.command.write_text(shlex.join(["bash", "run.sh", *words]))
    for path in (folder.manifests, folder.stamps, folder.log, folder.score):
        path.mkdir(exist_ok=True, parents=True)
    shutil.copyfile(data / "train.jsonl", folder.manifests / "train.jsonl")
    (folder.stamps / "stage5").touch()
    for stage in range(6):
        folder.stage_seconds(stage).write_text(f"{stage}\n{stage}\n")  # begun twice
    folder.ranking.write_text('{"epochs": 3}')
    reference = {"digest": corpus_digest(read_manifest(data / "test.jsonl"))}
    score = {"schema_version": 3, "normalizer": "zh-3", "reference": reference, "reference_lines": []}
    (folder.score / "score.json").write_text(json.dumps(score))


def made(tmp_path):
    """Return a copy of the repository with a stand-in for run.sh, and a corpus of six speakers in three families."""
    recipe = Recipe(tmp_path / "recipe")
    (recipe.root / "run.sh").write_text(STANDIN)
    corpus = cdsd_tree.small(tmp_path / "corpus")
    rows = "".join(f"0{n}\t{family}\n" for n, family in zip(range(1, 7), "aabbcc", strict=True))
    (corpus / "speakers.tsv").write_text("speaker\tfamily\n" + rows)
    conf = str(recipe.root / "conf/mini.yaml")
    settings: dict = {"plain": {"report_conf": {"publish_columns": ["family"]}}}
    settings["slow"] = settings["plain"] | {"optim_conf": {"lr": 0.0005}}
    written(tmp_path, corpus=str(corpus), conf=conf, fold_by="family", settings=settings, jobs=2)
    recipe.file = tmp_path / "some.yaml"
    return recipe


def run(experiment, *options):
    """Run the experiment."""
    return experiment.run(str(experiment.file), *options, command=("bash", "scripts/experiment.sh"))
