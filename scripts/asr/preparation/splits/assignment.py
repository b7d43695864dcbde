"""Which split is used for a corpus, and which utterance falls into which set by it. Whatever is left out is listed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER
from asr.preparation.corpus import Corpus, speakers_of
from asr.preparation.problems import NOTE, WARNING, Problems
from asr.preparation.splits import rules
from asr.preparation.splits.budget import budget_of, within_budget
from asr.preparation.splits.by_text import divide_texts
from asr.preparation.splits.rules import Request, some
from asr.preparation.splits.split_file import SPLITS, Split, read_split
from asr.scoring.groups import UNKNOWN, read_column
from asr.scoring.normalize import scoring_form

Splits = dict[str, list[Utterance]]


def choose_split(request: Request, corpus: Corpus) -> Split:
    """Return the split that was asked for, else what there is: the corpus's own, its default, or 8:1:1 by speaker."""
    split = _asked_for(request, corpus) if request.rule else _suitable(request, corpus)
    return replace(split, text_disjoint=split.text_disjoint or request.text_disjoint)


def _asked_for(request: Request, corpus: Corpus) -> Split:
    argument, ratios, seed = request.argument, request.ratios, request.seed
    evaluated = speakers_of(corpus.evaluated.utterances)
    match request.rule:
        case "file":
            return read_split(Path(argument), _named_speakers(corpus))
        case "default":
            return _default(corpus)
        case "loso":
            return _with_all_in_train(rules.loso_split(evaluated, argument, ratios, seed), corpus)
        case "folds":
            return _fold(request, corpus)
        case "speaker-dependent":
            return rules.dependent_split(speakers_of(corpus.utterances), argument, ratios, seed, request.budget)
        case "seeded":
            return _seeded(request, corpus)
    if own := _own(corpus):
        return own
    raise RecipeError(f"{corpus.root}: --split own: the corpus comes with no sets and no split.yaml of its own")


def _suitable(request: Request, corpus: Corpus) -> Split:
    if own := _own(corpus):
        return own
    lacking, file = _lacking(corpus), _default_file(corpus)
    if request.is_home or not lacking:
        return _default(corpus)
    if file and read_split(file, None).method == "speaker-dependent":
        speakers = speakers_of(corpus.evaluated.utterances)
        split = rules.dependent_split(speakers, "", request.ratios, request.seed)
    else:
        split = _seeded(request, corpus)
    return replace(split, note=f"not {corpus.home.name}'s default, because {lacking}")


def _named_speakers(corpus: Corpus) -> set[str]:
    """Return all speakers that the corpus names, with or without a usable utterance."""
    return {speaker for part in corpus.parts for speaker in part.speakers}


def _own(corpus: Corpus) -> Split | None:
    """Return the split of the corpus's own sets, else of its split.yaml, else None."""
    if set_of := corpus.own_split:
        sets = {(set_of[item.key], item.speaker) for item in corpus.utterances}
        speakers = {name: tuple(sorted(speaker for set_, speaker in sets if set_ == name)) for name in SPLITS}
        return Split(speakers, "own", method="own")
    written = corpus.root / "split.yaml"
    return read_split(written, _named_speakers(corpus), "corpus") if written.is_file() else None


def _default_file(corpus: Corpus) -> Path | None:
    """Return the split file of the home corpus's part that this is, None where it is none."""
    return corpus.home.default_splits.get(corpus.evaluated.name)


def _default(corpus: Corpus) -> Split:
    """Return the home corpus's default split. RecipeError naming all that it needs and this corpus does not have."""
    file, part = _default_file(corpus), corpus.evaluated
    lacking = _lacking(corpus, most=99)
    if file is None or lacking:
        raise RecipeError(
            f"{part.folder}: {corpus.home.name}'s default split cannot be made, because {lacking}; restore what is"
            " missing, or choose another split: --split seeded, or --split FILE"
        )
    split = read_split(file, speakers_of(part.utterances), "default")
    return replace(split, default_of=f"{corpus.home.name} {part.name}")


