"""The scorer's files beside score.json: tables by utterance and speaker, confusions, and trn files for sclite."""

from __future__ import annotations

import functools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open, write_json
from asr.core.made_by import mark as mark_folder
from asr.core.names import published_names
from asr.scoring import mandarin
from asr.scoring.cer import Chunk
from asr.scoring.groups import rate
from asr.scoring.score import Scored, System

COUNTS = ("sub", "del", "ins", "hits")
_MARKS = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
_ODD = re.compile(r"[\\\t\n\r\ud800-\udfff]")


def _field(value: object) -> str:
    text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
    if not _ODD.search(text):
        return text
    for char, escaped in _ESCAPES:
        text = text.replace(char, escaped)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate has no bytes


def _write_tsv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_open(path) as stream:
        for row in (header, *rows):
            stream.write("\t".join(map(_field, row)) + "\n")


def runs(chunks: Sequence[Chunk]) -> str:
    """An alignment as per_utterance.tsv has it: JSON, [["=", both], ["s", said, heard], ["d", said], ["i", heard]]."""
    parts = []
    for kind, said, heard in chunks:
        texts = f"{quoted(said)},{quoted(heard)}" if kind == "substitute" else quoted(said or heard)
        parts.append(f'["{_MARKS[kind]}",{texts}]')
    return f"[{','.join(parts)}]"


def parse_runs(text: str) -> tuple[Chunk, ...]:
    """``runs`` back again. ValueError where it is none."""
    kinds = {mark: kind for kind, mark in _MARKS.items()}
    chunks = []
    for mark, *texts in json.loads(text):
        kind = kinds.get(mark)
        if kind is None or len(texts) != 1 + (kind == "substitute"):
            raise ValueError(f"no run of an alignment: {mark!r}")
        said = "" if kind == "insert" else texts[0]
        heard = "" if kind == "delete" else texts[-1]
        chunks.append(Chunk(kind, said, heard))
    return tuple(chunks)


def write_all(folder: Path, systems: Mapping[str, System], result: Mapping[str, Any]) -> None:
    """Write every file of a score folder, score.json last."""
    mark_folder(folder, "score")
    write_per_utterance(folder / "per_utterance.tsv", systems)
    speakers = {item.utterance.speaker for item in next(iter(systems.values()))}
    write_per_speaker(folder / "per_speaker.tsv", result, speakers)
    write_confusions(folder / "confusions.tsv", systems, result)
    write_trn(folder, systems)
    write_json(folder / "score.json", result)


def write_per_utterance(path: str | os.PathLike[str], systems: Mapping[str, System]) -> None:
    """One row an utterance: counts and alignment of each system on normalised text, then the texts as written."""
    columns = ("status", *COUNTS, "cer", "alignment")
    header = ["key", "speaker", "text", "duration", "rate", "ref_len"]
    header += [f"{name}_{column}" for name in systems for column in columns]
    header += ["audio", "ref", *(f"{name}_hyp" for name in systems)]
    folder = os.path.abspath(Path(path).parent)
    _write_tsv(path, header, (_utterance(items, folder) for items in zip(*systems.values(), strict=True)))


def _utterance(items: Sequence[Scored], folder: str) -> list[object]:
    first, utterance = items[0], items[0].utterance
    length = first.counts.ref_len
    row: list[object] = [utterance.key, utterance.speaker, first.text, utterance.duration]
    row += [rate(length, utterance.duration), length]
    for item in items:
        counts = item.counts
        row += [item.status, counts.sub, counts.del_, counts.ins, counts.hits, counts.cer]
        row.append(runs(item.alignment.chunks))
    written = utterance.extra.get("transcript", utterance.target)
    audio = _way(utterance.source, folder) if os.path.exists(utterance.source) else ""
    return [*row, audio, written, *(item.hypothesis for item in items)]


def _way(path: str, folder: str) -> str:
    parent, name = os.path.split(path)
    return os.path.join(_way_of_folder(parent, folder), name)


