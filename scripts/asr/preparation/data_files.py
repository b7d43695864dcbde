"""What stage 1 leaves behind, on disk and on the screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_json, write_text
from asr.core.made_by import STAGE1, mark, mark_of
from asr.core.manifest import split_digest, write_manifest
from asr.core.processes import become_child
from asr.core.text_tables import text_table
from asr.preparation.corpora.kaldi import write_kaldi
from asr.preparation.corpora.lhotse import write_lhotse
from asr.preparation.data_folder import write_folder
from asr.preparation.prepare import Prepared
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem, count_kinds, tsv_field, write_problems
from asr.preparation.splits.split_file import SPLITS, write_split
from asr.preparation.statistics import collect
from asr.preparation.statistics import text as statistics_text
from asr.preparation.statistics.page import page
from asr.preparation.vocabulary import Pieces

MANY_UNKNOWN = 0.01  # of a set's characters without a token: from here on it is warned of
# The manifests, which later stages read, come last: see write_folder.
OUTPUTS = (
    *("problems.tsv", "text_changes.tsv", "split.yaml"),
    *("statistics.json", "data_statistics.txt", "data_statistics.html"),
    *(mark_of(STAGE1), "audio_elsewhere.txt"),
    *(f"lhotse/{kind}_{name}.jsonl.gz" for kind in ("recordings", "supervisions") for name in SPLITS),
    *(f"{name}/{file}" for name in SPLITS for file in ("wav.scp", "text", "utt2spk", "spk2utt")),
    *("val.jsonl", "test.jsonl", "train.jsonl"),
)


def statistics_of(prepared: Prepared) -> dict[str, Any]:
    """Return everything that data_statistics.txt and .html show."""
    vocabulary, splits = prepared.vocabulary, prepared.splits
    used = {char for items in splits.values() for item in items for char in item.target}
    pieces = isinstance(vocabulary, Pieces)  # such a tokenizer is asked for the corpus's characters alone
    characters = frozenset(filter(vocabulary.can_write, used)) if pieces else vocabulary and vocabulary.characters
    statistics = collect.collect(prepared.about, splits, prepared.split, characters)
    if pieces:
        statistics["vocabulary"]["characters"] = None
    statistics["split"]["digest"] = split_digest(splits)
    statistics["differences"] = prepared.differences
    statistics["problems"] = [
        {"severity": severity, "kind": kind, "count": count}
        for (severity, kind), count in count_kinds(prepared.problems).items()
    ]
    return statistics


def write(prepared: Prepared, statistics: Mapping[str, Any], out: Path, lhotse: bool) -> bool:
    """Write the data folder, as a whole or not at all; False where it is as it would be already."""

    def fill(folder: Path) -> None:
        mark(folder, STAGE1)
        with ProcessPoolExecutor(1, get_context("fork"), become_child) as other:
            drawn = other.submit(page, statistics)  # matplotlib takes a second, and meanwhile the rest is written
            _write_reports(prepared, statistics, folder)
            for name in SPLITS:
                write_manifest(folder / f"{name}.jsonl", prepared.splits[name])
                write_kaldi(folder / name, prepared.splits[name])
                if lhotse:
                    write_lhotse(folder / "lhotse", name, prepared.splits[name])
            write_text(folder / "audio_elsewhere.txt", "".join(f"{path}\n" for path in _audio_elsewhere(prepared)))
            write_text(folder / "data_statistics.html", _result(drawn))

    return write_folder(out, OUTPUTS, fill)


def _write_reports(prepared: Prepared, statistics: Mapping[str, Any], folder: Path) -> None:
    comment = "The split as used by local/prepare_1h_dataset.py; its --split reads this file.\n"
    about = f"{comment}Corpus {prepared.about['name']}: {prepared.split.describe()}."
    write_split(folder / "split.yaml", prepared.split, about, statistics["split"]["digest"])
    write_problems(folder / "problems.tsv", prepared.problems)
    prepared.texts.write(folder / "text_changes.tsv")
    write_json(folder / "statistics.json", statistics)
    text = statistics_text.render(statistics, prepared.differences, problem_lines(prepared.problems))
    write_text(folder / "data_statistics.txt", text)


def _result(drawn: Future[str]) -> str:
    try:
        return drawn.result()
    except BrokenProcessPool:
        raise RecipeError("the process that drew data_statistics.html was killed (out of memory?); run again") from None


def _audio_elsewhere(prepared: Prepared) -> list[str]:
    """Return the audio that the manifests need outside the corpus's folder: run.sh watches these files too."""
    items = [item for name in SPLITS for item in prepared.splits[name]]
    paths = {item.source for item in items} | {item.extra.get("original", {}).get("source", "") for item in items}
    inside = os.path.join(prepared.corpus.root, "")
    return sorted(path for path in paths if path and not path.startswith(inside))


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Return the problems counted by kind, as lines of a table; none where there is no problem."""
    examples = {(item.severity, item.kind): item for item in reversed(problems)}
    rows = []
    for (severity, kind), count in count_kinds(problems).items():
        first = examples[severity, kind]
        where = f"{os.path.basename(first.file)}{f':{first.line}' if first.line else ''}"
        text = tsv_field(f"{where}: {first.detail}")
        rows.append((severity, kind, f"{count:,}", text if len(text) <= 76 else f"{text[:75]}…"))
    table = text_table(("", "kind", "count", "the first of them"), rows, left=(0, 1, 3)) if rows else ""
    return table.splitlines()


def _problems(prepared: Prepared, where: str) -> str:
    counts = Counter(problem.severity for problem in prepared.problems)
    if not counts:
        return "no problem found"
    kinds = f"{counts[ERROR]:,} errors (left out), {counts[WARNING]:,} warnings, {counts[NOTE]:,} notes"
    return "\n".join([f"problems: {kinds}; {where}", *problem_lines(prepared.problems)])


def _head(prepared: Prepared) -> str:
    parts = prepared.about["parts"]
    part = f", part {' and '.join(parts)}" if parts else ""
    split = prepared.split
    drawn = f"split drawn by seed {split.seed}, {split.note}\n" if split.note else ""
    return f"{drawn}corpus  {prepared.about['name']}{part}\nsplit   {split.describe()}"


def _remarks(prepared: Prepared) -> list[str]:
    """Return how the counts differ from the published ones, and which share of the characters has no token."""
    blocks = statistics_text.manual_block(prepared.differences)
    if prepared.unknown:
        shares = ", ".join(f"{name} {100 * share:.2f} %" for name, share in prepared.unknown.items())
        many = max(prepared.unknown.values()) >= MANY_UNKNOWN
        line = f"characters without a token in the base model: {shares}"
        blocks.append(f"warning: {line}; it writes none of them, and each is an error" if many else line)
    return blocks


def summary(prepared: Prepared, statistics: Mapping[str, Any], out: Path, written: bool, converted: bool) -> str:
    """Return what a person sees at the end of stage 1."""
    blocks = [_head(prepared), statistics_text.split_table(statistics), *_remarks(prepared)]
    blocks.append(_problems(prepared, f"each one is in {out}/problems.tsv"))
    if converted:
        blocks.append(f"converted audio (16 kHz, mono): {len(prepared.to_convert):,} clips in {out}_audio")
    if kinds := len(prepared.texts.occurrences):
        blocks.append(f"transcripts: kinds of change made: {kinds}, counted in {out}/text_changes.tsv")
    made = "train, val and test .jsonl and Kaldi folders, data_statistics.txt and .html, statistics.json, problems.tsv"
    blocks.append(f"written to {out}: {made}, split.yaml" if written else f"unchanged: {out} is as it was")
    return "\n\n".join(blocks)


def check_summary(prepared: Prepared, file: Path | None) -> str:
    """Return what a person sees at the end of --check-only."""
    blocks = []
    if any(prepared.splits.values()):
        counts = ", ".join(f"{name} {len(prepared.splits[name]):,}" for name in SPLITS)
        blocks += [f"{_head(prepared)}\nusable  {counts} utterances", *_remarks(prepared)]
    where = f"each one is in {file}" if file else "--out DIR lists each one in DIR/problems.tsv"
    blocks += [_problems(prepared, where), "checked only: no data was written"]
    if prepared.fatal:  # in full, which the table cuts
        blocks.append("\n".join(["stage 1 would stop here:", *(f"  {reason}" for reason in prepared.fatal)]))
    return "\n\n".join(blocks)
