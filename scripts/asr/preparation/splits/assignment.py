"""Which split is used for a corpus, and which utterance falls into which split by it. Whatever is left out is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER
from asr.preparation.corpus import Part
from asr.preparation.problems import NOTE, WARNING, Problem
from asr.preparation.splits.by_text import divide_texts
from asr.preparation.splits.rules import (
    Request,
    default_split,
    dependent_split,
    fold_split,
    loso_split,
    missing_from_default,
    own_split,
    parse_fold,
    read_for,
    refuse_shared_speakers,
    seeded_split,
    some,
)
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.utterances import Read
from asr.scoring.groups import UNKNOWN, read_column
from asr.scoring.normalize import scoring_form

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
    def default_part(self) -> str | None:
        """The part whose default split of CDSD's is meant, None where this has no part of CDSD."""
        names = [part.name for part in self.parts]
        return EVALUATION_PART if EVALUATION_PART in names else "10h" if names == ["10h"] else None

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
        return _default(corpus)
    if request.rule == "loso":
        return _with_all_in_train(loso_split(_evaluated(corpus), request.argument, request.ratios, request.seed), heard)
    if request.rule == "folds":
        return _fold(request, corpus)
    if request.rule == "speaker-dependent":
        return dependent_split(heard, request.argument, request.ratios, request.seed)
    return _seeded(request, corpus)


def _suitable(request: Request, corpus: Corpus) -> Split:
    if own := _own(corpus):
        return own
    if request.is_cdsd or not (lacking := _lacking(corpus)):
        return _default(corpus)
    if corpus.default_part == "10h":
        drawn = dependent_split(_evaluated(corpus), "", request.ratios, request.seed)
    else:
        drawn = _seeded(request, corpus)
    return replace(drawn, note=f"not CDSD's default, because {lacking}")


def _own(corpus: Corpus) -> Split | None:
    written = corpus.root / "split.yaml"
    if corpus.has_own_split:
        found: dict[str, set[str]] = {name: set() for name in SPLITS}
        for read in corpus.reads:
            for item in read.utterances:
                found[read.own_split[item.key]].add(item.speaker)
        return own_split(found)
    return read_for(written, corpus.speakers, "corpus") if written.is_file() else None


def _default(corpus: Corpus) -> Split:
    """CDSD's default split. RecipeError naming all that it needs and this corpus does not have."""
    if lacking := _lacking(corpus, most=99):
        raise RecipeError(
            f"{corpus.parts[corpus.evaluated].folder}: CDSD's default split cannot be made, because {lacking}; restore"
            " what is missing, or choose another split: --split seeded, or --split FILE"
        )
    assert corpus.default_part is not None
    return default_split(_evaluated(corpus), corpus.default_part)


def _lacking(corpus: Corpus, most: int = 4) -> str:
    """Why CDSD's default split cannot be used, empty where it can: its speakers of whom nothing is usable, by cause."""
    if corpus.default_part is None:
        return "this is no part of CDSD"
    part = corpus.parts[corpus.evaluated]
    unlabelled = {Path(item.file).name for item in part.problems if item.kind == "no label file"}  # in Audio
    causes: dict[str, list[str]] = {}
    for name in missing_from_default(_evaluated(corpus), corpus.default_part):
        no_clip = "no usable utterance of" if name in part.speakers else "no speaker"
        causes.setdefault("no label file of" if name in unlabelled else no_clip, []).append(name)
    words = [f"{cause} {some(names, most)}" for cause, names in causes.items()]
    return f"there is {'; '.join(words)}" if words else ""


def _seeded(request: Request, corpus: Corpus) -> Split:
    try:
        drawn = seeded_split(_evaluated(corpus), request.ratios, request.seed)
    except RecipeError as error:
        why = str(error)
        if corpus.speakers == {UNKNOWN_SPEAKER}:
            why = "nobody says who speaks, so there is no split by speaker; give --split speaker-dependent (by text)"
        raise RecipeError(f"{corpus.parts[0].folder}: {why}") from None
    heard = {item.speaker for read in corpus.reads for item in read.utterances}
    return _with_all_in_train(drawn, heard)


