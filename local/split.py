"""Which speaker is in which split: from a file, from the corpus itself, the default, or drawn by ratio."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from asr.errors import RecipeError, at
from asr.files import write_text

SPLITS = ("train", "val", "test")
REST = "rest"
DEFAULT_RATIOS = (8.0, 1.0, 1.0)
DEFAULT_SEED = 2024
DEFAULT_FILE = Path(__file__).resolve().parents[1] / "conf" / "split_cdsd_1h.yaml"
_WRITTEN = ("origin", "file", "seed", "ratios")  # what write_split adds, so that its file can be given back


@dataclass(frozen=True)
class Split:
    """Speakers by split, and where that came from: ``file``, ``corpus``, ``default`` or ``seeded``."""

    speakers: Mapping[str, tuple[str, ...]]
    origin: str
    file: str | None = None
    seed: int | None = None
    ratios: tuple[float, ...] | None = None
    expected: Mapping[str, int] = field(default_factory=dict)  # labelled utterances by speaker, where published
    note: str = ""

    def of_speaker(self) -> dict[str, str]:
        """{speaker: split}."""
        return {speaker: split for split in SPLITS for speaker in self.speakers[split]}

    def describe(self) -> str:
        """One phrase for the screen and the statistics."""
        if self.origin == "seeded":
            ratios = ":".join(f"{ratio:g}" for ratio in self.ratios or ())
            note = f"; {self.note}" if self.note else ""
            return f"drawn by speaker, {ratios}, seed {self.seed}{note}"
        words = {"file": "given", "corpus": "the corpus's own", "default": "default for CDSD 1h"}
        return f"{os.path.basename(self.file or '')} ({words[self.origin]})"


class _Document:
    """A YAML mapping with the line of every scalar. All scalars are strings, or 07 would be read as the number 7."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
        except FileNotFoundError:
            raise RecipeError(f"{path}: no such split file") from None
        except UnicodeDecodeError:
            raise RecipeError(f"{path}: not UTF-8; save the split file as UTF-8") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = at(path, mark.line + 1 if mark else None)
            raise RecipeError(f"{where}: not YAML: {getattr(error, 'problem', None) or 'cannot be read'}") from None
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "a split file maps train, val and test to lists of speakers")
        self.fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value in self.fields:
                raise self.error(key, f"'{key.value}' stands here a second time")
            self._known(key)
            self.fields[key.value] = value

    def error(self, node: yaml.Node | None, message: str) -> RecipeError:
        return RecipeError(f"{at(self.path, node.start_mark.line + 1 if node else 1)}: {message}")

    def _known(self, key: yaml.Node) -> None:
        known = (*SPLITS, "expected", *_WRITTEN)
        if key.value not in known:
            near = difflib.get_close_matches(str(key.value), known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(SPLITS)}"
            raise self.error(key, f"unknown key '{key.value}'; {hint}")


def read_split(path: Path, speakers: Collection[str], origin: str = "file") -> Split:
    """Read a split file for a corpus of ``speakers``. Anything wrong in it is a RecipeError naming file and line.

    A speaker that the corpus does not have, one that stands twice, a missing split, and an unknown key are wrong.
    """
    document = _Document(path)
    chosen: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    rest = None
    for name in SPLITS:
        node = document.fields.get(name)
        if node is None:
            raise RecipeError(f"{path}: no '{name}' in it; a split file has train, val and test")
        if isinstance(node, yaml.ScalarNode) and node.value == REST:
            if rest:
                raise document.error(node, f"both {rest} and {name} are '{REST}'; only one of them can be")
            rest = name
            continue
        if not isinstance(node, yaml.SequenceNode):
            raise document.error(node, f"'{name}' must be a list of speakers or {REST}")
        chosen[name] = tuple(_speaker(document, item, name, speakers, seen) for item in node.value)
    if rest:
        chosen[rest] = tuple(sorted(set(speakers) - set(seen)))
    return Split(chosen, origin, str(path), expected=_expected(document))


def _speaker(document: _Document, node: yaml.Node, split: str, speakers: Collection[str], seen: dict[str, str]) -> str:
    speaker = node.value
    if not isinstance(speaker, str):
        raise document.error(node, f"'{split}' must be a plain list of speakers")
    if speaker not in speakers:
        near = difflib.get_close_matches(speaker, sorted(speakers), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise document.error(node, f"the corpus has no speaker {speaker}{hint}")
    if speaker in seen:
        also = f"in {seen[speaker]} too: a speaker can be in one split only" if seen[speaker] != split else "here twice"
        raise document.error(node, f"speaker {speaker} ({split}) is {also}")
    seen[speaker] = split
    return speaker


def _expected(document: _Document) -> dict[str, int]:
    node = document.fields.get("expected")
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise document.error(node, "'expected' maps speakers to their number of utterances")
    expected = {}
    for key, value in node.value:
        if not isinstance(value.value, str) or not value.value.isdecimal():
            raise document.error(key, f"expected utterances of speaker {key.value}: not a whole number")
        expected[key.value] = int(value.value)
    return expected


def missing_from_default(speakers: Collection[str]) -> list[str]:
    """Speakers that CDSD's default split names and the corpus does not have."""
    named = yaml.load(DEFAULT_FILE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return sorted({speaker for name in SPLITS for speaker in named[name]} - set(speakers))


def default_split(speakers: Collection[str]) -> Split | None:
    """The default for CDSD's 1h part, where the corpus has every speaker that it names; else None."""
    return None if missing_from_default(speakers) else read_split(DEFAULT_FILE, speakers, "default")


def seeded_split(
    speakers: Iterable[str], ratios: tuple[float, ...] = DEFAULT_RATIOS, seed: int = DEFAULT_SEED
) -> Split:
    """Draw whole speakers by ratio (train, val, test), at least one into each; at least three speakers are needed.

    Each speaker's place is a hash of the seed and the name, so the order in which speakers are found does not matter.
    """
    ranked = sorted(set(speakers), key=lambda name: (hashlib.sha256(f"{seed}\t{name}".encode()).hexdigest(), name))
    if len(ranked) < len(SPLITS):
        names = ", ".join(sorted(ranked)) or "none"
        raise RecipeError(f"too few speakers for a split by speaker: {len(ranked)} ({names}), at least 3 are needed")
    _, n_val, n_test = (max(1, math.floor(len(ranked) * ratio / sum(ratios) + 0.5)) for ratio in ratios)
    n_test = min(n_test, len(ranked) - 2)
    n_val = min(n_val, len(ranked) - n_test - 1)
    parts = {"test": ranked[:n_test], "val": ranked[n_test : n_test + n_val], "train": ranked[n_test + n_val :]}
    chosen = {name: tuple(sorted(parts[name])) for name in SPLITS}
    return Split(chosen, "seeded", seed=seed, ratios=tuple(ratios))


def write_split(path: str | os.PathLike[str], split: Split, comment: str) -> None:
    """Write the split as used, in the form that --split reads."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines.append(f"origin: {split.origin}")
    if split.file:
        lines.append(f"file: {_quoted([os.path.basename(split.file)])[1:-1]}")
    if split.origin == "seeded":
        lines += [f"seed: {split.seed}", f"ratios: [{', '.join(f'{ratio:g}' for ratio in split.ratios or ())}]"]
    lines += [f"{name}: {_quoted(split.speakers[name])}" for name in SPLITS]
    write_text(path, "\n".join(lines) + "\n")


def _quoted(names: Iterable[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)  # JSON is YAML, and quotes keep 07 from becoming a number
