"""Human listeners as systems: what people wrote down of some test clips (asr.listening_test), scored as hypotheses are.

A listener is scored on the clips that he or she answered, and the models beside on the same clips. "I cannot understand
anything" is an empty hypothesis: all deletions.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, corpus_digest
from asr.core.names import UNKNOWN_SPEAKER
from asr.scoring.cer import align
from asr.scoring.normalize import scoring_form
from asr.scoring.score import Request, Scored, System, count_of, score_text
from asr.scoring.speaker_interval import interval, rate, speaker_sums

SCHEMA_VERSION = 1
FIELDS = ("schema_version", "manifest", "listener", "answers")
ANSWER = {"key": str, "text": str, "replays": int, "cannot_understand": bool}


@dataclass(frozen=True)
class Listener:
    """One listener's answers by key."""

    code: str
    answers: Mapping[str, Mapping[str, Any]]


def read_listeners(paths: Sequence[Path], references: Sequence[Utterance]) -> list[Listener]:
    """Return the listeners of listening-CODE.json files, by code. RecipeError for a file that is none, that is of
    another test set, and for two files of one listener."""
    digest, keys = corpus_digest(references), {utterance.key for utterance in references}
    listeners: dict[str, Listener] = {}
    for path in paths:
        listener = _read(path, digest, keys)
        if listener.code in listeners:
            raise RecipeError(f"{path}: listener {listener.code} has another file; give the one that is to count")
        listeners[listener.code] = listener
    return [listeners[code] for code in sorted(listeners)]


def _read(path: Path, digest: str, keys: set[str]) -> Listener:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, manifest, code, answers = (
            content[name] for name in ("schema_version", "manifest", "listener", "answers")
        )
        wrong = [one for one in answers if not all(isinstance(one[name], kind) for name, kind in ANSWER.items())]
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RecipeError(f"{path}: not a file that the listening test has saved (listening-CODE.json)") from None
    if version != SCHEMA_VERSION or wrong or not isinstance(code, str):
        raise RecipeError(
            f"{path}: schema_version {version}, or its answers, are not this version's; make the test anew"
        )
    other = [one["key"] for one in answers if one["key"] not in keys]
    if manifest != digest or other:
        which = f" (it has {other[0]})" if other else ""
        raise RecipeError(
            f"{path}: is of another test set{which}; give the --ref that the listening test was made from"
        )
    if not answers:
        raise RecipeError(f"{path}: holds no answer")
    by_key = {one["key"]: one for one in answers}
    if len(by_key) < len(answers):
        raise RecipeError(f"{path}: a clip is answered twice")
    return Listener(code, by_key)


def score_listeners(
    listeners: Sequence[Listener], references: Sequence[Utterance], systems: Mapping[str, System], request: Request
) -> dict[str, Any]:
    """Return ``listeners`` and ``listeners_together`` of score.json (docs/scores.md, Human listeners)."""
    by_key = {utterance.key: utterance for utterance in references}
    models = {name: {one.utterance.key: one for one in scored} for name, scored in systems.items()}
    texts = {
        listener.code: [
            score_text(by_key[key], one["text"], None, request.without) for key, one in sorted(listener.answers.items())
        ]
        for listener in listeners
    }
    rows = {}
    for listener in listeners:
        answers = listener.answers.values()
        rows[listener.code] = {
            **_row(texts[listener.code], models),
            "n_cannot_understand": sum(one["cannot_understand"] for one in answers),
            "mean_replays": sum(one["replays"] for one in answers) / len(answers),
        }
    together = _row([one for scored in texts.values() for one in scored], models)
    return {"listeners": rows, "listeners_together": {**together, **_agreement(listeners, request)}}


def _row(scored: System, models: Mapping[str, Mapping[str, Scored]]) -> dict[str, Any]:
    """Return the count and the interval over speakers of some answers, and of each model on the same clips."""
    keys = dict.fromkeys(one.utterance.key for one in scored)
    rows = {name: _count([of_model[key] for key in keys]) for name, of_model in models.items()}
    return {**_count(scored), "n_clips": len(keys), "systems": rows}


def _count(scored: System) -> dict[str, Any]:
    speakers = np.array([one.utterance.speaker for one in scored])
    pairs = np.array([(one.counts.ref_len, one.counts.errors) for one in scored])
    known = UNKNOWN_SPEAKER not in speakers
    return {**count_of(scored), "ci95": interval(speaker_sums(pairs, speakers), rate(0), 0.0) if known else None}


def _agreement(listeners: Sequence[Listener], request: Request) -> dict[str, Any]:
    """Return how alike listeners write the clips that two of them answered: the share of clips that are written alike,
    and the edits from one text to the other for each of their characters."""
    same = clips = edits = characters = 0
    for one, two in itertools.combinations(listeners, 2):
        for key in sorted(one.answers.keys() & two.answers.keys()):
            texts = [scoring_form(listener.answers[key]["text"], request.without) for listener in (one, two)]
            clips, same = clips + 1, same + (texts[0] == texts[1])
            edits += align(*texts).counts.errors
            characters += sum(map(len, texts)) / 2
    return {
        "pairs_of_answers": clips,
        "written_alike": same / clips if clips else None,
        "edits_between_listeners": edits / characters if characters else None,
    }
