"""Stage 1's work: read the parts, split them by speaker, and write a consistent data folder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import corpus_statistics
from asr.errors import RecipeError
from asr.files import write_json, write_text
from asr.manifest import Utterance, write_manifest
from asr.tables import text_table
from cdsd import Part, corpus_root, find_part, is_simulated, read_part
from data_folder import write_folder
from problems import ERROR, NOTE, WARNING, Problem, count_kinds, tsv_field, write_problems
from split import (
    DEFAULT_RATIOS,
    DEFAULT_SEED,
    SPLITS,
    Split,
    default_split,
    missing_from_default,
    read_split,
    seeded_split,
    write_split,
)
from utterances import Limits, make_utterances

# The manifests, which later stages read, come last: see write_folder.
OUTPUTS = (
    "problems.tsv",
    "split.yaml",
    "statistics.json",
    "data_statistics.txt",
    "val.jsonl",
    "test.jsonl",
    "train.jsonl",
)
EVALUATION_PART = "1h"  # where two parts meet, val and test are made of this one


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    corpus: Path
    parts: tuple[str, ...]
    out: Path
    split_file: Path | None = None
    ratios: tuple[float, ...] | None = None
    seed: int = DEFAULT_SEED
    limits: Limits = field(default_factory=Limits)


@dataclass
class Prepared:
    """A corpus, split: what goes into the data folder."""

    name: str
    parts: tuple[str, ...]
    split: Split
    splits: dict[str, list[Utterance]]
    problems: list[Problem]
    statistics: dict[str, Any]
    differences: list[str] | None  # from the published counts; None where there are none for this split


def prepare(options: Options) -> Prepared:
    """Read, check and split the corpus. A RecipeError where the result could not be used; nothing is written."""
    parts = [read_part(find_part(options.corpus, name), name) for name in options.parts]
    problems = [problem for part in parts for problem in part.problems]
    found: dict[str, list[Utterance]] = {}
    for part in parts:
        prefix = f"{part.name}-" if len(parts) > 1 else ""
        found[part.name], remarks = make_utterances(part, prefix.__add__, options.limits)
        problems += remarks
    if not any(found.values()):
        raise RecipeError(f"{parts[0].folder}: no usable utterance; {_main_problem(problems)}")
    _refuse_double_keys(found)
    split = choose_split(options, parts, found)
    splits, remarks = assign(split, parts, found)
    problems += remarks
    for name in SPLITS:
        if not splits[name]:
            speakers = ", ".join(split.speakers[name]) or "no speaker"
            where = split.file or options.corpus
            raise RecipeError(f"{where}: the {name} split is empty ({speakers}): no usable utterance in it")
    root = corpus_root(parts[0].folder)
    about = {"name": root.name, "parts": list(options.parts), "simulated": is_simulated(root)}
    statistics = corpus_statistics.collect(about, splits, split)
    differences = None
    if EVALUATION_PART in found:
        counts = Counter(item.speaker for item in found[EVALUATION_PART])
        differences = corpus_statistics.compare_with_expected(counts, split)
    return Prepared(root.name, options.parts, split, splits, problems, statistics, differences)


def _main_problem(problems: list[Problem]) -> str:
    kinds = count_kinds(problems)
    return ", ".join(f"{kind} {count:,}" for (_, kind), count in list(kinds.items())[:3]) or "no clip and no transcript"


def _refuse_double_keys(found: dict[str, list[Utterance]]) -> None:
    seen: dict[str, str] = {}
    for utterances in found.values():
        for item in utterances:
            if item.key in seen:
                raise RecipeError(f"{item.source}: its key {item.key} is also that of {seen[item.key]}; rename one")
            seen[item.key] = item.source


def choose_split(options: Options, parts: list[Part], found: dict[str, list[Utterance]]) -> Split:
    """The first of: --split, --ratios, the corpus's own split.yaml, CDSD's default, 8:1:1 by speaker."""
    everyone = sorted({speaker for part in parts for speaker in part.speakers})
    if options.split_file:
        return read_split(options.split_file, everyone, "file")
    evaluated = EVALUATION_PART if EVALUATION_PART in found else parts[0].name
    if options.ratios is None:
        own = corpus_root(parts[0].folder) / "split.yaml"
        if own.is_file():
            return read_split(own, everyone, "corpus")
        default = next((default_split(part.speakers) for part in parts if part.name == EVALUATION_PART), None)
        if default:
            return default
    try:
        drawn = seeded_split(
            {item.speaker for item in found[evaluated]}, options.ratios or DEFAULT_RATIOS, options.seed
        )
    except RecipeError as error:
        raise RecipeError(f"{parts[0].folder}: {error}; give --split FILE") from None
    more = {item.speaker for utterances in found.values() for item in utterances} - set(drawn.of_speaker())
    train = tuple(sorted({*drawn.speakers["train"], *more}))
    return replace(drawn, speakers={**drawn.speakers, "train": train}, note=_almost_default(options, everyone))


def _almost_default(options: Options, speakers: list[str]) -> str:
    """A word where the default split was not taken because a few of its speakers are not there."""
    missing = missing_from_default(speakers)
    if options.ratios or EVALUATION_PART not in options.parts or len(missing) > 4:
        return ""
    return f"CDSD's default split needs {', '.join(missing)} too"


def assign(
    split: Split, parts: list[Part], found: dict[str, list[Utterance]]
) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """Utterances by split, and who is left out.

    Of two parts only 1h goes into val and test; what their speakers said in 10h is left out, not trained on.
    """
    of_speaker = split.of_speaker()
    splits: dict[str, list[Utterance]] = {name: [] for name in SPLITS}
    problems = []
    for part in parts:
        groups: dict[str, list[Utterance]] = {speaker: [] for speaker in part.speakers}
        for item in found[part.name]:
            groups[item.speaker].append(item)
        for speaker, utterances in groups.items():
            name = of_speaker.get(speaker)
            if name is None:
                detail = f"speaker {speaker} is in no split: {len(utterances):,} utterances left out"
                problems.append(Problem(WARNING, "speaker in no split", str(part.folder), None, speaker, detail))
            elif name != "train" and len(parts) > 1 and part.name != EVALUATION_PART:
                detail = f"{name} speaker {speaker}: {len(utterances):,} utterances of {part.name} left out of train"
                problems.append(Problem(NOTE, "10h of a val or test speaker", str(part.folder), None, speaker, detail))
            else:
                splits[name] += utterances
                if not utterances:
                    detail = f"{name} speaker {speaker} has no usable utterance"
                    problems.append(
                        Problem(WARNING, "speaker without utterance", str(part.folder), None, speaker, detail)
                    )
    return splits, problems


def write(prepared: Prepared, out: Path) -> None:
    """Write the data folder, as a whole or not at all."""
    write_folder(out, OUTPUTS, lambda folder: _write_files(prepared, folder))


def _write_files(prepared: Prepared, folder: Path) -> None:
    statistics, split = prepared.statistics, prepared.split
    kinds = [
        {"severity": severity, "kind": kind, "count": count}
        for (severity, kind), count in count_kinds(prepared.problems).items()
    ]
    for name in SPLITS:
        write_manifest(folder / f"{name}.jsonl", prepared.splits[name])
    comment = "The split as used by local/prepare_1h_dataset.py; its --split reads this file.\n"
    write_split(folder / "split.yaml", split, comment + f"Corpus {prepared.name}: {split.describe()}.")
    write_problems(folder / "problems.tsv", prepared.problems)
    write_json(folder / "statistics.json", {**statistics, "differences": prepared.differences, "problems": kinds})
    page = corpus_statistics.render(statistics, prepared.differences, problem_lines(prepared.problems))
    write_text(folder / "data_statistics.txt", page)


def problem_lines(problems: list[Problem]) -> list[str]:
    """The problems counted by kind, as lines of a table; none where there is no problem."""
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


def summary(prepared: Prepared, out: Path) -> str:
    """What a person sees at the end of stage 1."""
    blocks = [corpus_statistics.split_table(prepared.statistics)]
    blocks += corpus_statistics.manual_block(prepared.differences)
    counts = Counter(problem.severity for problem in prepared.problems)
    if counts:
        kinds = f"{counts[ERROR]:,} errors (left out), {counts[WARNING]:,} warnings, {counts[NOTE]:,} notes"
        title = f"problems: {kinds}; each one is in {out}/problems.tsv"
        blocks.append("\n".join([title, *problem_lines(prepared.problems)]))
    else:
        blocks.append("no problem found")
    head = f"corpus  {prepared.name}, part {' and '.join(prepared.parts)}\nsplit   {prepared.split.describe()}"
    tail = (
        f"written to {out}: train, val and test.jsonl, data_statistics.txt, statistics.json, problems.tsv, split.yaml"
    )
    return "\n\n".join([head, *blocks, tail])
