"""What a corpus says of its speakers that cannot be so: dummies, and one recording in two sets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from asr.audio.clip import Cut
from asr.core.manifest import Utterance
from asr.core.names import DUMMIES, UNKNOWN_SPEAKER, known_speakers
from asr.preparation.corpus import Part
from asr.preparation.problems import WARNING, Problem
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.utterances import Read

_BLOCK = 1024  # bytes
_SILENCE = 8  # different bytes at most
_UNSEEN = "nobody can tell whether the test speakers are unseen"


def forget_dummies(part: Part, read: Read) -> list[Problem]:
    """Make speakers that are dummies unknown, by set where the corpus comes in sets; warn of all unknown ones.

    In CDSD's own layout a speaker is a folder and a label file, which nobody makes for each utterance.
    """
    sets: dict[str, list[Utterance]] = {}
    for item in read.utterances:
        sets.setdefault(read.own_split.get(item.key, ""), []).append(item)
    often = Counter(speaker for items in sets.values() for speaker in {item.speaker for item in items})
    shared = {name: any(often[item.speaker] > 1 for item in items) for name, items in sets.items()}  # no dummy is
    known = {name: items if part.name or shared[name] else known_speakers(items) for name, items in sets.items()}
    why = "the corpus does not say who speaks"
    if any(sets[name] != items for name, items in known.items()):
        why = DUMMIES
        every = (item for items in known.values() for item in items)
        read.utterances = sorted(every, key=lambda item: (item.speaker, item.key))
        part.speakers = sorted({item.speaker for item in read.utterances})
    if not any(item.speaker == UNKNOWN_SPEAKER for item in read.utterances):
        return []
    return [Problem(WARNING, "speakers not known", str(part.root), None, UNKNOWN_SPEAKER, f"{why}: {_UNSEEN}")]


def same_audio(splits: Mapping[str, Sequence[Utterance]], cuts: Mapping[str, Cut | None]) -> list[Problem]:
    """Name the utterances of one set that are the same recording as one of another, or as another test utterance.

    One file, or a copy of it. Only files as long as each other are looked at; copies are found where the text is the
    same too.
    """
    in_sets: dict[object, set[str]] = {}
    for name in SPLITS:
        for item in splits[name]:
            place = item.key if name == "test" else name  # a clip that is tested twice counts twice
            in_sets.setdefault(item.num_samples, set()).add(place)
            in_sets.setdefault((item.num_samples, item.target), set()).add(place)
    first: dict[object, tuple[str, str]] = {}
    problems = []
    for name in SPLITS:
        for item in splits[name]:
            alike = [len(in_sets[mark]) > 1 for mark in (item.num_samples, (item.num_samples, item.target))]
            marks = _marks(item, cuts.get(item.key), alike[1]) if alike[0] else []
            found = [first.setdefault(mark, (name, item.key)) for mark in marks]
            if same := next((key for set_, key in found if set_ != name), None):
                detail = f"in {name}, and the same recording as {same} in another set: was it copied?"
                problems.append(Problem(WARNING, "same audio in two sets", item.source, None, item.key, detail))
            elif name == "test" and (same := next((key for _, key in found if key != item.key), None)):
                detail = f"the same recording as {same}, which is tested too: it counts twice"
                problems.append(Problem(WARNING, "same audio twice in test", item.source, None, item.key, detail))
    return problems


def _marks(item: Utterance, cut: Cut | None, with_content: bool) -> list[object]:
    """Return what only the same recording has: file and cut, and bytes from the middle of a file if not silent.

    Nothing of a file that cannot be read: that is said elsewhere.
    """
    try:
        about = os.stat(item.source)
        marks: list[object] = [(about.st_dev, about.st_ino, cut)]
        if with_content and not cut:
            descriptor = os.open(item.source, os.O_RDONLY)
            try:
                block = os.pread(descriptor, _BLOCK, about.st_size // 2)
            finally:
                os.close(descriptor)
            marks += [(item.num_samples, item.target, block)] if len(set(block)) > _SILENCE else []
    except OSError:
        return []
    return marks
