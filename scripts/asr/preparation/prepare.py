"""Stage 1's work: read a corpus, check it, split it, and make its audio what training takes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.audio.clip import Cut, UnreadableError
from asr.core.errors import RecipeError, at
from asr.core.made_by import STAGE1, mark
from asr.core.manifest import MODEL_SAMPLE_RATE, Utterance, source_len
from asr.preparation.corpora.registry import is_simulated, open_corpus
from asr.preparation.corpus import Corpus, HomeCorpus, Part
from asr.preparation.data_folder import audio_folder
from asr.preparation.problems import ERROR, NOTE, SEVERITIES, WARNING, Problems, count_kinds
from asr.preparation.speaker_check import forget_dummies, list_same_audio
from asr.preparation.splits.assignment import Splits, assign, choose_split
from asr.preparation.splits.rules import Request
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.statistics import collect
from asr.preparation.target_text import TargetText
from asr.preparation.utterances import Reader
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
    problems: Problems
    about: dict[str, Any]  # the corpus's name and parts, for the statistics
    differences: list[str] | None = None  # from the published counts; None where there are none for this split
    split: Split = field(default_factory=lambda: Split(dict.fromkeys(SPLITS, ()), "none"))
    splits: Splits = field(default_factory=lambda: {name: [] for name in SPLITS})
    unknown: dict[str, float] = field(default_factory=dict)  # share of each set's characters without a token
    fatal: list[str] = field(default_factory=list)  # with check_only: why stage 1 would stop

    @property
    def to_convert(self) -> dict[str, Cut | None]:
        """By key: the clips that training cannot take as they are."""
        return {key: cut for part in self.corpus.parts for key, cut in part.to_convert.items()}


def prepare(options: Options) -> Prepared:
    """Read, check and split the corpus. A RecipeError where the result could not be used; nothing is written.

    With ``check_only`` whatever can be put on the list of problems is put there instead.
    """
    parts = open_corpus(options.corpus, options.parts, options.home)
    faults = [fault for part in parts for fault in part.faults]
    if faults and not options.check_only:
        more = f" ({len(faults) - 1} more such: --check-only lists them)" if len(faults) > 1 else ""
        raise RecipeError(faults[0] + more)
    vocabulary = read_vocabulary(options.tokens) if options.tokens else None
    problems = Problems()
    if options.tokens and vocabulary is None:
        detail = "this model's tokenizer is not known here: transcripts are not checked against it"
        problems.add(NOTE, "vocabulary not checked", options.tokens, detail)
    for part in parts:
        problems += part.problems
    reader = Reader(problems, vocabulary, options.max_seconds)
    for part in parts:
        reader.read(part, f"{part.name}-" if len(parts) > 1 else "")
        _check_audio(part, options.check_audio, problems)
    for part in parts:
        forget_dummies(part, problems)
    corpus = Corpus(parts, options.home)
    prepared = Prepared(corpus, reader.texts, vocabulary, problems, _about(options, corpus), fatal=faults)
    try:
        _split(options, prepared)
    except RecipeError as error:
        if not options.check_only:
            raise
        problems.add(ERROR, "no split", corpus.root, str(error))
        prepared.fatal = prepared.fatal or [str(error)]
    return prepared


def _about(options: Options, corpus: Corpus) -> dict[str, Any]:
    root, simulated = corpus.root, is_simulated(corpus.root)
    return {
        "name": root.stem if root.is_file() else root.name,
        "parts": [part.name for part in corpus.parts if part.name],
        "simulated": simulated,
        options.home.name.lower(): options.request.is_home and not simulated,
    }


def _check_audio(part: Part, everything: bool, problems: Problems) -> None:
    """Decode every clip, else those of float files alone, for errors; one with an error is left out."""
    clips = [item for item in part.utterances if everything or item.key in part.floating]
    if not clips:
        return
    from asr.audio.check import check_all
    from asr.progress.reporter import open_bar

    bad: set[str] = set()
    checked = check_all([(item.source, part.to_convert.get(item.key)) for item in clips])
    with open_bar(len(clips), desc="audio checked", unit="clip") as bar:
        for item, result in zip(clips, checked, strict=True):
            bar.update()
            if isinstance(result, UnreadableError):
                problems.add(ERROR, result.kind, item.source, str(result), key=item.key)
                bad.add(item.key)
            elif everything:
                for kind, detail in result:
                    problems.add(WARNING, kind, item.source, detail, key=item.key)
    part.utterances = [item for item in part.utterances if item.key not in bad]


def _split(options: Options, prepared: Prepared) -> None:
    """Fill in the split and what follows from it. RecipeError where there is none that can be used."""
    corpus, problems = prepared.corpus, prepared.problems
    if not corpus.utterances:
        firsts = {problem.kind: problem for problem in reversed(problems) if problem.severity != NOTE}
        kinds = [
            f"{kind} ({count:,}), first {at(firsts[kind].file, firsts[kind].line)}: {firsts[kind].detail}"
            for (severity, kind), count in count_kinds(problems).items()
            if severity != NOTE and kind in firsts
        ]
        raise RecipeError(
            f"{corpus.parts[0].folder}: no usable utterance; {'; '.join(kinds[:3]) or 'no clip and no transcript'}"
        )
    prepared.split = choose_split(options.request, corpus)
    if corpus.evaluated.name == options.home.evaluated:
        counts = Counter(item.speaker for item in corpus.evaluated.utterances)
        prepared.differences = collect.compare_with_expected(counts, prepared.split)
    prepared.splits = assign(prepared.split, corpus, options.request, problems)
    list_same_audio(prepared.splits, prepared.to_convert, problems)
    prepared.unknown = _unknown(options, prepared)


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
    from asr.progress.reporter import open_bar

    folder = audio_folder(out)
    mark(folder, STAGE1)
    jobs = [Job(item.key, item.speaker, item.source, cuts[item.key], item.duration) for item in wanted]
    with open_bar(len(jobs), desc="audio converted", unit="clip") as bar:
        made, failed = convert(jobs, folder, advance=bar.update)
    for key, path, kind, detail in failed:
        prepared.problems.add(ERROR, kind, path, detail, key=key)
    for name in SPLITS:
        prepared.splits[name] = [
            _converted(item, *made[item.key], cuts[item.key] or Cut()) if item.key in made else item
            for item in prepared.splits[name]
            if item.key in made or item.key not in cuts
        ]
        if not prepared.splits[name]:
            raise RecipeError(f"{folder}: the {name} split is empty: none of its clips could be converted to 16 kHz")
    return folder


def _converted(item: Utterance, path: str, samples: int, cut: Cut) -> Utterance:
    return item._replace(
        source=path,
        source_len=source_len(samples, MODEL_SAMPLE_RATE),
        duration=round(samples / MODEL_SAMPLE_RATE, 6),
        num_samples=samples,
        extra={**item.extra, "original": {"source": item.source, **cut._asdict()}},
    )