def _lacking(corpus: Corpus, most: int = 4) -> str:
    """Return why the default split cannot be used, "" where it can: its speakers without usable clips, by cause."""
    file, part = _default_file(corpus), corpus.evaluated
    if file is None:
        return f"this is no part of {corpus.home.name}"
    unlabelled = {Path(item.file).name for item in part.problems if item.kind == "no label file"}  # in Audio
    causes: dict[str, list[str]] = {}
    for name in sorted(read_split(file, None).of_speaker().keys() - speakers_of(part.utterances)):
        no_clip = "no usable utterance of" if name in part.speakers else "no speaker"
        causes.setdefault("no label file of" if name in unlabelled else no_clip, []).append(name)
    words = [f"{cause} {some(names, most)}" for cause, names in causes.items()]
    return f"there is {'; '.join(words)}" if words else ""


def _seeded(request: Request, corpus: Corpus) -> Split:
    folder = corpus.parts[0].folder
    if _named_speakers(corpus) == {UNKNOWN_SPEAKER}:
        why = "nobody says who speaks, so there is no split by speaker; give --split speaker-dependent (by text)"
        raise RecipeError(f"{folder}: {why}")
    try:
        split = rules.seeded_split(speakers_of(corpus.evaluated.utterances), request.ratios, request.seed)
    except RecipeError as error:
        raise RecipeError(f"{folder}: {error}") from None
    return _with_all_in_train(split, corpus)


def _fold(request: Request, corpus: Corpus) -> Split:
    clips = Counter(item.speaker for item in corpus.evaluated.utterances)
    clips.update(dict.fromkeys(speakers_of(corpus.utterances), 0))
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
    more = speakers_of(corpus.utterances) - set(split.of_speaker())
    return replace(split, speakers={**split.speakers, "train": tuple(sorted({*split.speakers["train"], *more}))})


def assign(split: Split, corpus: Corpus, request: Request, problems: Problems) -> Splits:
    """Return the utterances by split; list who is left out. RecipeError where the split came out unusable."""
    divide = _by_speaker if split.method == "speakers" else _by_utterance
    splits = divide(split, corpus, problems)
    if split.method == "own" and not request.shared_speakers:
        rules.refuse_shared_speakers({name: speakers_of(splits[name]) for name in SPLITS}, corpus.root)
    if split.test_texts:
        _keep_texts_apart(splits, {scoring_form(text) for text in split.test_texts}, problems)
    if split.text_disjoint:
        _take_texts_of_test_from_train(splits, problems)
    if split.budget:
        _keep_within_budget(splits, split, corpus.root, problems)
    for name in SPLITS:
        if not splits[name]:
            speakers = ", ".join(split.speakers[name]) or "no speaker"
            where = split.file or corpus.root
            raise RecipeError(
                f"{where}: the {name} split is empty ({speakers}): no usable utterance in it{_remedy(split, corpus)}"
            )
    return splits


def _remedy(split: Split, corpus: Corpus) -> str:
    """Return what to do where a corpus that comes in sets lacks one, "" for any other."""
    if split.method != "own":
        return ""
    rule = "speaker-dependent" if UNKNOWN_SPEAKER in speakers_of(corpus.utterances) else "seeded"
    return f"; add this set to the corpus, or have all three drawn anew: --split {rule}"


def _by_speaker(split: Split, corpus: Corpus, problems: Problems) -> Splits:
    """Of several parts only one goes into val and test; their speakers' clips in others are left out of train too."""
    split_of, splits = split.of_speaker(), {name: [] for name in SPLITS}
    for part in corpus.parts:
        by_speaker: dict[str, list[Utterance]] = {speaker: [] for speaker in sorted(part.speakers)}
        for item in part.utterances:
            by_speaker[item.speaker].append(item)
        for speaker, utterances in by_speaker.items():
            name, count = split_of.get(speaker), f"{len(utterances):,} utterances"
            if name is None and utterances:  # of one who has none it is listed why
                detail = f"speaker {speaker} is in no split: {count} left out"
                problems.add(WARNING, "speaker in no split", part.folder, detail, key=speaker)
            elif name in ("val", "test") and part is not corpus.evaluated:
                detail = f"{name} speaker {speaker}: {count} of {part.name} left out of train"
                problems.add(NOTE, f"{part.name} of a val or test speaker", part.folder, detail, key=speaker)
            elif name:
                splits[name] += utterances
                if not utterances:
                    detail = f"{name} speaker {speaker} has no usable utterance"
                    problems.add(WARNING, "speaker without utterance", part.folder, detail, key=speaker)
    return splits


