"""Settings x seeds x folds over run.sh, and one score of all folds.

    bash scripts/experiment.sh FILE.yaml

Each run is an ordinary tag, NAME-<setting>-s<seed>-f<fold>. What is done is not done again: run.sh's stamps say so. A
run that fails is named, and the others go on. Where all runs of a setting are whole, exp/NAME/<setting>/score has them
pooled (asr.experiments.pooled); mini/experiment.yaml explains the keys.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import Field

from asr.config import load
from asr.config.schema import Count, CountOrZero, Recipe, Section
from asr.core.errors import RecipeError, at
from asr.core.locks import alone
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder
from asr.experiments import pooled
from asr.reporting.write import write_report
from asr.system import machine

ROOT = Path(__file__).resolve().parents[3]


class Experiment(Section):
    """The keys of an experiment's YAML; mini/experiment.yaml explains them."""

    name: str
    folds: Annotated[int, Field(ge=3)]  # one tests, one validates, one trains
    seeds: list[CountOrZero]
    settings: dict[str, Any]
    corpus: str | None = None
    part: str | None = None
    speakers: str | None = None
    conf: str | None = None
    base: str | None = None
    fold_by: str | None = None
    jobs: Count | None = None


REQUIRED = ("name", "folds", "seeds", "settings")
PASSED_ON = ("corpus", "part", "speakers", "conf", "base")  # run.sh's options of the same name
PLAIN = re.compile(r"\w[\w.+-]*")  # a tag, and so the name of a folder


@dataclass(frozen=True)
class Run:
    """One run.sh: its tag, the options that make it, and what the conf says of it."""

    tag: str
    setting: str
    seed: int
    fold: int
    data: Path
    words: tuple[str, ...]
    on_gpu: bool
    columns: tuple[str, ...]  # of the speaker table, that the conf publishes

    def log(self, name: str) -> Path:
        """Where what run.sh says is kept."""
        return Path("exp") / name / self.setting / "log" / f"s{self.seed}-f{self.fold}.log"


def read(path: Path) -> tuple[dict[str, Any], load.Lines]:
    """The experiment of a YAML, and the line of each key. RecipeError with file and line for what is wrong in it."""
    values, lines = load.load_yaml(path)

    def where(key: tuple[str, ...]) -> str:
        return at(path, lines.get(key))

    if lacking := next((key for key in REQUIRED if not values.get(key)), None):
        raise RecipeError(f"{where((lacking,))}: '{lacking}' is missing; an experiment has {', '.join(REQUIRED)}")
    values = load.validate(Experiment, values, path, lines, {}).model_dump(exclude_none=True)
    for key, name in ((("name",), values["name"]), *((("settings", name), name) for name in values["settings"])):
        if not PLAIN.fullmatch(name):
            raise RecipeError(f"{where(key)}: '{name}' is part of a tag: letters, digits, _ . + -, no other in front")
    if len(set(values["seeds"])) < len(values["seeds"]):
        raise RecipeError(f"{where(('seeds',))}: 'seeds' has one twice")
    if "corpus" in values:
        values["corpus"] = os.path.expandvars(values["corpus"])
    return values, lines


def plan(values: dict[str, Any], lines: load.Lines, path: Path) -> list[Run]:
    """Every run, first seed and first fold of each setting first. RecipeError where a setting cannot be trained by."""
    if not Path(values.get("corpus", ".")).exists():
        raise RecipeError(f"{at(path, lines[('corpus',)])}: no such corpus: {values['corpus']}")
    runs, conf = [], values.get("conf") or ("conf/finetune_3090.yaml" if "corpus" in values else "conf/mini.yaml")
    for setting, changes in values["settings"].items():
        where = f"{at(path, lines.get(('settings', setting)))}: setting {setting}"
        words = _overrides(changes, where)
        try:
            recipe = load.read_recipe(conf, words, values.get("base"))
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
        if any(load.parse_override(word)[0] == ("seed",) for word in words):
            raise RecipeError(f"{where}: the seed is not a setting's; give it in 'seeds'")
        if recipe.ngpu > 1:
            raise RecipeError(f"{where}: ngpu is {recipe.ngpu}; a run of an experiment has one GPU, or 0 for the CPU")
        for seed in values["seeds"]:
            runs += [_run(values, setting, seed, fold, words, recipe) for fold in range(1, values["folds"] + 1)]
    return sorted(runs, key=lambda run: (values["seeds"].index(run.seed), run.fold))


def _overrides(changes: Any, where: str) -> list[str]:
    """A setting's changes as run.sh takes them."""
    if isinstance(changes, list) and all(isinstance(word, str) for word in changes):
        return changes
    if changes is None or isinstance(changes, dict):
        flat = load.flatten(changes or {})
        return [f"++{key}={json.dumps(value, ensure_ascii=False)}" for key, value in flat.items()]
    raise RecipeError(f"{where}: must be sections and keys of the conf, or a list of ++section.key=value words")


