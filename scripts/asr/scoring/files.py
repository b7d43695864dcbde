"""The files of a score folder: score.json, tables by utterance and speaker, confusions, and trn files for sclite."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open, read_json, write_json
from asr.core.made_by import mark as mark_folder
from asr.core.names import published_names
from asr.core.run_folder import rerun
from asr.scoring import mandarin
from asr.scoring.cer import Chunk
from asr.scoring.groups import rate
from asr.scoring.score import SCHEMA_VERSION, Scored, System

FILES = ("score.json", "per_utterance.tsv", "per_speaker.tsv", "confusions.tsv", "*.trn")
COUNTS = ("sub", "del", "ins", "hits")
_MARKS = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}
_OPERATIONS = {mark: operation for operation, mark in _MARKS.items()}
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_CHARACTERS = {escaped: char for char, escaped in _ESCAPED.items()}


def _field(value: object) -> str:
    text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
    text = text.translate(str.maketrans(_ESCAPED))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate has no bytes


def _write_tsv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_open(path) as stream:
        for row in (header, *rows):
            stream.write("\t".join(map(_field, row)) + "\n")


def runs(chunks: Sequence[Chunk]) -> str:
    """Return an alignment as per_utterance.tsv has it: JSON, [["=", both], ["s", ref, hyp], ["d", ref], ["i", hyp]]."""
    parts = [
        [_MARKS[operation], ref, hyp] if operation == "substitute" else [_MARKS[operation], ref or hyp]
        for operation, ref, hyp in chunks
    ]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def parse_runs(text: str) -> tuple[Chunk, ...]:
    """Return the alignment that ``runs`` has written. ValueError where it is none."""
    chunks = []
    for mark, *texts in json.loads(text):
        operation = _OPERATIONS.get(mark)
        if operation is None or len(texts) != 1 + (operation == "substitute"):
            raise ValueError(f"no run of an alignment: {mark!r}")
        ref = "" if operation == "insert" else texts[0]
        hyp = "" if operation == "delete" else texts[-1]
        chunks.append(Chunk(operation, ref, hyp))
    return tuple(chunks)


def write_all(folder: Path, systems: Mapping[str, System], result: Mapping[str, Any]) -> None:
    """Write every file of a score folder, score.json last."""
    mark_folder(folder, "score")
    write_per_utterance(folder / "per_utterance.tsv", systems)
    speakers = {one.utterance.speaker for one in next(iter(systems.values()))}
    write_per_speaker(folder / "per_speaker.tsv", result, speakers)
    write_confusions(folder / "confusions.tsv", systems, result)
    write_trn(folder, systems)
    write_json(folder / "score.json", result)


def write_per_utterance(path: str | os.PathLike[str], systems: Mapping[str, System]) -> None:
    """Write a row an utterance: counts and alignment of each system on normalised text, then the texts as written."""
    columns = ("status", *COUNTS, "cer", "alignment")
    header = ["key", "speaker", "text", "duration", "rate", "ref_len"]
    header += [f"{name}_{column}" for name in systems for column in columns]
    header += ["audio", "ref", *(f"{name}_hyp" for name in systems)]
    folder = os.path.abspath(Path(path).parent)
    _write_tsv(path, header, (_utterance(both, folder) for both in zip(*systems.values(), strict=True)))


def _utterance(systems: Sequence[Scored], folder: str) -> list[object]:
    utterance, length = systems[0].utterance, systems[0].counts.ref_len
    row: list[object] = [utterance.key, utterance.speaker, systems[0].text, utterance.duration or None]
    row += [rate(length, utterance.duration), length]
    for one in systems:
        counts = one.counts
        row += [one.status, counts.sub, counts.del_, counts.ins, counts.hits, counts.cer]
        row.append(runs(one.alignment.chunks))
    written = utterance.extra.get("transcript", utterance.target)
    audio = os.path.relpath(utterance.source, folder) if os.path.exists(utterance.source) else ""
    return [*row, audio, written, *(one.decoded for one in systems)]


def read_score(folder: Path) -> dict[str, Any]:
    """Return the score.json of a score folder. RecipeError where there is none, or one of another version."""
    path = folder / "score.json"
    score = read_json(path, "run stage 5, which scores, first")
    version = score.get("schema_version")
    if version != SCHEMA_VERSION:
        again = rerun(folder.resolve().parent, 5)
        raise RecipeError(f"{path}: schema_version {version}, not {SCHEMA_VERSION}: score again: {again}")
    return score


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table that this module has written, by column. RecipeError where it is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file; run stage 5, which scores, first") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; score again") from None
    header, *rows = [line.split("\t") for line in lines[:-1]] or [[]]
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header):
            raise RecipeError(f"{at(path, number)}: {len(cells)} cells, the header has {len(header)}; score again")
    return [dict(zip(header, map(_unescaped, cells), strict=True)) for cells in rows]


def _unescaped(cell: str) -> str:
    return re.sub(r"\\[\\tnr]", lambda match: _CHARACTERS[match[0]], cell)


def write_per_speaker(path: str | os.PathLike[str], result: Mapping[str, Any], speakers: Iterable[str]) -> None:
    """Write a row a speaker; ``low`` and ``high`` are the 95 % interval over this speaker's utterances.

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
    """Return score.json with the speakers' own names, if per_speaker.tsv is beside it; not to publish."""
    path = folder / "per_speaker.tsv"
    names = {row["published"]: row["speaker"] for row in read_table(path)} if path.is_file() else {}
    return {**score, "by_speaker": {names.get(name, name): row for name, row in score["by_speaker"].items()}}


