"""CDSD as it is packed for challenges: sets and all, each speaker's clips and labels in a folder of the speaker's own.

    CDSD-10h/<speaker>/wav/{train,dev,test}/<utt>.wav
    CDSD-10h/<speaker>/transcript/<speaker>_label.txt           or CDSD-10h/transcript/<speaker>_label.txt

A speaker is in all sets: give ``--split own+shared-speakers`` to take them as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

from asr.audio.headers import EXTENSIONS
from asr.core.errors import RecipeError
from asr.preparation.corpus import OWN_SPLITS, Clip, Part, subfolders
from asr.preparation.joining import Clips
from asr.preparation.problems import ERROR, WARNING
from labels import LabelFileError, read_label_file


def find(root: Path) -> Path | None:
    """Return the folder that holds the speakers' folders: ``root``, or one below it."""
    return next((folder for folder in (root, *subfolders(root)) if _speakers(folder)), None) if root.is_dir() else None


def _speakers(folder: Path) -> list[Path]:
    return [inner for inner in subfolders(folder) if any(os.path.isdir(inner / "wav" / name) for name in OWN_SPLITS)]


def read(folder: Path) -> Part:
    """Join the clips of every speaker with the labels. Audio is not looked at here."""
    clips = Clips(Part("", folder, folder))
    for speaker in _speakers(folder):
        _read_speaker(clips, folder, speaker)
    part = clips.finish()
    if not part.clips:
        raise RecipeError(f"{folder}: no clip with a label in transcript/<speaker>_label.txt")
    return part


def _read_speaker(clips: Clips, folder: Path, speaker: Path) -> None:
    name, problems = speaker.name, clips.part.problems
    file = next((path / f"{name}_label.txt" for path in (speaker / "transcript", folder / "transcript")
                 if (path / f"{name}_label.txt").is_file()), None)  # fmt: skip
    if file is None:
        problems.add(
            ERROR, "no label file", speaker, f"no transcript/{name}_label.txt: the speaker's clips are left out"
        )
        return
    try:
        labels, more = read_label_file(file)
    except LabelFileError as error:
        problems.add(ERROR, "broken label file", error.file, error.reason, error.line)
        clips.part.faults.append(str(error))
        return
    problems += more
    places = {
        path.stem: (str(path), OWN_SPLITS.get(inner.name, ""))
        for inner in subfolders(speaker / "wav", problems)
        for path in sorted(inner.iterdir())
        if path.suffix.lower() in EXTENSIONS and path.name[0] != "."
    }
    for label in labels:
        if label.utt in places:
            audio, split = places[label.utt]
            clips.add(Clip(label.utt, name, audio, label.text, label.file, label.line, None, split))
        else:
            problems.add(
                ERROR, "transcript without wav", file, f"no {label.utt}.wav in {name}/wav", label.line, label.utt
            )
    named = {label.utt for label in labels}
    for utt in places.keys() - named:
        problems.add(WARNING, "wav without transcript", places[utt][0], f"its id is not in {file.name}", key=utt)