def _run(values: dict, setting: str, seed: int, fold: int, words: Sequence[str], recipe: Recipe) -> Run:
    tag, data = f"{values['name']}-{setting}-s{seed}-f{fold}", Path(f"data/{values['name']}-{setting}-f{fold}_dataset")
    split = f"folds:{fold}/{values['folds']}" + (f"@{values['fold_by']}" if "fold_by" in values else "")
    options = [word for key in PASSED_ON if key in values for word in (f"--{key}", str(values[key]))]
    options += ["--split", split, "--data", str(data), "--tag", tag, *words, f"++seed={seed}"]
    columns = tuple(recipe.report_conf.publish_columns)
    return Run(tag, setting, seed, fold, data, tuple(options), recipe.ngpu > 0, columns)


def places(runs: Sequence[Run], jobs: int | None) -> list[dict[str, str]]:
    """What the environment of each run that works at a time has besides: a GPU each, or nothing on the CPU."""
    if not any(run.on_gpu for run in runs):
        return [{} for _ in range(jobs or 1)]
    found, why = machine.query_gpus()
    if not found:
        raise RecipeError(f"no GPU: {why}; ++ngpu=0 in a setting, or ngpu: 0 in the conf, trains on the CPU")
    return [{"CUDA_VISIBLE_DEVICES": gpu.uuid or str(gpu.index)} for gpu in found[:jobs]]


class Driver:
    """As many runs at a time as there are places; stages 0 and 1, which share files, of one at a time."""

    def __init__(self, name: str, runs: Sequence[Run], free: list[dict[str, str]], environment: dict[str, str]) -> None:
        self.name, self.waiting, self.free, self.environment = name, list(runs), free, environment
        self.total, self.working, self.failed = len(runs), {}, []

    def work(self) -> list[Run]:
        """Do all runs; those that failed. Where this is stopped, run.sh is, and saves first."""
        try:
            while self.waiting or self.working:
                if self.waiting and self.free:
                    self._begin(self.waiting.pop(0), self.free.pop(0))
                else:
                    time.sleep(0.2)
                self._collect()
        finally:
            for child in self.working:
                child.terminate()
            for child in self.working:
                child.wait()
        return self.failed

    def _begin(self, run: Run, place: dict[str, str]) -> None:
        print(f"[{self.total - len(self.waiting)}/{self.total}] {run.tag}", flush=True)
        log = run.log(self.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as stream:
            child = self._start(run, place, stream, "--stop-stage", "1")
            if child.wait() == 0:
                del self.working[child]
                self._start(run, place, stream, "--stage", "2")

    def _start(self, run: Run, place: dict[str, str], stream: IO, *stages: str) -> subprocess.Popen:
        command = ["bash", str(ROOT / "run.sh"), *run.words, *stages]
        more = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT}
        child = subprocess.Popen(command, env={**self.environment, **place}, **more)
        self.working[child] = (run, place)
        return child

    def _collect(self) -> None:
        for child in [child for child in self.working if child.poll() is not None]:
            run, place = self.working.pop(child)
            self.free.append(place)
            if child.returncode:
                log = run.log(self.name)
                said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line]
                last = next((line for line in reversed(said) if line.startswith("error: ")), said[-1] if said else "")
                print(f"failed: {run.tag}: {last.removeprefix('error: ')} ({log})", flush=True)
                self.failed.append(run)


def main() -> None:
    """Do the experiment that the command line names. RecipeError, at the end, that names the runs that failed."""
    parser = argparse.ArgumentParser(prog="bash scripts/experiment.sh", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the experiment; see mini/experiment.yaml")
    path = parser.parse_args().file
    values, lines = read(path)
    again = f"bash scripts/experiment.sh {shlex.quote(str(path.resolve()))}"
    os.chdir(ROOT)  # paths in the YAML are run.sh's
    runs, name = plan(values, lines, path), values["name"]
    folder = Path("exp", name)
    with alone(folder):
        claim(folder, "experiment")
        environment = dict(os.environ) if "corpus" in values else {**os.environ, "CDSD_ROOT": ""}
        failed = Driver(name, runs, places(runs, values.get("jobs")), environment).work()
        whole = [setting for setting in values["settings"] if setting not in {run.setting for run in failed}]
        for setting in values["settings"]:
            out = folder / setting / "score"
            for earlier in (out / "score.json", RunFolder(out.parent).results):  # what they are pooled of may be redone
                earlier.unlink(missing_ok=True)
            if setting in whole:
                result = pooled.write(out, [run for run in runs if run.setting == setting], values)
                write_report(out.parent)
                print(f"{out}: {pooled.line(result)}; see {out.parent}/RESULTS.md", flush=True)
    if len(whole) > 1:
        print(f"to compare: python local/score.py --compare {shlex.join(str(folder / name) for name in whole)}")
    if failed:
        tags = ", ".join(run.tag for run in failed)
        raise RecipeError(
            f"{len(failed)} of {len(runs)} runs failed, and nothing is pooled of their settings: {tags}; again: {again}"
        )
