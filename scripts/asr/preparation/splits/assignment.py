"""Which split is used for a corpus, and which utterance falls into which set by it. Whatever is left out is listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER
from asr.preparation.corpus import Part
from asr.preparation.home_corpus import HomeCorpus
from asr.preparation.problems import NOTE, WARNING, Problem
from asr.preparation.splits import rules
from asr.preparation.splits.by_text import divide_texts
from asr.preparation.splits.rules import Request, some
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.utterances import Read
from asr.scoring.groups import UNKNOWN, read_column
from asr.scoring.normalize import scoring_form

Splits = dict[str, list[Utterance]]


@dataclass
class Corpus:
    """The parts of a corpus, each with what was read of it. ``home``: the recipe's own corpus, which this may be."""

    parts: Sequence[Part]
    reads: Sequence[Read]
    home: HomeCorpus

    @property
    def root(self) -> Path:
        """The corpus's own folder or file."""
        return self.parts[0].root

    @property
    def named_speakers(self) -> set[str]:
        """All speakers that the corpus names, with or without a usable utterance."""
        return {speaker for part in self.parts for speaker in part.speakers}

    @property
    def speakers(self) -> set[str]:
        """The speakers of usable utterances."""
        return {item.speaker for read in self.reads for item in read.utterances}

    @property
    def evaluated(self) -> int:
        """The index of the part that val and test are made of."""
        names = [part.name for part in self.parts]
        return names.index(self.home.evaluated) if self.home.evaluated in names else 0

    @property
    def evaluated_utterances(self) -> list[Utterance]:
        """The usable utterances of that part."""
        return self.reads[self.evaluated].utterances

    @property
    def evaluated_speakers(self) -> set[str]:
        """Their speakers."""
        return {item.speaker for item in self.evaluated_utterances}

    @property
    def default_split(self) -> Path | None:
        """The split file of the home corpus's part that this is, None where it is none."""
        return self.home.default_splits.get(self.parts[self.evaluated].name)

    @property
    def has_own_split(self) -> bool:
        """Whether the corpus comes as sets for train, val and test."""
        return any(read.own_split for read in self.reads)


def choose_split(request: Request, corpus: Corpus) -> Split:
    """Return the split that was asked for, else what there is: the corpus's own, its default, or 8:1:1 by speaker."""
    split = _asked_for(request, corpus) if request.rule else _suitable(request, corpus)
    return replace(split, text_disjoint=split.text_disjoint or request.text_disjoint)


def _asked_for(request: Request, corpus: Corpus) -> Split:
    argument, ratios, seed = request.argument, request.ratios, request.seed
    if request.rule == "file":
        return rules.read_for(Path(argument), corpus.named_speakers)
    if request.rule == "own":
        own = _own(corpus)
        if own is None:
            raise RecipeError(f"{corpus.root}: --split own: the corpus comes with no sets and no split.yaml of its own")
        return own
    if request.rule == "default":
        return _default(corpus)
    if request.rule == "loso":
        return _with_all_in_train(rules.loso_split(corpus.evaluated_speakers, argument, ratios, seed), corpus)
    if request.rule == "folds":
        return _fold(request, corpus)
    if request.rule == "speaker-dependent":
        return rules.dependent_split(corpus.speakers, argument, ratios, seed)
    return _seeded(request, corpus)


def _suitable(request: Request, corpus: Corpus) -> Split:
    if own := _own(corpus):
        return own
    lacking = _lacking(corpus)
    if request.is_home or not lacking:
        return _default(corpus)
    file = corpus.default_split
    if file and rules.read_split(file, None).method == "speaker-dependent":
        drawn = rules.dependent_split(corpus.evaluated_speakers, "", request.ratios, request.seed)
    else:
        drawn = _seeded(request, corpus)
    return replace(drawn, note=f"not {corpus.home.name}'s default, because {lacking}")


