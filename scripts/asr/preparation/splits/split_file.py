"""Which speaker is in which split, as a YAML says it: reading one, and writing down the split that was used."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from asr.core.errors import RecipeError, at
from asr.core.files import write_text
from asr.core.names import is_code, plain_name

SPLITS: tuple[str, ...] = ("train", "val", "test")
DEFAULT_RATIOS = (8.0, 1.0, 1.0)
DEFAULT_SEED = 2024
REST = "rest"
METHODS = ("speakers", "speaker-dependent", "own")
# The last three are what write_split adds, so that its file can be given back.
_KEYS = (
    *SPLITS,
    "expected",
    "method",
    "speakers",
    "seed",
    "ratios",
    "text_disjoint",
    "budget",
    "test_texts",
    "origin",
    "file",
    "digest",
)


@dataclass(frozen=True)
class Split:
    """Speakers by split, and where that came from.

    ``origin`` is file, corpus (its split.yaml), default, own (its sets), seeded, loso, folds or speaker-dependent.
    ``method`` says how utterances are divided: by ``speakers``, ``speaker-dependent`` (by text, all speakers in all
    splits), or ``own`` (as the corpus's sets are). ``text_disjoint``: train loses what the test set says.
    """

    speakers: Mapping[str, tuple[str, ...]]
    origin: str
    file: str | None = None
    seed: int | None = None
    ratios: tuple[float, ...] | None = None
    expected: Mapping[str, int] = field(default_factory=dict)  # labelled utterances by speaker, where published
    default_of: str = ""  # the corpus and part whose default it is
    note: str = ""
    method: str = "speakers"
    text_disjoint: bool = False
    test_texts: tuple[str, ...] = ()  # what the test set alone says, and nothing else: unseen words by unseen people
    budget: float | None = None  # seconds of each speaker's in train and val together, of a speaker-dependent split

    def of_speaker(self) -> dict[str, str]:
        """Return {speaker: split}, for a split by speakers."""
        return {speaker: split for split in SPLITS for speaker in self.speakers[split]}

    def describe(self, published: bool = False) -> str:
        """Return one phrase for the screen and the statistics; ``published``: without a file's and a person's name."""
        ratios = ":".join(f"{ratio:g}" for ratio in self.ratios or ())
        left_out = [name if is_code(name) or not published else "a speaker" for name in self.speakers["test"]]
        name = "a file of speakers" if published and self.origin == "file" else os.path.basename(self.file or "")
        dependent = f"speaker-dependent, by text, {ratios}, seed {self.seed}"
        dependent += f", {self.budget:g} s of each speaker's to train and validate" if self.budget else ""
        phrase = {
            "file": f"{name} (given)",
            "corpus": f"{name} (the corpus's own)",
            "default": f"{name} (default for {self.default_of})",
            "seeded": f"drawn by speaker, {ratios}, seed {self.seed}",
            "loso": f"leave one speaker out ({', '.join(left_out)}), validation drawn by seed {self.seed}",
            "folds": f"speakers drawn into folds by seed {self.seed}",
            "speaker-dependent": dependent,
            "own": "the corpus's own sets",
        }[self.origin]
        if self.method == "speaker-dependent" and self.origin != "speaker-dependent":
            phrase += f": {dependent}"
        phrase += f"; {len(self.test_texts)} texts for the test set alone" if self.test_texts else ""
        phrase += "; train without the test set's texts" if self.text_disjoint else ""
        return phrase + (f"; {self.note}" if self.note else "")


class _Document:
    """A YAML mapping with the line of every scalar. All scalars are strings, or 07 would be read as the number 7."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
        except FileNotFoundError:
            rules = "default, own, seeded, loso:ID, folds:K/N, speaker-dependent"
            raise RecipeError(f"{path}: no such split file, and none of the rules {rules}") from None
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
                raise self.error(key, f"duplicate key '{key.value}'")
            if key.value not in _KEYS:
                near = difflib.get_close_matches(str(key.value), _KEYS, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(SPLITS)}"
                raise self.error(key, f"unknown key '{key.value}'; {hint}")
            self.fields[key.value] = value

    def error(self, node: yaml.Node | None, message: str) -> RecipeError:
        """Return an error that names the line of ``node``."""
        return RecipeError(f"{at(self.path, node.start_mark.line + 1 if node else 1)}: {message}")

    def require(self, name: str, valid: object, message: str) -> None:
        """RecipeError at the field ``name`` where it is there and not valid."""
        if name in self.fields and not valid:
            raise self.error(self.fields[name], f"'{name}' {message}")

    def word(self, name: str, pattern: str, takes: str) -> str:
        """Return a scalar's text, "" where the key is not there. RecipeError where it does not match ``pattern``."""
        node = self.fields.get(name)
        word = node.value if isinstance(node, yaml.ScalarNode) else "a list" if node else ""
        self.require(name, re.fullmatch(pattern, word), f"is {word}; it takes {takes}")
        return word

    def items(self, name: str, what: str) -> list[yaml.Node]:
        """Return the nodes of a list, none where the key is not there."""
        node = self.fields.get(name)
        self.require(name, isinstance(node, yaml.SequenceNode), f"must be a list of {what}")
        return node.value if node else []


def read_split(path: Path, speakers: Collection[str] | None, origin: str = "file") -> Split:
    """Read a split file for a corpus of ``speakers`` (None: whatever it names is right).

    A speaker-dependent split that names no speakers is of all of them. Anything wrong in the file is a RecipeError
    naming file and line: a speaker that the corpus does not have, a duplicate speaker, a missing split, an unknown key.
    """
    document = _Document(path)
    method = document.word("method", "|".join(METHODS), ", ".join(METHODS)) or METHODS[0]
    text_disjoint = document.word("text_disjoint", "true|false", "true, false")
    seed, ratios = document.word("seed", "-?[0-9]+", "a whole number"), _ratios(document)
    dependent = method == "speaker-dependent"
    document.require("budget", dependent, "goes with method: speaker-dependent only")
    budget = document.word("budget", r"[0-9]*\.?[0-9]+", "seconds, above 0")
    document.require("budget", float(budget or 0) > 0, "must be seconds, above 0")
    if dependent:
        for name in SPLITS:
            document.require(name, False, "does not go with method: speaker-dependent; list 'speakers', if any")
        named = _speakers(document, "speakers", "speakers", speakers, {})
        chosen = dict.fromkeys(SPLITS, tuple(sorted(named or speakers or ())))
    else:
        document.require("speakers", False, "goes with method: speaker-dependent only")
        chosen = _by_split(document, speakers, method == "own")
    return Split(
        chosen,
        origin,
        str(path),
        seed=int(seed) if seed else DEFAULT_SEED if dependent else None,
        ratios=ratios or (DEFAULT_RATIOS if dependent else None),
        expected=_expected(document),
        method=method,
        text_disjoint=text_disjoint == "true",
        budget=float(budget) if budget else None,
        test_texts=_texts(document),
    )


def _texts(document: _Document) -> tuple[str, ...]:
    nodes = document.items("test_texts", "texts")
    document.require("test_texts", nodes, "must be a list of texts")
    for node in nodes:
        if not isinstance(node.value, str) or not node.value.strip():
            raise document.error(node, "'test_texts' must be a plain list of texts")
    return tuple(node.value for node in nodes)


def _ratios(document: _Document) -> tuple[float, ...] | None:
    try:
        return parse_ratios(node.value for node in document.items("ratios", "three numbers"))
    except (TypeError, ValueError):
        document.require("ratios", False, "must be three numbers above 0: train, val, test")
        return None


def parse_ratios(words: Iterable[str]) -> tuple[float, ...]:
    """Return three numbers above 0, for train, val and test; ValueError for anything else."""
    ratios = tuple(map(float, words))
    if len(ratios) != len(SPLITS) or not all(0 < ratio < float("inf") for ratio in ratios):
        raise ValueError(ratios)
    return ratios


def _by_split(document: _Document, speakers: Collection[str] | None, may_share: bool) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = {}
    split_of: dict[str, str] = {}
    rest = ""
    for name in SPLITS:
        node = document.fields.get(name)
        if node is None:
            raise RecipeError(f"{document.path}: no '{name}' in it; a split file has train, val and test")
        if node.value == REST:
            if rest:
                raise document.error(node, f"both {rest} and {name} are '{REST}'; only one of them can be")
            rest = name
        else:
            chosen[name] = _speakers(document, name, f"speakers or {REST}", speakers, {} if may_share else split_of)
    if rest:
        chosen[rest] = tuple(sorted(set(speakers or ()) - set(split_of)))
    return chosen


def _speakers(
    document: _Document, name: str, what: str, speakers: Collection[str] | None, split_of: dict[str, str]
) -> tuple[str, ...]:
    """Return the speakers of a list; ``split_of`` holds those of the lists before it, and gets these too."""
    named = []
    for node in document.items(name, what):
        if not isinstance(node.value, str):
            raise document.error(node, f"'{name}' must be a plain list of speakers")
        speaker = plain_name(node.value)
        if speakers is not None and speaker not in speakers:
            near = difflib.get_close_matches(speaker, sorted(speakers), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise document.error(node, f"the corpus has no speaker {speaker}{hint}")
        if (other := split_of.setdefault(speaker, name)) != name or speaker in named:
            also = f"in {other} too: a speaker can be in one split only" if other != name else "here twice"
            raise document.error(node, f"speaker {speaker} ({name}) is {also}")
        named.append(speaker)
    return tuple(named)


def _expected(document: _Document) -> dict[str, int]:
    node = document.fields.get("expected")
    document.require("expected", isinstance(node, yaml.MappingNode), "maps speakers to their number of utterances")
    for key, value in node.value if node else ():
        if not isinstance(value.value, str) or not value.value.isdecimal():
            raise document.error(key, f"expected utterances of speaker {key.value}: not a whole number")
    return {key.value: int(value.value) for key, value in node.value} if node else {}


def write_split(path: str | os.PathLike[str], split: Split, comment: str, digest: str) -> None:
    """Write the split as used, in the form that --split reads; ``digest`` is that of the utterances' split."""
    lists = {"speakers": split.speakers["train"]} if split.method == "speaker-dependent" else split.speakers
    fields = {
        "origin": split.origin,
        "file": split.file and _quoted(os.path.basename(split.file)),
        "digest": digest,
        "method": split.method,
        "seed": split.seed,
        "ratios": split.ratios and f"[{', '.join(f'{ratio:g}' for ratio in split.ratios)}]",
        "text_disjoint": "true" if split.text_disjoint else None,
        "budget": f"{split.budget:.15g}" if split.budget else None,
        "test_texts": _quoted(split.test_texts) if split.test_texts else None,
        **{name: _quoted(lists[name]) for name in ("speakers", *SPLITS) if name in lists},
    }
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    write_text(path, "\n".join(lines) + "\n")


def _quoted(value: str | Collection[str]) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML, and quotes keep 07 from becoming a number
