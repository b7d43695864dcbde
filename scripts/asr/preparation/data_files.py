"""What stage 1 leaves behind, on disk and on the screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from asr.core.files import write_json, write_text
from asr.core.made_by import STAGE1, mark, mark_of
from asr.core.manifest import write_manifest
from asr.core.text_tables import text_table
from asr.preparation.corpora import kaldi
from asr.preparation.corpora import lhotse as lhotse_dir
from asr.preparation.data_folder import write_folder
from asr.preparation.prepare import Prepared, add_statistics, audio_elsewhere
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem, count_kinds, tsv_field, write_problems
from asr.preparation.splits.split_file import SPLITS, write_split
from asr.preparation.statistics import text as statistics_text
from asr.preparation.statistics.page import page

ELSEWHERE = "audio_elsewhere.txt"
MANY_UNKNOWN = 0.01  # of a set's characters without a token: from here on it is warned of
# The manifests, which later stages read, come last: see write_folder.
OUTPUTS = (
    *("problems.tsv", "text_changes.tsv", "split.yaml"),
    *("statistics.json", "data_statistics.txt", "data_statistics.html"),
    *(mark_of(STAGE1), ELSEWHERE, "lhotse", *SPLITS),
    *("val.jsonl", "test.jsonl", "train.jsonl"),
)


def write(prepared: Prepared, out: Path, lhotse: bool = False) -> bool:
    """Write the data folder, as a whole or not at all; False where it is as it would be already."""
    return write_folder(out, OUTPUTS, lambda folder: _write_files(prepared, folder, lhotse))


def _write_files(prepared: Prepared, folder: Path, lhotse: bool) -> None:
    mark(folder, STAGE1)
    add_statistics(prepared)
    _write_reports(prepared, folder)
    _write_lists(prepared, folder, lhotse)


def _write_lists(prepared: Prepared, folder: Path, lhotse: bool) -> None:
    """The manifests, and the same for Kaldi and lhotse."""
    for name in SPLITS:
        write_manifest(folder / f"{name}.jsonl", prepared.splits[name])
        kaldi.write_kaldi(folder / name, prepared.splits[name])
        if lhotse:
            lhotse_dir.write_lhotse(folder / "lhotse", name, prepared.splits[name])
    write_text(folder / ELSEWHERE, "".join(f"{path}\n" for path in audio_elsewhere(prepared)))


def _write_reports(prepared: Prepared, folder: Path) -> None:
    """What people read."""
    statistics, split = prepared.statistics, prepared.split
    comment = "The split as used by local/prepare_1h_dataset.py; its --split reads this file.\n"
    about = f"{comment}Corpus {prepared.about['name']}: {split.describe()}."
    write_split(folder / "split.yaml", split, about, statistics["split"]["digest"])
    write_problems(folder / "problems.tsv", prepared.problems)
    prepared.texts.write(folder / "text_changes.tsv")
    write_json(folder / "statistics.json", statistics)
    text = statistics_text.render(statistics, prepared.differences, problem_lines(prepared.problems))
    write_text(folder / "data_statistics.txt", text)
    write_text(folder / "data_statistics.html", page(statistics))


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Return the problems counted by kind, as lines of a table; none where there is no problem."""
    examples = {(item.severity, item.kind): item for item in reversed(problems)}
    rows = []
    for (severity, kind), count in count_kinds(problems).items():
        first = examples[severity, kind]
        where = f"{os.path.basename(first.file)}{f':{first.line}' if first.line else ''}"
        rows.append((severity, kind, f"{count:,}", _shortened(tsv_field(f"{where}: {first.detail}"))))
    table = text_table(("", "kind", "count", "the first of them"), rows, left=(0, 1, 3)) if rows else ""
    return table.splitlines()


def _shortened(text: str, columns: int = 76) -> str:
    return text if len(text) <= columns else text[: columns - 1] + "…"


def _problems(prepared: Prepared, file: str) -> str:
    counts = Counter(problem.severity for problem in prepared.problems)
    if not counts:
        return "no problem found"
    kinds = f"{counts[ERROR]:,} errors (left out), {counts[WARNING]:,} warnings, {counts[NOTE]:,} notes"
    return "\n".join([f"problems: {kinds}{file}", *problem_lines(prepared.problems)])


def _head(prepared: Prepared) -> str:
    parts = prepared.about["parts"]
    part = f", part {' and '.join(parts)}" if parts else ""
    split = prepared.split
    drawn = f"split drawn by seed {split.seed}, {split.note}\n" if split.note else ""
    return f"{drawn}corpus  {prepared.about['name']}{part}\nsplit   {split.describe()}"


def _unknown(prepared: Prepared) -> list[str]:
    shares = ", ".join(f"{name} {100 * share:.2f} %" for name, share in prepared.unknown.items())
    line = f"characters without a token in the base model: {shares}"
    if max(prepared.unknown.values(), default=0) >= MANY_UNKNOWN:
        line = f"warning: {line}; it writes none of them, and each is an error"
    return [line] if shares else []


def summary(prepared: Prepared, out: Path, written: bool, audio: Path | None) -> str:
    """Return what a person sees at the end of stage 1."""
    blocks = [_head(prepared), statistics_text.split_table(prepared.statistics)]
    blocks += statistics_text.manual_block(prepared.differences) + _unknown(prepared)
    blocks.append(_problems(prepared, f"; each one is in {out}/problems.tsv"))
    if audio:
        blocks.append(f"converted audio (16 kHz, mono): {len(prepared.to_convert):,} clips in {out}_audio")
    if prepared.texts.rows:
        blocks.append(
            f"transcripts: kinds of change made: {len(prepared.texts.rows)}, counted in {out}/text_changes.tsv"
        )
    made = "train, val and test .jsonl and Kaldi folders, data_statistics.txt and .html, statistics.json, problems.tsv"
    blocks.append(f"written to {out}: {made}, split.yaml" if written else f"unchanged: {out} is as it was")
    return "\n\n".join(blocks)


def check_summary(prepared: Prepared, file: Path | None) -> str:
    """Return what a person sees at the end of --check-only."""
    counts = [f"{name} {len(prepared.splits[name]):,}" for name in SPLITS]
    blocks = []
    if any(prepared.splits.values()):
        blocks += [f"{_head(prepared)}\nusable  {', '.join(counts)} utterances"]
        blocks += statistics_text.manual_block(prepared.differences) + _unknown(prepared)
    blocks += [f"no split: {item.detail}" for item in prepared.problems if item.kind == "no split"]  # the table cuts it
    blocks.append(
        _problems(prepared, f"; each one is in {file}" if file else "; --out DIR lists each one in DIR/problems.tsv")
    )
    blocks.append("checked only: no data was written")
    return "\n\n".join(blocks)
