"""What an experiment's YAML may hold, and the runs that it asks for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from asr.config import load
from asr.config.fields import Count, CountOrZero, Section
from asr.core.digests import sha256_text
from asr.core.errors import RecipeError, at

PLAIN = re.compile(r"\w[\w.+-]*")  # a tag, and so the name of a folder
PASSED_ON = ("corpus", "part", "speakers", "conf", "base")  # run.sh's options of the same name


class Experiment(Section):
    """The keys of an experiment's YAML; mini/experiment.yaml explains them."""

    name: str
    folds: Annotated[int, Field(ge=3)]  # one tests, one validates, one trains
    seeds: Annotated[list[CountOrZero], Field(min_length=1)]
    settings: Annotated[dict[str, Any], Field(min_length=1)]
    corpus: str | None = None
    part: str | None = None
    speakers: str | None = None
    conf: str | None = None
    base: str | None = None
    fold_by: str | None = None
    jobs: Count | None = None
    results: str | None = None
    more_seeds: dict[str, list[CountOrZero]] = Field(default_factory=dict)
    marked: list[str] = Field(default_factory=list)
    simulated: bool = False

    @property
    def published(self) -> Path:
        """Return the folder of the runs' results, which is committed."""
        return Path(self.results or f"docs/experiments/{self.name}")


@dataclass(frozen=True, eq=False)
class Run:
    """One run.sh: its tag, the options that make it, and what the conf says of it."""

    tag: str
    setting: str
    seed: int
    data: Path
    log: Path  # what run.sh says
    words: tuple[str, ...]
    on_gpu: bool
    columns: tuple[str, ...]  # of the speaker table, that the conf publishes
    fold: int
    result: Path  # what is published of it
    digest: str  # of all that was asked for: the conf's values and the setting's, part, base, split and seed
    conf: Mapping[str, Any]  # as it is resolved, defaults included


def read(path: Path) -> tuple[Experiment, load.Places]:
    """Return the experiment of a YAML, and the line of each key. RecipeError with the line of what is wrong."""
    values, places = load.load_yaml(path)
    experiment = load.validate(Experiment, values, path, places)
    names = {("name",): experiment.name} | {("settings", name): name for name in experiment.settings}
    for key, name in names.items():
        if not PLAIN.fullmatch(name):
            where = at(path, places.get(key))
            raise RecipeError(f"{where}: '{name}' is part of a tag: letters, digits, _ . + -, no other in front")
    if len(set(experiment.seeds)) < len(experiment.seeds):
        raise RecipeError(f"{at(path, places.get(('seeds',)))}: 'seeds' has one twice")
    for key in ("more_seeds", "marked"):
        if strange := [name for name in getattr(experiment, key) if name not in experiment.settings]:
            raise RecipeError(f"{at(path, places.get((key,)))}: '{key}' names '{strange[0]}', which is no setting")
    for name, more in experiment.more_seeds.items():
        if len({*experiment.seeds, *more}) < len(experiment.seeds) + len(more):
            raise RecipeError(f"{at(path, places.get(('more_seeds', name)))}: '{name}' has a seed twice")
    if experiment.corpus:
        experiment.corpus = os.path.expandvars(experiment.corpus)
    return experiment, places


def plan(experiment: Experiment, places: load.Places, path: Path, corpus: bool = True) -> list[Run]:
    """Return every run, first seed and first fold of each setting first; without ``corpus`` there need be none.

    RecipeError with the line in ``path`` of a setting that cannot be trained by.
    """
    if corpus and not Path(experiment.corpus or ".").exists():
        raise RecipeError(f"{at(path, places.get(('corpus',)))}: no such corpus: {experiment.corpus}")
    made = {
        setting: _runs(experiment, setting, f"{at(path, places.get(('settings', setting)))}: setting {setting}")
        for setting in experiment.settings
    }
    return [run for together in zip_longest(*made.values()) for run in together if run]


def _runs(experiment: Experiment, setting: str, where: str) -> list[Run]:
    """Return a setting's runs, first seed first."""
    words, conf = _overrides(experiment.settings[setting], where), experiment.conf
    conf = conf or ("conf/finetune_3090.yaml" if experiment.corpus else "conf/mini.yaml")
    try:
        recipe = load.read_recipe(conf, words, experiment.base)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    if any(load.parse_override(word)[0] == ("seed",) for word in words):
        raise RecipeError(f"{where}: the seed is not a setting's; give it in 'seeds'")
    if recipe.ngpu > 1:
        raise RecipeError(f"{where}: ngpu is {recipe.ngpu}; a run of an experiment has one GPU, or 0 for the CPU")
    given = experiment.model_dump(include=set(PASSED_ON), exclude_none=True)
    options = [word for key, value in given.items() for word in (f"--{key}", value)]
    columns, by = tuple(recipe.report_conf.publish_columns), f"@{experiment.fold_by}" if experiment.fold_by else ""
    resolved, values = recipe.model_dump(), load.flatten(load.load_yaml(conf)[0])
    values |= {".".join(key): value for key, value in map(load.parse_override, words)}
    values |= experiment.model_dump(include={"part", "base"}, exclude_none=True)
    runs = []
    for seed in [*experiment.seeds, *experiment.more_seeds.get(setting, [])]:
        for fold in range(1, experiment.folds + 1):
            tag = f"{experiment.name}-{setting}-s{seed}-f{fold}"
            data = Path(f"data/{experiment.name}-{setting}-f{fold}_dataset")
            log = Path("exp", experiment.name, setting, "log", f"s{seed}-f{fold}.log")
            split = f"folds:{fold}/{experiment.folds}{by}"
            placed = ["--split", split, "--data", str(data), "--tag", tag]
            all_words = (*options, *placed, *words, f"++seed={seed}")
            digest = sha256_text(json.dumps({**values, "split": split, "seed": seed}, sort_keys=True))
            result = experiment.published / f"{setting}-s{seed}-f{fold}.json"
            of_conf = (recipe.ngpu > 0, columns, fold, result, digest, {**resolved, "seed": seed})
            runs.append(Run(tag, setting, seed, data, log, all_words, *of_conf))
    return runs


def _overrides(changes: Any, where: str) -> list[str]:
    """Return a setting's changes as run.sh takes them."""
    if isinstance(changes, list) and all(isinstance(word, str) for word in changes):
        return changes
    if changes is None or isinstance(changes, dict):
        flat = load.flatten(changes or {})
        return [f"++{key}={json.dumps(value, ensure_ascii=False)}" for key, value in flat.items()]
    raise RecipeError(f"{where}: must be sections and keys of the conf, or a list of ++section.key=value words")
