"""Which split is used for a corpus, and which utterance falls into which split by it. Whatever is left out is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.errors import RecipeError
from asr.manifest import Utterance
from asr.normalize import normalize
from corpus import UNKNOWN_SPEAKER, Part
from problems import NOTE, WARNING, Problem
from split import DEFAULTS, SPLITS, Split
from split_rules import (
    Request,
    default_split,
    dependent_split,
    loso_split,
    missing_from_default,
    own_split,
    read_for,
    refuse_shared_speakers,
    seeded_split,
    text_split,
)
from utterances import Read

EVALUATION_PART = "1h"  # where two parts meet, val and test are made of this one
Splits = dict[str, list[Utterance]]


@dataclass
class Corpus:
    """The parts of a corpus, each with what was read of it."""

    parts: Sequence[Part]
    reads: Sequence[Read]
    speakers: set[str] = field(init=False)  # all that the corpus names, with or without a usable utterance

    def __post_init__(self) -> None:
        self.speakers = {speaker for part in self.parts for speaker in part.speakers}

    @property
    def evaluated(self) -> int:
        """The place of the part that val and test are made of."""
        names = [part.name for part in self.parts]
        return names.index(EVALUATION_PART) if EVALUATION_PART in names else 0

    @property
    def has_own_split(self) -> bool:
        """Whether the corpus comes as sets for train, val and test."""
        return any(read.own_split for read in self.reads)

    @property
    def root(self) -> Path:
        """The corpus's own folder or file."""
        return self.parts[0].root


def choose_split(request: Request, corpus: Corpus) -> Split:
    """The split that was asked for, else the corpus's own, CDSD's default, or 8:1:1 by speaker, whichever there is."""
    split = _asked_for(request, corpus) if request.rule else _suitable(request, corpus)
    return replace(split, text_disjoint=split.text_disjoint or request.text_disjoint)


def _asked_for(request: Request, corpus: Corpus) -> Split:
    heard = {item.speaker for read in corpus.reads for item in read.utterances}
    if request.rule == "file":
        return read_for(Path(request.argument), corpus.speakers)
    if request.rule == "own":
        own = _own(corpus)
        if own is None:
            raise RecipeError(f"{corpus.root}: --split own: the corpus comes with no sets and no split.yaml of its own")
        return own
    if request.rule == "default":
        default = _default(corpus)
        if default is None:
            lacking = ", ".join(missing_from_default(corpus.speakers)[:8]) or "part 1h or 10h of CDSD"
            raise RecipeError(f"{corpus.root}: --split default: is for CDSD, and this corpus has no {lacking}")
        return default
    if request.rule == "loso":
        return _with_all_in_train(loso_split(_evaluated(corpus), request.argument, request.ratios, request.seed), heard)
    if request.rule == "speaker-dependent":
        return dependent_split(heard, request.argument, request.ratios, request.seed)
    return _seeded(request, corpus)


def _suitable(request: Request, corpus: Corpus) -> Split:
    return _own(corpus) or _default(corpus) or _seeded(request, corpus)


def _own(corpus: Corpus) -> Split | None:
    written = corpus.root / "split.yaml"
    if corpus.has_own_split:
        found: dict[str, set[str]] = {name: set() for name in SPLITS}
        for read in corpus.reads:
            for item in read.utterances:
                found[read.own_split[item.key]].add(item.speaker)
        return own_split(found)
    return read_for(written, corpus.speakers, "corpus") if written.is_file() else None


def _default(corpus: Corpus) -> Split | None:
    names = [part.name for part in corpus.parts]
    if EVALUATION_PART in names:
        return default_split(corpus.parts[names.index(EVALUATION_PART)].speakers)
    if names == ["10h"]:
        heard = {item.speaker for item in corpus.reads[0].utterances}
        return read_for(DEFAULTS["10h"], heard, "default")
    return None


def _seeded(request: Request, corpus: Corpus) -> Split:
    try:
        drawn = seeded_split(_evaluated(corpus), request.ratios, request.seed)
    except RecipeError as error:
        raise RecipeError(f"{corpus.parts[0].folder}: {error}") from None
    heard = {item.speaker for read in corpus.reads for item in read.utterances}
    return replace(_with_all_in_train(drawn, heard), note=_almost_default(request, corpus))


def _evaluated(corpus: Corpus) -> set[str]:
    return {item.speaker for item in corpus.reads[corpus.evaluated].utterances}


def _with_all_in_train(split: Split, heard: set[str]) -> Split:
    """Speakers that only another part has train: val and test are drawn from the part that is evaluated on."""
    more = heard - set(split.of_speaker())
    return replace(split, speakers={**split.speakers, "train": tuple(sorted({*split.speakers["train"], *more}))})


