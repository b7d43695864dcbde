"""exp/<tag>/progress.jsonl: what train.log says of a run, one JSON object a line, for curves.png and status.sh.

{"kind": "start", "resumed_at": 40, "time": …, "pid": …, "host": …, "max_epoch": …}   a process begins, or resumes
{"kind": "train", "time": …, "epoch": 2, "step": 20, "total_step": 60, "loss": …, …}  at each line of the log
{"kind": "validation", "time": …, "checkpoint": "model.pt.ep2", "total_step": 69, "loss": …, "cer": …, …}

``epoch`` and ``step`` count from 1, ``time`` is in seconds since 1970, a value that is no finite number is null. Lines
are only ever added. A run that is resumed from a checkpoint does the steps after it again: ``read`` drops what was
written of them before. Without torch, so that it is read at once.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "progress.jsonl"

Record = dict[str, Any]
Points = list[tuple[int, float]]  # total step and value


def clock(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


@dataclass
class Records:
    """What counts of a progress.jsonl: ``train`` and ``validation`` in the order of their steps, ``starts`` as written.

    ``damaged`` counts the lines that are no record, such as one that a kill has cut.
    """

    train: list[Record] = field(default_factory=list)
    validation: list[Record] = field(default_factory=list)
    starts: list[Record] = field(default_factory=list)
    damaged: int = 0


def points(records: Sequence[Record], key: str, scale: float = 1.0) -> Points:
    """Return total step and scaled value of the records that have a value under ``key``."""
    return [(record["total_step"], scale * record[key]) for record in records if record.get(key) is not None]


def read(exp: Path) -> Records:
    """Return the records of a run that count; none where there is no file.

    Of several of one step (and in validation, of one checkpoint) the last counts. A start drops what lies after it.
    """
    path, records = exp / FILE, Records()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    train: dict[int, Record] = {}
    validation: dict[tuple[int, str], Record] = {}
    for line in filter(str.strip, lines):
        try:
            record = json.loads(line)
            kind = record["kind"]
            step = operator.index(record["resumed_at" if kind == "start" else "total_step"])
        except (ValueError, KeyError, TypeError):
            records.damaged += 1
            continue
        if kind == "start":
            records.starts.append(record)
            train = {key: earlier for key, earlier in train.items() if key <= step}
            validation = {key: earlier for key, earlier in validation.items() if key[0] <= step}
        elif kind == "train":
            train[step] = record
        elif kind == "validation":
            validation[step, record["checkpoint"]] = record
    records.train = [train[step] for step in sorted(train)]
    records.validation = [validation[key] for key in sorted(validation, key=lambda key: key[0])]
    return records


class ProgressFile:
    """Adds lines to a run's progress.jsonl. OSError where it cannot."""

    def __init__(self, exp: Path) -> None:
        self._stream = open(exp / FILE, "ab+")  # noqa: SIM115 - open for as long as the run
        if self._stream.seek(0, os.SEEK_END):
            self._stream.seek(-1, os.SEEK_END)
            if self._stream.read(1) != b"\n":  # a kill cut the last line: the next must not become a part of it
                self._stream.write(b"\n")

    def add(self, record: Record) -> None:
        """Add a line, at once."""
        finite = {key: _plain(value) for key, value in record.items()}
        self._stream.write(json.dumps(finite, ensure_ascii=False).encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of numpy and torch become Python's, and what is not finite null."""
    if value is None or isinstance(value, (str, int)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