def _by_utterance(split: Split, corpus: Corpus, problems: Problems) -> Splits:
    """By each utterance's text (speaker-dependent), or as the corpus's own sets have it."""
    splits: Splits = {name: [] for name in SPLITS}
    chosen = {name: set(split.speakers[name]) for name in SPLITS}
    set_of = _sets_by_text(split, corpus) if split.method == "speaker-dependent" else corpus.own_split
    left_out: Counter[str] = Counter()
    for item in corpus.utterances:
        name = set_of.get(item.key, "")
        if item.speaker in chosen.get(name, ()):
            splits[name].append(item)
        else:
            left_out[item.speaker] += 1
    for speaker, count in sorted(left_out.items()):
        detail = f"speaker {speaker} is in no split: {count:,} utterances left out"
        problems.add(WARNING, "speaker in no split", corpus.root, detail, key=speaker)
    for name in SPLITS:
        for speaker in sorted(chosen[name] - speakers_of(splits[name])):
            detail = f"{name}: speaker {speaker} has no usable utterance{_why_empty(split, speaker, splits)}"
            problems.add(WARNING, "speaker without utterance", corpus.root, detail, key=speaker)
    return splits


def _sets_by_text(split: Split, corpus: Corpus) -> dict[str, str]:
    """Return {key: set} by a speaker-dependent split; texts that its speakers do not say are not in it."""
    counts: dict[str, Counter[str]] = {}
    for item in corpus.utterances:
        if item.speaker in split.speakers["train"]:
            counts.setdefault(scoring_form(item.target), Counter())[item.speaker] += 1
    assert split.ratios is not None
    assert split.seed is not None
    set_of = divide_texts(counts, split.ratios, split.seed)
    return {item.key: set_of.get(scoring_form(item.target), "") for item in corpus.utterances}


def _why_empty(split: Split, speaker: str, splits: Splits) -> str:
    """Return why a speaker-dependent split leaves a speaker out of a set."""
    texts = {scoring_form(item.target) for name in SPLITS for item in splits[name] if item.speaker == speaker}
    if split.method != "speaker-dependent" or not texts:
        return ""
    if len(texts) < len(SPLITS):
        return f" there: there are {len(texts)} different texts of this speaker, and a text is in one set only"
    return " there: each text that could be moved would leave a set of this or another speaker empty"


def _take_texts_of_test_from_train(splits: Splits, problems: Problems) -> None:
    tested, kept = {scoring_form(item.target) for item in splits["test"]}, []
    for item in splits["train"]:
        if scoring_form(item.target) in tested:
            detail = "left out of train: its text is in the test set too"
            problems.add(NOTE, "text of the test set", item.source, detail, key=item.key)
        else:
            kept.append(item)
    splits["train"] = kept


def _keep_texts_apart(splits: Splits, tested: set[str], problems: Problems) -> None:
    """Leave in test what says one of ``tested``, in train and val what does not, and list what that leaves out."""
    for name in SPLITS:
        kept = []
        for item in splits[name]:
            if (scoring_form(item.target) in tested) == (name == "test"):
                kept.append(item)
            else:
                detail = f"left out of {name}: {'not in' if name == 'test' else 'in'} the split file's test_texts"
                problems.add(NOTE, "text of another set", item.source, detail, key=item.key)
        splits[name] = kept


def _keep_within_budget(splits: Splits, split: Split, root: Path, problems: Problems) -> None:
    """Leave in train and val what the budget pays for, and list how much of whom it does not."""
    left_out: dict[str, list[Utterance]] = {}
    for name, seconds in budget_of(split).items():
        kept = within_budget(splits[name], seconds, split.seed or 0)
        for item in splits[name]:
            if item.key not in kept:
                left_out.setdefault(item.speaker, []).append(item)
        splits[name] = [item for item in splits[name] if item.key in kept]
    for speaker, items in sorted(left_out.items()):
        minutes = sum(item.duration for item in items) / 60
        detail = f"speaker {speaker}: {len(items):,} utterances ({minutes:.1f} min) left out of train and val"
        problems.add(NOTE, "beyond the budget", root, detail, key=speaker)
