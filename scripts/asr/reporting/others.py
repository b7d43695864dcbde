"""Other runs in a run's error browser: what their tuned models made of the same utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.run_folder import RunFolder
from asr.reporting.rows import Row
from asr.scoring.files import read_score, read_table


def read_others(exp: Path, score: Mapping[str, Any], others: Sequence[Path]) -> dict[str, dict[str, Row]]:
    """Return per_utterance.tsv of each of ``others`` by the name of its folder and then by key.

    RecipeError where one was scored on another test set or by other rules than ``exp``, or is named twice.
    """
    tables: dict[str, dict[str, Row]] = {}
    keys = {row["key"] for row in read_table(RunFolder(exp).score / "per_utterance.tsv")} if others else set()
    for other in others:
        name, theirs = other.resolve().name, read_score(RunFolder(other).score)
        if name in tables or name in score["systems"] or other.resolve() == exp.resolve():
            raise RecipeError(f"--with {other}: {name} is already shown; name each run once, and not the run itself")
        if "tuned" not in theirs["systems"]:
            raise RecipeError(f"--with {other}: has no tuned model; scored are {', '.join(theirs['systems'])}")
        for what, ours, its in (
            ("test set", score["reference"]["digest"], theirs["reference"]["digest"]),
            ("normaliser", score["normalizer"], theirs["normalizer"]),
        ):
            if ours != its:
                raise RecipeError(
                    f"--with {other}: another {what} than {exp} ({its[:12]}, not {ours[:12]}); leave it out"
                )
        path = RunFolder(other).score / "per_utterance.tsv"
        tables[name] = {row["key"]: row for row in read_table(path)}
        if lacking := keys - tables[name].keys():
            raise RecipeError(
                f"{path}: lacks {len(lacking)} utterances of {exp}, such as {min(lacking)}; score it again"
            )
    return tables
