"""Stage 1's work: read a corpus, check it, split it, and make its audio what training takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.made_by import STAGE1, mark
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, split_digest
from asr.preparation.corpora.registry import ReadParts, is_simulated, open_corpus, within
from asr.preparation.corpus import Cut
from asr.preparation.data_folder import audio_folder
from asr.preparation.header_cache import HeaderCache
from asr.preparation.problems import ERROR, NOTE, SEVERITIES, WARNING, Problem, count_kinds
from asr.preparation.speaker_check import forget_dummies, same_audio
from asr.preparation.splits.assignment import EVALUATION_PART, Corpus, Splits, assign, choose_split
from asr.preparation.splits.rules import Request
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.statistics import collect
from asr.preparation.target_text import TargetText
from asr.preparation.utterances import Read, Reader, read_utterances
from asr.preparation.vocabulary import Pieces, Vocabulary, read_vocabulary, unknown_share

MAX_UNKNOWN = 0.1  # of a set's characters without a token: above it a base model is refused
MANY_UNKNOWN = 0.01  # likewise: from here on it is warned of


@dataclass(frozen=True)
class Options:
    """What was asked for. ``out`` may be None where the corpus is only checked.

    read_parts: the reader of a corpus that is in none of the layouts of preparation.corpora (here CDSD's).
    """

    corpus: Path
    parts: tuple[str, ...]
    out: Path | None
    read_parts: ReadParts
    request: Request = field(default_factory=Request)
    tokens: Path | None = None
    max_seconds: float | None = None
    max_unknown: float = MAX_UNKNOWN
    check_audio: bool = False
    check_only: bool = False
    strict: bool = False
    lhotse: bool = False

    @property
    def header_cache(self) -> Path | None:
        """Where the cache of headers is kept: beside the data folder."""
        return self.out and self.out.absolute().parent / f".{self.out.name}.headers.sqlite"


@dataclass
class Prepared:
    """A corpus, checked and split: what goes into the data folder."""

    name: str
    root: Path
    split: Split
    splits: Splits
    problems: list[Problem]
    texts: TargetText
    to_convert: dict[str, Cut | None]
    about: dict[str, Any]
    vocabulary: Vocabulary | Pieces | None
    differences: list[str] | None  # from the published counts; None where there are none for this split
    headers: HeaderCache  # with rows to commit while there is something to wait for
    unknown: dict[str, float]  # share of each set's characters that the base model has no token for
    statistics: dict[str, Any] = field(default_factory=dict)


def prepare(options: Options, headers: HeaderCache | None = None) -> Prepared:
    """Read, check and split the corpus. A RecipeError where the result could not be used; nothing is written.

    With ``check_only`` whatever can be put on the list of problems is put there instead.
    """
    parts = open_corpus(options.corpus, options.parts, options.read_parts)
    faults = [fault for part in parts for fault in part.faults]
    if faults and not options.check_only:
        more = f" ({len(faults) - 1} more such: --check-only lists them)" if len(faults) > 1 else ""
        raise RecipeError(faults[0] + more)
    vocabulary, problems = _vocabulary(options.tokens)
    problems += [problem for part in parts for problem in part.problems]
    texts = TargetText()
    headers = headers or HeaderCache(None)
    reader = Reader(headers, texts, vocabulary, options.max_seconds)
    prefixes = [f"{part.name}-" if len(parts) > 1 else "" for part in parts]
    reads = [read_utterances(part, prefix, reader) for part, prefix in zip(parts, prefixes, strict=True)]
    _check_audio(reads, headers, options.check_audio)
    problems += [problem for read in reads for problem in read.problems]
    for part, read in zip(parts, reads, strict=True):
        problems += forget_dummies(part, read)
    corpus = Corpus(parts, reads)
    return _divided(options, corpus, problems, reader)


def _vocabulary(path: Path | None) -> tuple[Vocabulary | Pieces | None, list[Problem]]:
    vocabulary = read_vocabulary(path) if path else None
    if path and vocabulary is None:
        detail = "this model's tokenizer is not known here: transcripts are not checked against it"
        return None, [Problem(NOTE, "vocabulary not checked", str(path), None, "", detail)]
    return vocabulary, []


def _check_audio(reads: Sequence[Read], headers: HeaderCache, everything: bool) -> None:
    """Decode every clip, else those of float files alone, for errors; one with an error is left out."""
    clips = [(item, read) for read in reads for item in read.utterances if everything or item.key in read.floating]
    if not clips:
        return
    from asr.audio.check import check_all

    bad: set[str] = set()
    jobs = ((item.source, read.to_convert.get(item.key)) for item, read in clips)
    for (item, read), found in zip(clips, check_all(jobs, headers, total=len(clips)), strict=True):
        for severity, kind, detail in found:
            if severity != ERROR and not everything:
                continue
            read.problems.append(Problem(severity, kind, item.source, None, item.key, detail))
            if severity == ERROR:
                bad.add(item.key)
    for read in reads:
        read.utterances = [item for item in read.utterances if item.key not in bad]


def _divided(options: Options, corpus: Corpus, problems: list[Problem], reader: Reader) -> Prepared:
    splits: Splits = {name: [] for name in SPLITS}
    unknown: dict[str, float] = {}
    split = Split(dict.fromkeys(SPLITS, ()), "none")
    try:
        if not any(read.utterances for read in corpus.reads):
            raise RecipeError(f"{corpus.parts[0].folder}: no usable utterance; {_main_problem(problems)}")
        _refuse_double_keys(corpus.reads)
        split = choose_split(options.request, corpus)
        splits, remarks = assign(split, corpus, options.request)
        problems += remarks
        problems += same_audio(splits, {key: cut for read in corpus.reads for key, cut in read.to_convert.items()})
        unknown = _unknown(options, splits, reader.vocabulary)
    except RecipeError as error:
        if not options.check_only:
            raise
        problems.append(Problem(ERROR, "no split", str(corpus.root), None, "", str(error)))
    differences, names = None, [part.name for part in corpus.parts]
    if EVALUATION_PART in names:
        counts = Counter(item.speaker for item in corpus.reads[corpus.evaluated].utterances)
        differences = collect.compare_with_expected(counts, split)
    to_convert = {key: cut for read in corpus.reads for key, cut in read.to_convert.items()}
    root = corpus.root
    name = root.stem if root.is_file() else root.name
    about = {"name": name, "parts": [part for part in names if part], "simulated": (simulated := is_simulated(root))}
    about["cdsd"] = options.request.is_cdsd and not simulated
    made = (reader.texts, to_convert, about, reader.vocabulary, differences, reader.headers, unknown)
    return Prepared(name, root, split, splits, problems, *made)


def _unknown(options: Options, splits: Splits, vocabulary: Vocabulary | Pieces | None) -> dict[str, float]:
    """Share of each set's characters without a token. RecipeError where it is more than ``max_unknown``."""
    if vocabulary is None:
        return {}
    found = {name: unknown_share((item.target for item in splits[name]), vocabulary) for name in SPLITS}
    shares = {name: share for name, (share, _) in found.items()}
    worst = max(shares, key=shares.__getitem__)
    if shares[worst] > options.max_unknown and not options.check_only:
        shown = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
        enough = f"{math.ceil(100 * shares[worst]) / 100:g}"
        raise RecipeError(
            f"{options.tokens}: the base model has no token for many characters ({shown}; most often"
            f" {' '.join(found[worst][1][:10])}): it writes none of them, however long it is trained, and each is an"
            " error; take a base model with tokens for this corpus (--base), or go on all the same with"
            f" ++data_conf.max_unknown_characters={enough} (of this command: --max-unknown-characters {enough})"
        )
    return shares


def _main_problem(problems: list[Problem]) -> str:
    kinds = count_kinds(problems)
    return ", ".join(f"{kind} {count:,}" for (_, kind), count in list(kinds.items())[:3]) or "no clip and no transcript"


def _refuse_double_keys(reads: Sequence[Read]) -> None:
    seen: dict[str, str] = {}
    for read in reads:
        for item in read.utterances:
            if item.key in seen:
                raise RecipeError(f"{item.source}: its key {item.key} is also that of {seen[item.key]}; rename one")
            seen[item.key] = item.source


def refuse_if_strict(prepared: Prepared, where: str) -> None:
    """--strict: a RecipeError where there is any error or warning."""
    counts = Counter(problem.severity for problem in prepared.problems)
    if counts[ERROR] or counts[WARNING]:
        first = min((item for item in prepared.problems if item.severity != NOTE), key=_severity)
        place = f"{first.file}:{first.line}" if first.line else first.file
        found = f"{counts[ERROR]:,} errors and {counts[WARNING]:,} warnings"
        raise RecipeError(f"--strict: {found}, first {place}: {first.kind}: {first.detail}; {where}")


def _severity(problem: Problem) -> int:
    return SEVERITIES.index(problem.severity)


def convert_audio(prepared: Prepared, out: Path) -> Path | None:
    """Make 16-kHz mono files of the clips that are none, beside ``out``; their utterances then point to these.

    Returns their folder, None where no clip needs it. A clip that cannot be converted is left out, and listed.
    """
    wanted = [item for name in SPLITS for item in prepared.splits[name] if item.key in prepared.to_convert]
    if not wanted:
        return None
    from asr.audio.convert import Job, convert

    folder = audio_folder(out)
    mark(folder, STAGE1)
    jobs = [Job(item.key, item.speaker, item.source, prepared.to_convert[item.key], item.duration) for item in wanted]
    made, failed = convert(jobs, folder)
    prepared.problems += [Problem(ERROR, kind, path, None, key, detail) for key, path, kind, detail in failed]
    lost = {key for key, _, _, _ in failed}
    for name in SPLITS:
        utterances = prepared.splits[name]
        prepared.splits[name] = [_converted(item, made, prepared) for item in utterances if item.key not in lost]
        if not prepared.splits[name]:
            raise RecipeError(f"{folder}: the {name} split is empty: none of its clips could be converted to 16 kHz")
    return folder


def _converted(item: Utterance, made: dict[str, Any], prepared: Prepared) -> Utterance:
    if item.key not in made:
        return item
    path, samples = made[item.key]
    cut = prepared.to_convert[item.key] or Cut()
    original = {"source": item.source, "start": cut.start, "seconds": cut.seconds, "channel": cut.channel}
    frames = samples * FRAMES_PER_SECOND // MODEL_SAMPLE_RATE
    seconds, extra = round(samples / MODEL_SAMPLE_RATE, 6), {**item.extra, "original": original}
    return item._replace(source=path, source_len=frames, duration=seconds, num_samples=samples, extra=extra)


def add_statistics(prepared: Prepared) -> None:
    """Fill in ``prepared.statistics``: everything that data_statistics.txt and .html show."""
    vocabulary, characters = prepared.vocabulary, None
    if isinstance(vocabulary, Vocabulary):
        characters = vocabulary.characters
    elif vocabulary:
        said = {char for items in prepared.splits.values() for item in items for char in item.target}
        characters = frozenset(filter(vocabulary.can_write, said))
    found = collect.collect(prepared.about, prepared.splits, prepared.split, characters)
    if isinstance(vocabulary, Pieces):
        found["vocabulary"]["characters"] = None  # it was asked for the corpus's characters, not for all that it has
    found["split"]["digest"] = split_digest(prepared.splits)
    kinds = [
        {"severity": severity, "kind": kind, "count": count}
        for (severity, kind), count in count_kinds(prepared.problems).items()
    ]
    prepared.statistics = {**found, "differences": prepared.differences, "problems": kinds}


def audio_elsewhere(prepared: Prepared) -> list[str]:
    """Audio that the manifests need and that is not below the corpus's folder: run.sh watches these files too."""
    paths = set()
    for name in SPLITS:
        for item in prepared.splits[name]:
            for path in (item.source, item.extra.get("original", {}).get("source", "")):
                if path and not within(path, prepared.root):
                    paths.add(path)
    return sorted(paths)
