"""nbest.jsonl: what a model held possible, one JSON object an utterance; private, for it holds texts.

    {"key", "kind", "greedy", "steps": [[[token, log-probability], …], …]}      positions and ctc
    {"key", "kind", "greedy", "texts": [[text, log-probability], …]}            hypotheses

positions (Paraformer): a step is a position. ctc: a step is a frame, the token "" is the blank; frames that are blank
beyond doubt may have been merged into one. hypotheses (attention, Fun-ASR-Nano): the beam. A token is what stands in
the text, of any length; "" writes nothing. Log-probabilities are natural and finite. ``greedy`` is hyp.txt's text,
whatever the method.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open

Candidates: TypeAlias = "tuple[tuple[str, float], ...]"  # (token or text, natural log-probability)
POSITIONS, CTC, HYPOTHESES = "positions", "ctc", "hypotheses"
_DIGITS = 4  # of a log-probability


@dataclass(frozen=True, slots=True)
class NBest:
    """An utterance's candidates: ``steps`` where the kind has positions or frames, else ``texts``."""

    key: str
    kind: str
    greedy: str
    steps: tuple[Candidates, ...] = ()
    texts: Candidates = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the line's object."""
        head = {"key": self.key, "kind": self.kind, "greedy": self.greedy}
        if self.kind == HYPOTHESES:
            return {**head, "texts": _rounded(self.texts)}
        return {**head, "steps": [_rounded(step) for step in self.steps]}


def _rounded(candidates: Candidates) -> list[list[Any]]:
    return [[token, round(log_probability, _DIGITS)] for token, log_probability in candidates]


def _fault(value: Any) -> str | None:
    """Return what is wrong with a line's object."""
    if not isinstance(value, dict):
        return "a line must be a JSON object"
    for name in ("key", "kind", "greedy"):
        if not isinstance(value.get(name), str):
            return f"field '{name}' is missing or no text"
    if value["kind"] not in (POSITIONS, CTC, HYPOTHESES):
        return f"kind {value['kind']!r}, not {POSITIONS}, {CTC} or {HYPOTHESES}"
    name = "texts" if value["kind"] == HYPOTHESES else "steps"
    found = value.get(name)
    steps: Any = [found] if name == "texts" else found
    if not isinstance(steps, list) or not all(map(_is_step, steps)):
        return f"field '{name}' is not lists of [text, log-probability], finite and at least one in each"
    if name == "steps" and any(number > 0 for step in steps for _, number in step):
        return "field 'steps' has a log-probability above 0"
    return None


def _is_step(step: Any) -> bool:
    return isinstance(step, list) and bool(step) and all(map(_is_candidate, step))


def _is_candidate(candidate: Any) -> bool:
    if not isinstance(candidate, list) or len(candidate) != 2:
        return False
    text, number = candidate
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return isinstance(text, str) and is_number and math.isfinite(number)


def parse(value: Any) -> NBest:
    """Return the utterance of a line's object. ValueError where it is not as ``write_nbest`` writes them."""
    if fault := _fault(value):
        raise ValueError(fault)
    steps = tuple(tuple((text, float(number)) for text, number in step) for step in value.get("steps", ()))
    texts = tuple((text, float(number)) for text, number in value.get("texts", ()))
    return NBest(value["key"], value["kind"], value["greedy"], steps, texts)


def _parse_line(line: bytes, where: str) -> NBest:
    try:
        return parse(json.loads(line))
    except UnicodeDecodeError:
        raise RecipeError(f"{where}: not UTF-8; decode again") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{where}: not JSON ({error.msg}); decode again") from None
    except ValueError as error:
        raise RecipeError(f"{where}: {error}; decode again") from None


def read_nbest(path: str | os.PathLike[str]) -> list[NBest]:
    """Return the utterances of nbest.jsonl, in its order. RecipeError for a bad line and a duplicate key."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; decode again, which writes it")
    items: dict[str, NBest] = {}
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            item = _parse_line(line, at(path, number))
            if item.key in items:
                raise RecipeError(f"{at(path, number)}: duplicate key {item.key}; decode again")
            items[item.key] = item
    return list(items.values())


def write_nbest(path: str | os.PathLike[str], items: Iterable[NBest]) -> None:
    """Write nbest.jsonl as a whole or not at all. ValueError for what ``read_nbest`` would refuse."""
    with atomic_open(path) as stream:
        for item in items:
            value = item.as_dict()
            if fault := _fault(value):
                raise ValueError(f"{item.key}: {fault}")
            stream.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