@functools.lru_cache(maxsize=4096)
def _way_of_folder(parent: str, folder: str) -> str:
    return os.path.relpath(parent, folder)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table that this module has written, by column. RecipeError where it is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file; run stage 5, which scores, first") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; score again") from None
    header, rows = lines[0].split("\t"), []
    for number, line in enumerate(lines[1:-1], 2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise RecipeError(f"{at(path, number)}: {len(cells)} cells, the header has {len(header)}; score again")
        rows.append(dict(zip(header, map(_unescaped, cells), strict=True)))
    return rows


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    found, chars = "", iter(text)
    for char in chars:
        if char == "\\":
            follower = next(chars, "")
            char = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}.get(follower, char + follower)
        found += char
    return found


def write_per_speaker(path: str | os.PathLike[str], result: Mapping[str, Any], speakers: Iterable[str]) -> None:
    """One row a speaker; ``low`` and ``high`` are the 95 % interval over this speaker's utterances.

    ``published`` is what score.json calls the speaker.
    """
    columns = ("cer", *COUNTS, "n_missing", "n_empty", "ser")
    systems = list(result["systems"])
    header = ["speaker", "published", "n_utt", "ref_len"]
    header += [f"{name}_{column}" for name in systems for column in (*columns, "low", "high")]
    rows = []
    for speaker, published in published_names(speakers).items():
        row = result["by_speaker"][published]
        cells = [speaker, published, row["n_utt"], row["ref_len"]]
        for name in systems:
            cells += [*(row[name][column] for column in columns), *(row[name]["ci95_utterance"] or (None, None))]
        rows.append(cells)
    _write_tsv(path, header, rows)


def with_names(score: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """score.json with the speakers' own names, by the per_speaker.tsv beside it where there is one; not to publish."""
    path = folder / "per_speaker.tsv"
    names = {row["published"]: row["speaker"] for row in read_table(path)} if path.is_file() else {}
    return {**score, "by_speaker": {names.get(name, name): row for name, row in score["by_speaker"].items()}}


def write_confusions(path: str | os.PathLike[str], systems: Mapping[str, System], result: Mapping[str, Any]) -> None:
    """What was taken for what, how often: system, kind (character, tone, initial, final), said, heard, count.

    An empty ``said`` is an insertion, an empty ``heard`` a deletion. What was right is counted for sounds only.
    """
    _write_tsv(path, ("system", "kind", "said", "heard", "count"), _confusions(systems, result))


def _confusions(systems: Mapping[str, System], result: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for name, scored in systems.items():
        counts = mandarin.character_confusions((item.said, item.heard) for item in scored)
        for (said, heard), count in _ordered(counts):
            yield name, "character", said, heard, count
        for kind, table in result["mandarin"]["systems"][name]["confusions"].items():
            labels = table["labels"]
            cells = Counter(
                {
                    (said, heard): count
                    for said, row in zip(labels, table["matrix"], strict=True)
                    for heard, count in zip(labels, row, strict=True)
                    if count
                }
            )
            for (said, heard), count in _ordered(cells):
                yield name, kind, said, heard, count


def _ordered(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def write_trn(folder: Path, systems: Mapping[str, System]) -> None:
    """ref.trn and a file for each system: normalised text, a blank between characters, ``(speaker_key)`` behind it.

    As sclite reads them (``sclite -r ref.trn trn -h tuned.trn trn -i rm -e utf-8``); its totals are those of
    score.json. What stands before the first ``_`` or ``-`` of an id is the speaker to sclite; in a speaker's name
    these, and in every id brackets and blanks, are written ``%5F``, ``%2D``, ``%28``, ``%29``, ``%20``, and % ``%25``.
    """
    for old in folder.glob("*.trn"):
        old.unlink()
    first = next(iter(systems.values()))
    _write_one_trn(folder / "ref.trn", [(item, item.said) for item in first])
    for name, scored in systems.items():
        _write_one_trn(folder / f"{name}.trn", [(item, item.heard) for item in scored])


def _write_one_trn(path: Path, rows: Sequence[tuple[Scored, str]]) -> None:
    with atomic_open(path) as stream:
        for item, text in rows:
            words = " ".join(text).encode("utf-8", "replace").decode("utf-8")
            name = f"{_plain(item.utterance.speaker, '_-')}_{_plain(item.utterance.key)}"
            stream.write(f"{words} ({name})\n".lstrip(" "))


def _plain(name: str, more: str = "") -> str:
    """Return ``name`` with what would end an id (brackets, blanks, and of ``more``) in per cent: ids stay unique."""
    return re.sub(rf"[%()\s{more}]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