def write_confusions(path: str | os.PathLike[str], systems: Mapping[str, System], result: Mapping[str, Any]) -> None:
    """Write how often what was taken for what, by system and kind (character, tone, initial, final).

    ``said`` is of the reference, empty for an insertion; ``heard`` of the hypothesis, empty for a deletion. What was
    right is counted for sounds only.
    """
    rows: list[Sequence[object]] = []
    for name, scored in systems.items():
        tables = {"character": mandarin.character_confusions((one.reference, one.hypothesis) for one in scored)}
        for kind, table in result["mandarin"]["systems"][name]["confusions"].items():
            counts = itertools.chain.from_iterable(table["matrix"])
            tables[kind] = Counter(dict(zip(itertools.product(table["labels"], repeat=2), counts, strict=True)))
        for kind, table in tables.items():
            cells = sorted(table.items(), key=lambda cell: (-cell[1], cell[0]))
            rows += [(name, kind, said, heard, count) for (said, heard), count in cells if count]
    _write_tsv(path, ("system", "kind", "said", "heard", "count"), rows)


def write_trn(folder: Path, systems: Mapping[str, System]) -> None:
    """Write ref.trn and a file for each system: normalised text, a blank between characters, and ``(speaker_key)``.

    As sclite reads them (``sclite -r ref.trn trn -h tuned.trn trn -i rm -e utf-8``); its totals are those of
    score.json. What stands before the first ``_`` or ``-`` of an id is the speaker to sclite; in a speaker's name
    these, and in every id brackets and blanks, are written ``%5F``, ``%2D``, ``%28``, ``%29``, ``%20``, and % ``%25``.
    """
    for old in folder.glob("*.trn"):
        old.unlink()
    texts = {name: [one.hypothesis for one in scored] for name, scored in systems.items()}
    first = next(iter(systems.values()))
    for name, lines in {"ref": [one.reference for one in first], **texts}.items():
        with atomic_open(folder / f"{name}.trn") as stream:
            for one, text in zip(first, lines, strict=True):
                speaker, key = _quoted(one.utterance.speaker, r"[%()\s_-]"), _quoted(one.utterance.key, r"[%()\s]")
                words = " ".join(text).encode("utf-8", "replace").decode("utf-8")
                stream.write(f"{words} ({speaker}_{key})\n".lstrip(" "))


def _quoted(name: str, pattern: str) -> str:
    """Return ``name`` with the bytes of what the pattern matches in per cent: ids stay unique."""
    return re.sub(pattern, lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), name)
