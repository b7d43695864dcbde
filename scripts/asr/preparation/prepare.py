"""Stage 1's work: read a corpus, check it, split it, and make its audio what training takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.audio.clip import Cut, UnreadableError
from asr.core.errors import RecipeError
from asr.core.made_by import STAGE1, mark
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, split_digest
from asr.preparation.corpora.registry import is_simulated, open_corpus, within
from asr.preparation.data_folder import audio_folder
from asr.preparation.home_corpus import HomeCorpus
from asr.preparation.problems import ERROR, NOTE, SEVERITIES, WARNING, Problem, count_kinds
from asr.preparation.progress_bar import ProgressBar
from asr.preparation.speaker_check import forget_dummies, same_audio
from asr.preparation.splits.assignment import Corpus, Splits, assign, choose_split
from asr.preparation.splits.rules import Request
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.statistics import collect
from asr.preparation.target_text import TargetText
from asr.preparation.utterances import Read, Reader, read_utterances
from asr.preparation.vocabulary import Pieces, Vocabulary, read_vocabulary, unknown_share

MAX_UNKNOWN = 0.1  # of a set's characters without a token: above it a base model is refused


@dataclass(frozen=True)
class Options:
    """What was asked for. ``out`` may be None where the corpus is only checked. ``home``: the recipe's own corpus."""

    corpus: Path
    parts: tuple[str, ...]
    out: Path | None
    home: HomeCorpus
    request: Request = field(default_factory=Request)
    tokens: Path | None = None
    max_seconds: float | None = None
    max_unknown: float = MAX_UNKNOWN
    check_audio: bool = False
    check_only: bool = False
    strict: bool = False
    lhotse: bool = False


@dataclass
class Prepared:
    """A corpus, checked and split: what goes into the data folder."""

    corpus: Corpus
    texts: TargetText
    vocabulary: Vocabulary | Pieces | None
    problems: list[Problem]
    about: dict[str, Any]  # the corpus's name and parts, for the statistics
    differences: list[str] | None = None  # from the published counts; None where there are none for this split
    split: Split = field(default_factory=lambda: Split(dict.fromkeys(SPLITS, ()), "none"))
    splits: Splits = field(default_factory=lambda: {name: [] for name in SPLITS})
    unknown: dict[str, float] = field(default_factory=dict)  # share of each set's characters without a token
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def to_convert(self) -> dict[str, Cut | None]:
        """By key: the clips that training cannot take as they are."""
        return {key: cut for read in self.corpus.reads for key, cut in read.to_convert.items()}


def prepare(options: Options) -> Prepared:
    """Read, check and split the corpus. A RecipeError where the result could not be used; nothing is written.

    With ``check_only`` whatever can be put on the list of problems is put there instead.
    """
    parts = open_corpus(options.corpus, options.parts, options.home)
    faults = [fault for part in parts for fault in part.faults]
    if faults and not options.check_only:
        more = f" ({len(faults) - 1} more such: --check-only lists them)" if len(faults) > 1 else ""
        raise RecipeError(faults[0] + more)
    vocabulary, problems = _vocabulary(options.tokens)
    reader = Reader(vocabulary, options.max_seconds)
    prefixes = [f"{part.name}-" if len(parts) > 1 else "" for part in parts]
    reads = [read_utterances(part, prefix, reader) for part, prefix in zip(parts, prefixes, strict=True)]
    _check_audio(reads, options.check_audio)
    problems += [problem for part in parts for problem in part.problems]
    problems += [problem for read in reads for problem in read.problems]
    for part, read in zip(parts, reads, strict=True):
        problems += forget_dummies(part, read)
    corpus = Corpus(parts, reads, options.home)
    prepared = Prepared(corpus, reader.texts, vocabulary, problems, _about(options, corpus))
    try:
        _split(options, prepared)
    except RecipeError as error:
        if not options.check_only:
            raise
        problems.append(Problem(ERROR, "no split", str(corpus.root), None, "", str(error)))
    return prepared


