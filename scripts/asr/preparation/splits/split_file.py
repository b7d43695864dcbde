"""Which speaker is in which split, as a YAML says it: reading one, and writing down the split that was used."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from asr.core.errors import RecipeError, at
from asr.core.files import write_text
from asr.core.names import is_code, plain_name

SPLITS = ("train", "val", "test")
REST = "rest"
METHODS = ("speakers", "speaker-dependent", "own")
_WRITTEN = ("origin", "file", "digest")  # what write_split adds, so that its file can be given back
_SETTINGS = ("method", "speakers", "seed", "ratios", "text_disjoint")


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

    def of_speaker(self) -> dict[str, str]:
        """Return {speaker: split}, for a split by speakers."""
        return {speaker: split for split in SPLITS for speaker in self.speakers[split]}

    def describe(self, published: bool = False) -> str:
        """Return one phrase for the screen and the statistics; ``published``: without a file's and a person's name."""
        ratios = ":".join(f"{ratio:g}" for ratio in self.ratios or ())
        left_out = [name if is_code(name) or not published else "a speaker" for name in self.speakers["test"]]
        name = "a file of speakers" if published and self.origin == "file" else os.path.basename(self.file or "")
        dependent = f"speaker-dependent, by text, {ratios}, seed {self.seed}"
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
            self._known(key)
            self.fields[key.value] = value

    def error(self, node: yaml.Node | None, message: str) -> RecipeError:
        return RecipeError(f"{at(self.path, node.start_mark.line + 1 if node else 1)}: {message}")

    def _known(self, key: yaml.Node) -> None:
        known = (*SPLITS, "expected", *_SETTINGS, *_WRITTEN)
        if key.value not in known:
            near = difflib.get_close_matches(str(key.value), known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(SPLITS)}"
            raise self.error(key, f"unknown key '{key.value}'; {hint}")

    def word(self, name: str) -> str | None:
        """Return a scalar's text, or None where the key is not there."""
        node = self.fields.get(name)
        if node is not None and not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"'{name}' must be one word or number")
        return None if node is None else node.value


def read_split(path: Path, speakers: Collection[str] | None, origin: str = "file") -> Split:
    """Read a split file for a corpus of ``speakers`` (None: whatever it names is right).

    Anything wrong in it is a RecipeError naming file and line: a speaker that the corpus does not have, a duplicate
    speaker, a missing split, an unknown key.
    """
    document = _Document(path)
    method = document.word("method") or METHODS[0]
    if method not in METHODS:
        raise document.error(document.fields["method"], f"'method' is {method}; it takes {', '.join(METHODS)}")
    if method != "speaker-dependent" and "speakers" in document.fields:
        raise document.error(document.fields["speakers"], "'speakers' goes with method: speaker-dependent only")
    if (text_disjoint := document.word("text_disjoint") or "false") not in ("true", "false"):
        raise document.error(document.fields["text_disjoint"], f"'text_disjoint' is {text_disjoint}, not true or false")
    seed, ratios = _seed(document), _ratios(document)
    dependent = method == "speaker-dependent"
    chosen = _same_everywhere(document, speakers) if dependent else _by_split(document, speakers, method == "own")
    return Split(
        chosen,
        origin,
        str(path),
        seed=seed,
        ratios=ratios,
        expected=_expected(document),
        method=method,
        text_disjoint=text_disjoint == "true",
    )


def _seed(document: _Document) -> int | None:
    word = document.word("seed")
    try:
        return None if word is None else int(word)
    except ValueError:
        raise document.error(document.fields["seed"], f"'seed' is {word}; it must be a whole number") from None


def _ratios(document: _Document) -> tuple[float, ...] | None:
    node = document.fields.get("ratios")
    if node is None:
        return None
    words = [item.value for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    try:
        return parse_ratios(words)
    except ValueError:
        raise document.error(node, "'ratios' must be three numbers above 0: train, val, test") from None


def parse_ratios(words: Iterable[str]) -> tuple[float, ...]:
    """Three numbers above 0, for train, val and test; ValueError for anything else."""
    ratios = tuple(map(float, words))
    if len(ratios) != len(SPLITS) or not all(0 < ratio < float("inf") for ratio in ratios):
        raise ValueError(ratios)
    return ratios


def _same_everywhere(document: _Document, speakers: Collection[str] | None) -> dict[str, tuple[str, ...]]:
    """Return the speakers of a speaker-dependent split: those under ``speakers``, else none, which means all."""
    for name in SPLITS:
        if name in document.fields:
            node = document.fields[name]
            raise document.error(node, f"'{name}' does not go with method: speaker-dependent; list 'speakers', if any")
    node = document.fields.get("speakers")
    if node is not None and not isinstance(node, yaml.SequenceNode):
        raise document.error(node, "'speakers' must be a list of speakers")
    seen: dict[str, str] = {}
    named = [_speaker(document, item, "speakers", speakers, seen) for item in node.value] if node else []
    return dict.fromkeys(SPLITS, tuple(sorted(named)))


def _by_split(document: _Document, speakers: Collection[str] | None, may_share: bool) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    rest = None
    for name in SPLITS:
        node = document.fields.get(name)
        if node is None:
            raise RecipeError(f"{document.path}: no '{name}' in it; a split file has train, val and test")
        if isinstance(node, yaml.ScalarNode) and node.value == REST:
            if rest:
                raise document.error(node, f"both {rest} and {name} are '{REST}'; only one of them can be")
            rest = name
            continue
        if not isinstance(node, yaml.SequenceNode):
            raise document.error(node, f"'{name}' must be a list of speakers or {REST}")
        known = {} if may_share else seen
        chosen[name] = tuple(_speaker(document, item, name, speakers, known) for item in node.value)
    if rest:
        chosen[rest] = tuple(sorted(set(speakers or ()) - set(seen)))
    return chosen


def _speaker(
    document: _Document, node: yaml.Node, split: str, speakers: Collection[str] | None, seen: dict[str, str]
) -> str:
    if not isinstance(node.value, str):
        raise document.error(node, f"'{split}' must be a plain list of speakers")
    speaker = plain_name(node.value)
    if speakers is not None and speaker not in speakers:
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


def write_split(path: str | os.PathLike[str], split: Split, comment: str, digest: str) -> None:
    """Write the split as used, in the form that --split reads; ``digest`` is that of the utterances' split."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines.append(f"origin: {split.origin}")
    if split.file:
        lines.append(f"file: {_quoted([os.path.basename(split.file)])[1:-1]}")
    lines.append(f"digest: {digest}")
    lines.append(f"method: {split.method}")
    if split.seed is not None:
        lines.append(f"seed: {split.seed}")
    if split.ratios is not None:
        lines.append(f"ratios: [{', '.join(f'{ratio:g}' for ratio in split.ratios)}]")
    if split.text_disjoint:
        lines.append("text_disjoint: true")
    if split.method == "speaker-dependent":
        lines.append(f"speakers: {_quoted(split.speakers['train'])}")
    else:
        lines += [f"{name}: {_quoted(split.speakers[name])}" for name in SPLITS]
    write_text(path, "\n".join(lines) + "\n")


def _quoted(names: Iterable[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)  # JSON is YAML, and quotes keep 07 from becoming a number
