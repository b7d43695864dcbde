"""The scorer's tables: per_utterance.tsv, per_speaker.tsv, and the one on the screen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asr.files import atomic_open
from asr.scoring import Scored
from asr.tables import text_table

COUNTS = ("sub", "del", "ins", "hits")


def percent(rate: float | None, digits: int = 2) -> str:
    """A fraction as per cent, without the sign; ``n/a`` where there is none."""
    return "n/a" if rate is None else f"{100 * rate:.{digits}f}"


def interval(ci95: Sequence[float] | None) -> str:
    """An interval of fractions as per cent; ``n/a`` where there is none."""
    return f"{percent(ci95[0])} to {percent(ci95[1])}" if ci95 else "n/a"


def _field(value: object) -> str:
    text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _write_tsv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_open(path) as stream:
        for row in (header, *rows):
            stream.write("\t".join(map(_field, row)) + "\n")


def write_per_utterance(path: str | os.PathLike[str], systems: Mapping[str, Sequence[Scored]]) -> None:
    """One row an utterance: counts of each system on normalised text, then the texts as they were written."""
    columns = ("status", *COUNTS, "cer")
    header = ["key", "speaker", "ref_len", *(f"{name}_{column}" for name in systems for column in columns)]
    header += ["ref", *(f"{name}_hyp" for name in systems)]
    rows = []
    for items in zip(*systems.values(), strict=True):
        row: list[object] = [items[0].utterance.key, items[0].utterance.speaker, items[0].counts.ref_len]
        for item in items:
            values = item.counts.as_dict()
            row += [item.status, *(values[name] for name in (*COUNTS, "cer"))]
        rows.append([*row, items[0].utterance.target, *(item.hypothesis for item in items)])
    _write_tsv(path, header, rows)


def write_per_speaker(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """One row a speaker."""
    columns = ("cer", *COUNTS, "n_missing", "n_empty", "ser")
    systems = list(result["systems"])
    header = ["speaker", "n_utt", "ref_len", *(f"{name}_{column}" for name in systems for column in columns)]
    rows = [
        [speaker, row["n_utt"], row["ref_len"], *(row[name][column] for name in systems for column in columns)]
        for speaker, row in result["by_speaker"].items()
    ]
    _write_tsv(path, header, rows)


def screen_table(result: Mapping[str, Any]) -> str:
    """The result in one look: each system, the reduction, each speaker, and the reference lines."""
    rows = []
    for name, row in result["systems"].items():
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        rows.append((name, percent(row["cer"]), interval(row["ci95"]), *counts, percent(row["ser"]), row["n_missing"]))
    reference, any_row = result["reference"], next(iter(result["systems"].values()))
    size = f"{reference['n_speakers']} speakers, {reference['n_utt']:,} utterances, {any_row['ref_len']:,} characters"
    blocks = [size, text_table(("", "CER %", "95 % interval", "sub", "del", "ins", "SER %", "missing"), rows)]
    if not any_row["ci95"]:
        blocks.append(f"no interval: {any_row['ci95_note']}")
    comparison = result["comparison"]
    if comparison:
        relative = percent(comparison["relative_reduction"], 1)
        blocks.append(f"CER reduction {percent(comparison['absolute_reduction'])} points, {relative} % relative")
    groups = [(f"speaker {name}", row) for name, row in result["by_speaker"].items()]
    groups += [(f"{name} text", row) for name, row in (result["groups"]["text"] or {}).items()]
    systems = list(result["systems"])
    lines = [
        (name, f"{row['n_utt']:,}", f"{row['ref_len']:,}", *(percent(row[key] and row[key]["cer"]) for key in systems))
        for name, row in groups
    ]
    blocks.append(text_table(("", "utterances", "characters", *(f"{name} CER %" for name in systems)), lines))
    lines = [f"{line['name']} {percent(line['cer'])} % ({line['note']})" for line in result["reference_lines"]]
    if lines:
        blocks.append("\n".join(["for reference, never a test passed:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)