def _almost_default(request: Request, corpus: Corpus) -> str:
    """A word where the default split was not taken because a few of its speakers are not there."""
    missing = missing_from_default(corpus.speakers)
    if request.rule or EVALUATION_PART not in [part.name for part in corpus.parts] or len(missing) > 4:
        return ""
    return f"CDSD's default split needs {', '.join(missing)} too"


def assign(split: Split, corpus: Corpus, request: Request) -> tuple[Splits, list[Problem]]:
    """Utterances by split, and who is left out. RecipeError where the split came out unusable."""
    if split.method == "speakers":
        splits, problems = _by_speaker(split, corpus)
    else:
        splits, problems = _by_utterance(split, corpus)
    if split.method == "own":
        if not request.shared_speakers:
            found = {name: {item.speaker for item in splits[name]} for name in SPLITS}
            refuse_shared_speakers(found, corpus.root, UNKNOWN_SPEAKER)
        if UNKNOWN_SPEAKER in split.of_speaker():
            detail = "the corpus does not say who speaks: nobody can tell whether the test speakers are unseen"
            problems.append(Problem(WARNING, "speakers not known", str(corpus.root), None, UNKNOWN_SPEAKER, detail))
    if split.text_disjoint:
        problems += _take_texts_of_test_from_train(splits)
    for name in SPLITS:
        if not splits[name]:
            speakers = ", ".join(split.speakers[name]) or "no speaker"
            where = split.file or corpus.root
            raise RecipeError(f"{where}: the {name} split is empty ({speakers}): no usable utterance in it")
    return splits, problems


def _by_speaker(split: Split, corpus: Corpus) -> tuple[Splits, list[Problem]]:
    """Of two parts only 1h goes into val and test; what their speakers said in 10h is left out, not trained on."""
    of_speaker = split.of_speaker()
    splits: Splits = {name: [] for name in SPLITS}
    problems = []
    for part, read in zip(corpus.parts, corpus.reads, strict=True):
        groups: dict[str, list[Utterance]] = {speaker: [] for speaker in sorted(part.speakers)}
        for item in read.utterances:
            groups[item.speaker].append(item)
        folder = str(part.folder)
        for speaker, utterances in groups.items():
            name = of_speaker.get(speaker)
            if name is None and not utterances:
                continue  # why it has none is said already
            if name is None:
                detail = f"speaker {speaker} is in no split: {len(utterances):,} utterances left out"
                problems.append(Problem(WARNING, "speaker in no split", folder, None, speaker, detail))
            elif name != "train" and len(corpus.parts) > 1 and part.name != EVALUATION_PART:
                detail = f"{name} speaker {speaker}: {len(utterances):,} utterances of {part.name} left out of train"
                problems.append(Problem(NOTE, "10h of a val or test speaker", folder, None, speaker, detail))
            else:
                splits[name] += utterances
                if not utterances:
                    detail = f"{name} speaker {speaker} has no usable utterance"
                    problems.append(Problem(WARNING, "speaker without utterance", folder, None, speaker, detail))
    return splits, problems


def _by_utterance(split: Split, corpus: Corpus) -> tuple[Splits, list[Problem]]:
    """By each utterance's text (speaker-dependent), or as the corpus's own sets have it."""
    splits: Splits = {name: [] for name in SPLITS}
    chosen = {name: set(split.speakers[name]) for name in SPLITS}
    left_out: dict[str, int] = {}
    for read in corpus.reads:
        for item in read.utterances:
            name = (
                read.own_split.get(item.key, "") if split.method == "own" else text_split(normalize(item.target), split)
            )
            if item.speaker in chosen.get(name, ()):
                splits[name].append(item)
            else:
                left_out[item.speaker] = left_out.get(item.speaker, 0) + 1
    root, problems = str(corpus.root), []
    for speaker, count in sorted(left_out.items()):
        detail = f"speaker {speaker} is in no split: {count:,} utterances left out"
        problems.append(Problem(WARNING, "speaker in no split", root, None, speaker, detail))
    for name in SPLITS:
        for speaker in sorted(chosen[name] - {item.speaker for item in splits[name]}):
            detail = f"{name}: speaker {speaker} has no usable utterance"
            problems.append(Problem(WARNING, "speaker without utterance", root, None, speaker, detail))
    return splits, problems


def _take_texts_of_test_from_train(splits: Splits) -> list[Problem]:
    said = {normalize(item.target) for item in splits["test"]}
    kept, problems = [], []
    for item in splits["train"]:
        if normalize(item.target) in said:
            detail = "left out of train: the test set says the same"
            problems.append(Problem(NOTE, "text of the test set", item.source, None, item.key, detail))
        else:
            kept.append(item)
    splits["train"] = kept
    return problems