def _fold(request: Request, corpus: Corpus) -> Split:
    clips = Counter(item.speaker for item in corpus.reads[corpus.evaluated].utterances)
    clips.update({item.speaker: 0 for read in corpus.reads for item in read.utterances})
    column, group_of = parse_fold(request.argument)[2], None
    if column:
        table = request.speaker_table or corpus.root / "speakers.tsv"
        group_of = read_column(table, column)
        if lacking := [speaker for speaker in clips if group_of.get(speaker, UNKNOWN) == UNKNOWN]:
            raise RecipeError(
                f"{table}: no {column} of speaker {some(lacking)}; --split folds:{request.argument} needs it of each"
            )
    return fold_split(clips, request.argument, request.seed, group_of)


def _evaluated(corpus: Corpus) -> set[str]:
    return {item.speaker for item in corpus.reads[corpus.evaluated].utterances}


def _with_all_in_train(split: Split, heard: set[str]) -> Split:
    """Speakers that only another part has train: val and test are drawn from the part that is evaluated on."""
    more = heard - set(split.of_speaker())
    return replace(split, speakers={**split.speakers, "train": tuple(sorted({*split.speakers["train"], *more}))})


def assign(split: Split, corpus: Corpus, request: Request) -> tuple[Splits, list[Problem]]:
    """Utterances by split, and who is left out. RecipeError where the split came out unusable."""
    if split.method == "speakers":
        splits, problems = _by_speaker(split, corpus)
    else:
        splits, problems = _by_utterance(split, corpus)
    if split.method == "own" and not request.shared_speakers:
        found = {name: {item.speaker for item in splits[name]} for name in SPLITS}
        refuse_shared_speakers(found, corpus.root, UNKNOWN_SPEAKER)
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
    set_of = _by_text(split, corpus) if split.method == "speaker-dependent" else None
    left_out: dict[str, int] = {}
    for read in corpus.reads:
        for item in read.utterances:
            name = set_of(item) if set_of else read.own_split.get(item.key, "")
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
            detail = f"{name}: speaker {speaker} has no usable utterance{_why_empty(split, speaker, splits)}"
            problems.append(Problem(WARNING, "speaker without utterance", root, None, speaker, detail))
    return splits, problems


def _by_text(split: Split, corpus: Corpus) -> Callable[[Utterance], str]:
    """Tells the set of an utterance by a speaker-dependent split; empty for a speaker who is not in it."""
    counts: dict[str, dict[str, int]] = {}
    for read in corpus.reads:
        for item in read.utterances:
            if item.speaker in split.speakers["train"]:
                said = counts.setdefault(scoring_form(item.target), {})
                said[item.speaker] = said.get(item.speaker, 0) + 1
    assert split.ratios is not None
    assert split.seed is not None
    sets = divide_texts(counts, split.ratios, split.seed)
    return lambda item: sets.get(scoring_form(item.target), "")


def _why_empty(split: Split, speaker: str, splits: Splits) -> str:
    """Why a speaker-dependent split leaves a speaker out of a set."""
    texts = {scoring_form(item.target) for name in SPLITS for item in splits[name] if item.speaker == speaker}
    if split.method != "speaker-dependent" or not texts:
        return ""
    if len(texts) < len(SPLITS):
        return f" there: there are {len(texts)} different texts of this speaker, and a text is in one set only"
    return " there: each text that could be moved would leave a set of this or another speaker empty"


def _take_texts_of_test_from_train(splits: Splits) -> list[Problem]:
    said = {scoring_form(item.target) for item in splits["test"]}
    kept, problems = [], []
    for item in splits["train"]:
        if scoring_form(item.target) in said:
            detail = "left out of train: the test set says the same"
            problems.append(Problem(NOTE, "text of the test set", item.source, None, item.key, detail))
        else:
            kept.append(item)
    splits["train"] = kept
    return problems