def _about(options: Options, corpus: Corpus) -> dict[str, Any]:
    root, simulated = corpus.root, is_simulated(corpus.root)
    return {
        "name": root.stem if root.is_file() else root.name,
        "parts": [part.name for part in corpus.parts if part.name],
        "simulated": simulated,
        options.home.key: options.request.is_home and not simulated,
    }


def _vocabulary(path: Path | None) -> tuple[Vocabulary | Pieces | None, list[Problem]]:
    vocabulary = read_vocabulary(path) if path else None
    if path and vocabulary is None:
        detail = "this model's tokenizer is not known here: transcripts are not checked against it"
        return None, [Problem(NOTE, "vocabulary not checked", str(path), None, "", detail)]
    return vocabulary, []


def _check_audio(reads: Sequence[Read], everything: bool) -> None:
    """Decode every clip, else those of float files alone, for errors; one with an error is left out."""
    clips = [(item, read) for read in reads for item in read.utterances if everything or item.key in read.floating]
    if not clips:
        return
    from asr.audio.check import check_all

    bad: set[str] = set()
    checked = check_all([(item.source, read.to_convert.get(item.key)) for item, read in clips])
    with ProgressBar("audio checked", len(clips)) as bar:
        for (item, read), result in zip(clips, checked, strict=True):
            bar.update(1)
            if isinstance(result, UnreadableError):
                read.problems.append(Problem(ERROR, result.kind, item.source, None, item.key, str(result)))
                bad.add(item.key)
            elif everything:
                read.problems += [Problem(WARNING, kind, item.source, None, item.key, text) for kind, text in result]
    for read in reads:
        read.utterances = [item for item in read.utterances if item.key not in bad]


def _split(options: Options, prepared: Prepared) -> None:
    """Fill in the split and what follows from it. RecipeError where there is none that can be used."""
    corpus, problems = prepared.corpus, prepared.problems
    counts = Counter(item.speaker for item in corpus.evaluated_utterances)
    if not any(read.utterances for read in corpus.reads):
        raise RecipeError(f"{corpus.parts[0].folder}: no usable utterance; {_main_problem(problems)}")
    _refuse_duplicate_keys(corpus.reads)
    prepared.split = choose_split(options.request, corpus)
    if options.home.evaluated in [part.name for part in corpus.parts]:
        prepared.differences = collect.compare_with_expected(counts, prepared.split)
    prepared.splits, remarks = assign(prepared.split, corpus, options.request)
    problems += remarks
    problems += same_audio(prepared.splits, prepared.to_convert)
    prepared.unknown = _unknown(options, prepared)


def _main_problem(problems: list[Problem]) -> str:
    kinds = count_kinds(problems)
    return ", ".join(f"{kind} {count:,}" for (_, kind), count in list(kinds.items())[:3]) or "no clip and no transcript"


def _refuse_duplicate_keys(reads: Sequence[Read]) -> None:
    source_of: dict[str, str] = {}
    for read in reads:
        for item in read.utterances:
            if item.key in source_of:
                raise RecipeError(f"{item.source}: duplicate key {item.key}, also of {source_of[item.key]}; rename one")
            source_of[item.key] = item.source


def _unknown(options: Options, prepared: Prepared) -> dict[str, float]:
    """Return the share of each set's characters without a token. RecipeError where it is more than ``max_unknown``."""
    vocabulary = prepared.vocabulary
    if vocabulary is None:
        return {}
    lost = {name: unknown_share((item.target for item in prepared.splits[name]), vocabulary) for name in SPLITS}
    shares = {name: share for name, (share, _) in lost.items()}
    worst = max(shares, key=shares.__getitem__)
    if shares[worst] > options.max_unknown and not options.check_only:
        shown = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
        enough = f"{math.ceil(100 * shares[worst]) / 100:g}"
        raise RecipeError(
            f"{options.tokens}: the base model has no token for many characters ({shown}; most often"
            f" {' '.join(lost[worst][1][:10])}): it writes none of them, however long it is trained, and each is an"
            " error; take a base model with tokens for this corpus (--base), or go on all the same with"
            f" ++data_conf.max_unknown_characters={enough} (of this command: --max-unknown-characters {enough})"
        )
    return shares


