"""CDSD's label files: ``<utt> <transcript>`` a line, where the first blank splits."""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asr.core.errors import RecipeError, at
from asr.preparation.corpus import tidy_name, unsafe_id
from asr.preparation.problems import ERROR, NOTE, WARNING, Problems

BOM = "\ufeff"
# Something else than a blank between the id and the transcript; "S037T2，3E0…" is an id.
_WRONG_SEPARATOR = re.compile("\\S+?([,，;；:：|])\\s*[\u2e80-\U0003ffff]")
_HAN = re.compile("[\u2e80-\U0010ffff]")  # a short GBK word can be UTF-8 by chance, but not with these characters
# Encodings whose bytes GB18030 accepts: their names, and iconv's. Windows' are supersets of the others.
OTHER_ENCODINGS = dict.fromkeys(("big5", "cp950"), ("Big5", "CP950"))
OTHER_ENCODINGS |= dict.fromkeys(("shift_jis", "cp932"), ("Shift-JIS", "CP932"))
ENOUGH = 15  # lines: of fewer, single words in GBK were taken for Big5 in up to 97 of 100 files; of so many in none


class LabelFileError(RecipeError):
    """A label file that cannot be read; ``reason`` is the message without the place."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{at(path, line)}: {reason}")
        self.file, self.line, self.reason = str(path), line, reason


class Label(NamedTuple):
    """One transcript, as it was said: outer blanks and byte-order marks are gone, nothing else is changed."""

    utt: str
    text: str
    file: str
    line: int


def read_label_file(path: Path) -> tuple[list[Label], Problems]:
    """Read one label file; a line without a transcript, or with an id that may not be one, becomes a Problem.

    Ids are in their plain form. An empty file, bytes that are neither UTF-8 nor GB18030, or most lines with something
    else than a blank behind the id, are a LabelFileError that names the file (and line).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LabelFileError(path, None, f"cannot be read ({error.strerror})") from None
    problems, labels = Problems(), []
    lines = _decode(path, raw, problems)
    if not "".join(lines).replace(BOM, "").strip():
        raise LabelFileError(path, None, "the label file is empty; restore it, or move this speaker's folders away")
    _refuse_wrong_separator(path, lines)
    for number, line in enumerate(lines, 1):
        if BOM in line:
            problems.add(NOTE, "byte-order mark", path, "removed", number)
        utt, text = [*line.replace(BOM, " ").split(None, 1), "", ""][:2]
        if not utt:
            continue
        utt = tidy_name(problems, utt, path, number)
        if reason := unsafe_id(utt):
            problems.add(ERROR, "unsafe id", path, f"refused: {reason}", number, utt)
        elif text:
            labels.append(Label(utt, text.rstrip(), str(path), number))
        else:
            no_blank = f"no blank in {utt!r}: expected '<utt> <transcript>'"
            detail = no_blank if _WRONG_SEPARATOR.match(utt) else "no words after the id"
            problems.add(ERROR, "empty transcript", path, detail, number, utt)
    return labels, problems


def _refuse_wrong_separator(path: Path, lines: Sequence[str]) -> None:
    matches = [(number, _WRONG_SEPARATOR.match(line)) for number, line in enumerate(lines, 1)]
    wrong = [(number, match) for number, match in matches if match]
    if 2 * len(wrong) > sum(map(bool, map(str.strip, lines))):
        number, match = wrong[0]
        raise LabelFileError(
            path,
            number,
            f"{match[1]!r} stands between id and transcript in {len(wrong):,} lines, first {match.string.strip()!r};"
            f" expected '<utt> <transcript>': replace the first {match[1]!r} of each line by a blank",
        )


def _decode(path: Path, raw: bytes, problems: Problems) -> list[str]:
    """Return lines as text: UTF-8, else GB18030 with a warning.

    GB18030 accepts almost any bytes, so a UTF-8 file with one damaged line would turn into nonsense as a whole. It is
    taken for GB18030 only where lines that are not UTF-8 outnumber those with Han characters in UTF-8, and where they
    do not look like Big5 or Shift-JIS, whose bytes it accepts as well.
    """
    if (whole := _text(raw, "utf-8")) is not None:
        return re.split("\r\n|\r|\n", whole)
    lines = raw.splitlines()
    texts = [_text(line, "utf-8") for line in lines]
    bad = [number for number, text in enumerate(texts, 1) if text is None]
    if sum(bool(text and _HAN.search(text)) for text in texts) >= len(bad):
        raise LabelFileError(path, bad[0], "not UTF-8, while other lines of the file are; restore or correct it")
    if len(bad) >= ENOUGH and (encoding := _taken_for_gb18030([lines[number - 1] for number in bad])):
        file = shlex.quote(str(path))
        anew = f"iconv -f {encoding[1]} -t UTF-8 {file} > {file}.utf8 && mv {file}.utf8 {file}"
        raise LabelFileError(path, bad[0], f"probably {encoding[0]}, neither UTF-8 nor GB18030; convert it: {anew}")
    decoded = [_text(line.removeprefix(codecs.BOM_UTF8), "gb18030") for line in lines]
    if None in decoded:
        number = decoded.index(None) + 1
        raise LabelFileError(path, number, "neither UTF-8 nor GB18030; save the label file as UTF-8")
    unsure = "" if len(bad) >= ENOUGH else ", of too few lines to tell it from Big5"
    problems.add(WARNING, "label file not UTF-8", path, f"read as GB18030 (GBK){unsure}; save it as UTF-8 to be sure")
    return [text for text in decoded if text is not None]


def _taken_for_gb18030(lines: Sequence[bytes]) -> tuple[str, str] | None:
    """Return the name of the encoding that the lines' texts look like, and iconv's; None for GB18030."""
    from charset_normalizer import from_bytes

    texts = b"\n".join(line.split(None, 1)[-1] for line in lines)
    best = from_bytes(texts, cp_isolation=["gb18030", *OTHER_ENCODINGS]).best()
    return OTHER_ENCODINGS.get(best.encoding) if best else None


def _text(line: bytes, encoding: str) -> str | None:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return None
