"""What a language model is made of: training transcripts and a user's files; and whether these hold the test set.

A user's FILE is plain text, a sentence a line, or a finished ARPA model, either as .gz too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.language.arpa import is_arpa, read_arpa
from asr.language.kneser_ney import estimate
from asr.language.ngram import DEFAULT_ORDER, NGram
from asr.language.text_files import numbered_lines
from asr.scoring.normalize import scoring_form
from asr.scoring.second_texts import IN_NEITHER, IN_TRAINING, ONLY_IN_LM

MOST = 0.2  # share of the test utterances that a file may hold
SHORTEST = 5  # characters: what is shorter may stand in any text
_EXAMPLES = 3
_HAN = re.compile("[\u3400-\u9fff]")
_TRN = re.compile(r"[\u3400-\u9fff].*\([^()\s]*[\d_-][^()\s]*\)\s*$")


@dataclass(frozen=True)
class LmText:
    """The lines of a user's text files in scoring form, in order; ``where`` has each text's first (file, line).

    ``models`` are the files that are ARPA, in which no line can be looked up.
    """

    lines: tuple[str, ...]
    where: dict[str, tuple[Path, int]]
    models: tuple[Path, ...]


def read_lm_text(paths: Iterable[str | os.PathLike[str]]) -> LmText:
    """Read a user's files. RecipeError for one that cannot be read, and for a text file without a character."""
    lines: list[str] = []
    where: dict[str, tuple[Path, int]] = {}
    models: list[Path] = []
    for path in map(Path, paths):
        if is_arpa(path):
            models.append(path)
            continue
        if path.suffix == ".jsonl":
            raise RecipeError(f"{path}: a manifest, not a text; write a sentence a line")
        before = len(lines)
        for number, line in numbered_lines(path):
            sentence = without_id(line)
            if form := scoring_form(sentence):
                lines.append(form)
            for part in _parts(sentence):
                where.setdefault(scoring_form(part), (path, number))
        if len(lines) == before:
            raise RecipeError(f"{path}: holds no text; write a sentence a line")
    where.pop("", None)
    return LmText(tuple(lines), where, tuple(models))


def without_id(line: str) -> str:
    """Return a line's sentence: without the id that Kaldi's text, a label file or a trn has before or behind it."""
    line = re.sub(r"\s*\([^()\s]+\)\s*$", "", line) if _TRN.search(line) else line
    words = line.split(maxsplit=1)
    if len(words) == 2 and not _HAN.search(words[0]) and re.search(r"\d", words[0]) and _HAN.search(words[1]):
        return words[1]
    return line.strip()


def _parts(sentence: str) -> Iterator[str]:
    """Yield what may stand in a test set as a whole: the line, its sentences, and each without a number or a name."""
    for part in {sentence: None, **dict.fromkeys(re.split(r"[。！？!?；;\r]", sentence))}:
        yield part
        yield re.sub(r"^\s*[（(]?\d+\s*[)）.、．:：]\s*", "", part)
        yield part.split(maxsplit=1)[-1] if part.split(maxsplit=1) else ""


def build(text: LmText, train: Iterable[str] = (), order: int = DEFAULT_ORDER) -> NGram:
    """Return the model of the training transcripts ``train`` and of the files: one estimate over all lines.

    RecipeError where an ARPA model is not alone: counts can be added, finished models cannot.
    """
    texts = [*map(scoring_form, train), *text.lines]
    if not text.models:
        return estimate(texts, order)
    first, *more = text.models
    if texts or more:
        raise RecipeError(f"{first}: an ARPA model goes alone; give the text that it was made of instead")
    return read_arpa(first)


@dataclass(frozen=True)
class Leakage:
    """How many test utterances of five characters and more, whose text is not in train, stand in a user's files.

    ``examples`` are "file:line", no text; ``unchecked`` the ARPA files, in which no line can be looked up.
    """

    inside: int
    of: int
    examples: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def share(self) -> float:
        """Return ``inside`` as a fraction."""
        return self.inside / self.of if self.of else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what is recorded: no file's name, which may be published."""
        return {"inside": self.inside, "of": self.of, "share": self.share, "unchecked": len(self.unchecked)}


def check_leakage(text: LmText, test: Iterable[str], train: Iterable[str]) -> Leakage:
    """Count the test utterances that stand in the files as whole lines.

    RecipeError where they are more than ``MOST``: what a model has read the answers of says nothing about others.
    """
    known = set(map(scoring_form, train))
    forms = [form for form in map(scoring_form, test) if len(form) >= SHORTEST and form not in known]
    inside = [form for form in forms if form in text.where]
    places = sorted({text.where[form] for form in inside})
    examples = tuple(f"{path}:{number}" for path, number in places[:_EXAMPLES])
    leakage = Leakage(len(inside), len(forms), examples, tuple(path.name for path in text.models))
    if leakage.share > MOST:
        files = ", ".join(str(path) for path in sorted({path for path, _ in places}))
        raise RecipeError(
            f"{files}: holds {leakage.inside:,} of the {leakage.of:,} test utterances of at least {SHORTEST} characters"
            f" that training does not have ({leakage.share:.0%}, at most {MOST:.0%} may be), such as"
            f" {', '.join(examples)}; take them out, or give another text"
        )
    return leakage


def text_group(form: str, train: Collection[str], lm_lines: Collection[str]) -> str:
    """Return where a reference in scoring form was read before: in training, only in the LM's text, or in neither.

    ``lm_lines``: ``LmText.where``. A gain on texts of the first two is no gain on what people say next.
    """
    return IN_TRAINING if form in train else ONLY_IN_LM if form in lm_lines else IN_NEITHER


def describe(text: LmText, train: Sequence[str]) -> dict[str, Any]:
    """Return what is recorded of a model's sources."""
    return {"train_lines": len(train), "file_lines": len(text.lines), "models": len(text.models)}
