"""What a corpus says of its speakers that cannot be so: dummies, and one recording in two sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from operator import attrgetter

from asr.audio.clip import Cut
from asr.core.manifest import Utterance
from asr.core.names import DUMMIES, UNKNOWN_SPEAKER, are_dummies
from asr.preparation.corpus import Part, speakers_of
from asr.preparation.problems import WARNING, Problems
from asr.preparation.splits.split_file import SPLITS

_BLOCK = 1024  # bytes
_SILENCE = 8  # different bytes at most


def forget_dummies(part: Part, problems: Problems) -> None:
    """Make speakers that are dummies unknown, by set where the corpus comes in sets; warn of all unknown ones.

    In the home corpus's own layout a speaker is a folder and a label file, which nobody makes for each utterance.
    """
    sets: dict[str, list[Utterance]] = {}
    for item in part.utterances:
        sets.setdefault(part.own_split.get(item.key, ""), []).append(item)
    why = "the corpus does not say who speaks"
    for name, items in sets.items():
        elsewhere = {item.speaker for other in sets if other != name for item in sets[other]} - {UNKNOWN_SPEAKER}
        speakers = [item.speaker for item in items]
        if not part.name and are_dummies(speakers) and elsewhere.isdisjoint(speakers):
            sets[name] = [item._replace(speaker=UNKNOWN_SPEAKER) for item in items]
            why = DUMMIES
    if why == DUMMIES:
        part.utterances = sorted((item for items in sets.values() for item in items), key=attrgetter("speaker", "key"))
        part.speakers = sorted(speakers_of(part.utterances))
    if UNKNOWN_SPEAKER in speakers_of(part.utterances):
        detail = f"{why}: nobody can tell whether the test speakers are unseen"
        problems.add(WARNING, "speakers not known", part.root, detail, key=UNKNOWN_SPEAKER)


def list_same_audio(
    splits: Mapping[str, Sequence[Utterance]], cuts: Mapping[str, Cut | None], problems: Problems
) -> None:
    """Name the utterances of one set that are the same recording as one of another, or as another test utterance.

    One file, or a copy of it; copies are looked for where length and text are the same.
    """
    places: dict[object, str] = {}  # "" where there are several
    for name in SPLITS:
        for item in splits[name]:
            place = item.key if name == "test" else name  # a clip that is tested twice counts twice
            if places.setdefault((item.num_samples, item.target), place) != place:
                places[item.num_samples, item.target] = ""
    first: dict[object, tuple[str, str]] = {}
    for name in SPLITS:
        for item in splits[name]:
            marks = _marks(item, cuts.get(item.key), not places[item.num_samples, item.target])
            alike = [first.setdefault(mark, (name, item.key)) for mark in marks]
            if same := next((key for set_, key in alike if set_ != name), None):
                detail = f"in {name}, and the same recording as {same} in another set: was it copied?"
                problems.add(WARNING, "same audio in two sets", item.source, detail, key=item.key)
            elif name == "test" and (same := next((key for _, key in alike if key != item.key), None)):
                detail = f"the same recording as {same}, which is tested too: it counts twice"
                problems.add(WARNING, "same audio twice in test", item.source, detail, key=item.key)


def _marks(item: Utterance, cut: Cut | None, with_content: bool) -> list[object]:
    """Return what only the same recording has: file and cut, and bytes from the middle of a file if not silent.

    Nothing of a file that cannot be read: that is said elsewhere.
    """
    try:
        about = os.stat(item.source)
        marks: list[object] = [(about.st_dev, about.st_ino, cut)]
        if with_content and not cut:
            with open(item.source, "rb", buffering=0) as stream:
                block = os.pread(stream.fileno(), _BLOCK, about.st_size // 2)
            marks += [(item.num_samples, item.target, block)] if len(set(block)) > _SILENCE else []
    except OSError:
        return []
    return marks