def refuse_if_strict(prepared: Prepared, advice: str) -> None:
    """--strict: a RecipeError where there is any error or warning."""
    counts = Counter(problem.severity for problem in prepared.problems)
    if not counts[ERROR] + counts[WARNING]:
        return
    first = min(prepared.problems, key=lambda problem: SEVERITIES.index(problem.severity))
    where = f"{first.file}:{first.line}" if first.line else first.file
    total = f"{counts[ERROR]:,} errors and {counts[WARNING]:,} warnings"
    raise RecipeError(f"--strict: {total}, first {where}: {first.kind}: {first.detail}; {advice}")


def convert_audio(prepared: Prepared, out: Path) -> Path | None:
    """Make 16-kHz mono files of the clips that are none, beside ``out``; their utterances then point to these.

    Return their folder, None where no clip needs it. A clip that cannot be converted is left out, and listed.
    """
    cuts = prepared.to_convert
    wanted = [item for name in SPLITS for item in prepared.splits[name] if item.key in cuts]
    if not wanted:
        return None
    from asr.audio.convert import Job, convert

    folder = audio_folder(out)
    mark(folder, STAGE1)
    jobs = [Job(item.key, item.speaker, item.source, cuts[item.key], item.duration) for item in wanted]
    with ProgressBar("audio converted", len(jobs)) as bar:
        made, failed = convert(jobs, folder, advance=bar.update)
    prepared.problems += [Problem(ERROR, kind, path, None, key, detail) for key, path, kind, detail in failed]
    lost = {key for key, _, _, _ in failed}
    for name in SPLITS:
        prepared.splits[name] = [
            _converted(item, *made[item.key], cuts[item.key]) if item.key in made else item
            for item in prepared.splits[name]
            if item.key not in lost
        ]
        if not prepared.splits[name]:
            raise RecipeError(f"{folder}: the {name} split is empty: none of its clips could be converted to 16 kHz")
    return folder


def _converted(item: Utterance, path: str, samples: int, cut: Cut | None) -> Utterance:
    cut = cut or Cut()
    original = {"source": item.source, "start": cut.start, "seconds": cut.seconds, "channel": cut.channel}
    return item._replace(
        source=path,
        source_len=samples * FRAMES_PER_SECOND // MODEL_SAMPLE_RATE,
        duration=round(samples / MODEL_SAMPLE_RATE, 6),
        num_samples=samples,
        extra={**item.extra, "original": original},
    )


def add_statistics(prepared: Prepared) -> None:
    """Fill in ``prepared.statistics``: everything that data_statistics.txt and .html show."""
    vocabulary, characters = prepared.vocabulary, None
    if isinstance(vocabulary, Vocabulary):
        characters = vocabulary.characters
    elif vocabulary:
        used = {char for items in prepared.splits.values() for item in items for char in item.target}
        characters = frozenset(filter(vocabulary.can_write, used))
    statistics = collect.collect(prepared.about, prepared.splits, prepared.split, characters)
    if isinstance(vocabulary, Pieces):
        statistics["vocabulary"]["characters"] = None  # it was asked for the corpus's characters, not for all it has
    statistics["split"]["digest"] = split_digest(prepared.splits)
    statistics["differences"] = prepared.differences
    statistics["problems"] = [
        {"severity": severity, "kind": kind, "count": count}
        for (severity, kind), count in count_kinds(prepared.problems).items()
    ]
    prepared.statistics = statistics


def audio_elsewhere(prepared: Prepared) -> list[str]:
    """Return the audio that the manifests need outside the corpus's folder: run.sh watches these files too."""
    items = [item for name in SPLITS for item in prepared.splits[name]]
    paths = {item.source for item in items} | {item.extra.get("original", {}).get("source", "") for item in items}
    return sorted(path for path in paths if path and not within(path, prepared.corpus.root))