def _own(corpus: Corpus) -> Split | None:
    """Return the split of the corpus's own sets, else of its split.yaml, else None."""
    if corpus.has_own_split:
        sets = [(read.own_split[item.key], item.speaker) for read in corpus.reads for item in read.utterances]
        speakers = {name: tuple(sorted({speaker for set_, speaker in sets if set_ == name})) for name in SPLITS}
        return Split(speakers, "own", method="own")
    written = corpus.root / "split.yaml"
    return rules.read_for(written, corpus.named_speakers, "corpus") if written.is_file() else None


def _default(corpus: Corpus) -> Split:
    """Return the home corpus's default split. RecipeError naming all that it needs and this corpus does not have."""
    file, part = corpus.default_split, corpus.parts[corpus.evaluated]
    lacking = _lacking(corpus, most=99)
    if file is None or lacking:
        raise RecipeError(
            f"{part.folder}: {corpus.home.name}'s default split cannot be made, because {lacking}; restore what is"
            " missing, or choose another split: --split seeded, or --split FILE"
        )
    split = rules.read_for(file, corpus.evaluated_speakers, "default")
    return replace(split, default_of=f"{corpus.home.name} {part.name}")


def _lacking(corpus: Corpus, most: int = 4) -> str:
    """Return why the default split cannot be used, "" where it can: its speakers without usable clips, by cause."""
    if corpus.default_split is None:
        return f"this is no part of {corpus.home.name}"
    part, wanted = corpus.parts[corpus.evaluated], rules.read_split(corpus.default_split, None).of_speaker()
    unlabelled = {Path(item.file).name for item in part.problems if item.kind == "no label file"}  # in Audio
    causes: dict[str, list[str]] = {}
    for name in sorted(wanted.keys() - corpus.evaluated_speakers):
        no_clip = "no usable utterance of" if name in part.speakers else "no speaker"
        causes.setdefault("no label file of" if name in unlabelled else no_clip, []).append(name)
    words = [f"{cause} {some(names, most)}" for cause, names in causes.items()]
    return f"there is {'; '.join(words)}" if words else ""


def _seeded(request: Request, corpus: Corpus) -> Split:
    try:
        drawn = rules.seeded_split(corpus.evaluated_speakers, request.ratios, request.seed)
    except RecipeError as error:
        why = str(error)
        if corpus.named_speakers == {UNKNOWN_SPEAKER}:
            why = "nobody says who speaks, so there is no split by speaker; give --split speaker-dependent (by text)"
        raise RecipeError(f"{corpus.parts[0].folder}: {why}") from None
    return _with_all_in_train(drawn, corpus)


def _fold(request: Request, corpus: Corpus) -> Split:
    clips = Counter(item.speaker for item in corpus.evaluated_utterances)
    clips.update(dict.fromkeys(corpus.speakers, 0))
    column, group_of = rules.parse_fold(request.argument)[2], None
    if column:
        table = request.speaker_table or corpus.root / "speakers.tsv"
        group_of = read_column(table, column)
        if lacking := [speaker for speaker in clips if group_of.get(speaker, UNKNOWN) == UNKNOWN]:
            raise RecipeError(
                f"{table}: no {column} of speaker {some(lacking)}; --split folds:{request.argument} needs it of each"
            )
    return rules.fold_split(clips, request.argument, request.seed, group_of)


def _with_all_in_train(split: Split, corpus: Corpus) -> Split:
    """Put speakers of other parts alone into train: val and test are drawn from the part that is evaluated on."""
    more = corpus.speakers - set(split.of_speaker())
    return replace(split, speakers={**split.speakers, "train": tuple(sorted({*split.speakers["train"], *more}))})


def assign(split: Split, corpus: Corpus, request: Request) -> tuple[Splits, list[Problem]]:
    """Return the utterances by split, and who is left out. RecipeError where the split came out unusable."""
    if split.method == "speakers":
        splits, problems = _by_speaker(split, corpus)
    else:
        splits, problems = _by_utterance(split, corpus)
    if split.method == "own" and not request.shared_speakers:
        speakers_of = {name: {item.speaker for item in splits[name]} for name in SPLITS}
        rules.refuse_shared_speakers(speakers_of, corpus.root)
    if split.text_disjoint:
        problems += _take_texts_of_test_from_train(splits)
    for name in SPLITS:
        if not splits[name]:
            speakers = ", ".join(split.speakers[name]) or "no speaker"
            where = split.file or corpus.root
            raise RecipeError(f"{where}: the {name} split is empty ({speakers}): no usable utterance in it")
    return splits, problems


def _by_speaker(split: Split, corpus: Corpus) -> tuple[Splits, list[Problem]]:
    """Of several parts only one goes into val and test; their speakers' clips in others are left out of train too."""
    of_speaker = split.of_speaker()
    splits: Splits = {name: [] for name in SPLITS}
    problems = []

    def add(severity: str, kind: str, part: Part, speaker: str, detail: str) -> None:
        problems.append(Problem(severity, kind, str(part.folder), None, speaker, detail))

    for part, read in zip(corpus.parts, corpus.reads, strict=True):
        groups: dict[str, list[Utterance]] = {speaker: [] for speaker in sorted(part.speakers)}
        for item in read.utterances:
            groups[item.speaker].append(item)
        for speaker, utterances in groups.items():
            name, count = of_speaker.get(speaker), f"{len(utterances):,} utterances"
            if name is None and utterances:  # of one who has none it is listed why
                detail = f"speaker {speaker} is in no split: {count} left out"
                add(WARNING, "speaker in no split", part, speaker, detail)
            elif name in ("val", "test") and part is not corpus.parts[corpus.evaluated]:
                detail = f"{name} speaker {speaker}: {count} of {part.name} left out of train"
                add(NOTE, f"{part.name} of a val or test speaker", part, speaker, detail)
            elif name:
                splits[name] += utterances
                if not utterances:
                    detail = f"{name} speaker {speaker} has no usable utterance"
                    add(WARNING, "speaker without utterance", part, speaker, detail)
    return splits, problems


def _by_utterance(split: Split, corpus: Corpus) -> tuple[Splits, list[Problem]]:
    """By each utterance's text (speaker-dependent), or as the corpus's own sets have it."""
    splits: Splits = {name: [] for name in SPLITS}
    chosen = {name: set(split.speakers[name]) for name in SPLITS}
    set_of = _by_text(split, corpus) if split.method == "speaker-dependent" else None
    left_out: Counter[str] = Counter()
    for read in corpus.reads:
        for item in read.utterances:
            name = set_of(item) if set_of else read.own_split.get(item.key, "")
            if item.speaker in chosen.get(name, ()):
                splits[name].append(item)
            else:
                left_out[item.speaker] += 1
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
    """Return what gives an utterance's set by a speaker-dependent split; "" for a speaker who is not in it."""
    counts: dict[str, Counter[str]] = {}
    for read in corpus.reads:
        for item in read.utterances:
            if item.speaker in split.speakers["train"]:
                counts.setdefault(scoring_form(item.target), Counter())[item.speaker] += 1
    assert split.ratios is not None
    assert split.seed is not None
    sets = divide_texts(counts, split.ratios, split.seed)
    return lambda item: sets.get(scoring_form(item.target), "")


def _why_empty(split: Split, speaker: str, splits: Splits) -> str:
    """Return why a speaker-dependent split leaves a speaker out of a set."""
    texts = {scoring_form(item.target) for name in SPLITS for item in splits[name] if item.speaker == speaker}
    if split.method != "speaker-dependent" or not texts:
        return ""
    if len(texts) < len(SPLITS):
        return f" there: there are {len(texts)} different texts of this speaker, and a text is in one set only"
    return " there: each text that could be moved would leave a set of this or another speaker empty"


def _take_texts_of_test_from_train(splits: Splits) -> list[Problem]:
    tested, kept, problems = {scoring_form(item.target) for item in splits["test"]}, [], []
    for item in splits["train"]:
        if scoring_form(item.target) in tested:
            detail = "left out of train: its text is in the test set too"
            problems.append(Problem(NOTE, "text of the test set", item.source, None, item.key, detail))
        else:
            kept.append(item)
    splits["train"] = kept
    return problems
