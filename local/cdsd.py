"""CDSD as it is on disk: finding a part's folders, and joining clips with transcripts.

    <root>/after_catting/{1h,10h}/Audio/<speaker>/<utt>.wav
    <root>/after_catting/{1h,10h}/Text/<speaker>_label.txt      "<utt> <transcript>" a line

The speaker is the folder, never the id: in 10h speaker 20's ids begin with S001. An id is unique within a part only:
hundreds occur in both parts with different texts. What does not fit is listed and left out, never dropped silently.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cdsd_challenge
from asr.audio.headers import EXTENSIONS
from asr.core.errors import RecipeError
from asr.core.names import plain_name
from asr.preparation.corpora.listed import likely_form
from asr.preparation.corpora.registry import OTHER_LAYOUTS
from asr.preparation.corpus import UNREADABLE, Clip, HomeCorpus, Part, subfolders, tidy_name, unsafe_name
from asr.preparation.problems import ERROR, NOTE, WARNING
from cdsd_facts import PARTS, SPLIT_FILES
from labels import Label, LabelFileError, read_label_file
from likely_cause import likely_cause

_LABEL_FILE = re.compile(r"(.+?)[_-]label\.txt", re.IGNORECASE)  # speaker 20 of 10h has a dash


def find_part(corpus: str | os.PathLike[str], part: str) -> Path:
    """Return the folder of ``part`` (the one that holds Audio), also from one or two levels too high or too low."""
    root = Path(os.path.abspath(corpus))
    if not root.is_dir():
        there = "is not a folder" if root.exists() else "no such folder"
        raise RecipeError(f"{root}: {there}; --corpus must name CDSD's folder (the one that holds after_catting)")
    for level in _candidates(root, part):
        corpora = [folder for folder in level if child(folder, "audio")]
        if len(corpora) > 1:
            names = " and ".join(map(str, corpora[:3]))
            raise RecipeError(f"{root}: several corpora below it: {names}; give one of them as --corpus")
        if corpora:
            return corpora[0]
    of_cdsd = any(child(folder, "audio") for name in PARTS for level in _candidates(root, name) for folder in level)
    if not of_cdsd and (advice := likely_form(root)):
        raise RecipeError(f"{root}: {advice}; read are CDSD's after_catting/{part}/Audio and Text, {OTHER_LAYOUTS}")
    looked = f"looked for after_catting/{part}/Audio, {part}/Audio and Audio, here and up to two levels up and down"
    raise RecipeError(
        f"{root}: no part {part} of CDSD; {looked}; and no corpus of another form that is read: {OTHER_LAYOUTS};"
        f" there is: {_listing(root)}"
    )


def corpus_root(folder: Path) -> Path:
    """Return the corpus's own folder, given a part's: above after_catting and 1h where they are there."""
    root = folder.parent if folder.name in PARTS else folder
    return root.parent if root.name == "after_catting" else root


def child(folder: Path, name: str) -> Path | None:
    """Return the subfolder called ``name`` in any case (some copies have text/ for Text/)."""
    same = [entry for entry in subfolders(folder) if entry.name.lower() == name]
    if len(same) > 1:
        raise RecipeError(f"{folder}: both {same[0].name}/ and {same[1].name}/ are there; keep one of them")
    return same[0] if same else None


def _candidates(root: Path, part: str) -> Iterator[list[Path]]:
    """Yield the folders that may be the part's, those of one level at a time."""
    yield [root / "after_catting" / part]
    yield [root / part]
    for folder in (root, root.parent) if root.name.lower() in ("audio", "text") else (root,):
        yield [folder.parent / part if folder.name in PARTS else folder]
    below = [root]
    for _ in range(2):
        below = [inner for folder in below for inner in subfolders(folder)]
        parts = [folder / "after_catting" / part for folder in below] + [folder / part for folder in below]
        # The older release of 24 speakers: Data/Aftercutting/{Audio,Text}, without parts.
        yield parts + [folder for folder in below if folder.name not in PARTS]


def _listing(folder: Path, most: int = 8) -> str:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


class Labels(NamedTuple):
    """A speaker's labels by id, a duplicate id with several; ``refused`` are the ids of lines that are no labels."""

    file: Path
    by_utt: dict[str, list[Label]]
    refused: set[str]


def read_part(folder: Path, name: str) -> Part:
    """Join the clips of a part with its transcripts. Audio is not looked at here.

    RecipeError where there is no speaker, or no label file at all. A label file that is empty or no text is one of
    ``faults``, with which nothing can be prepared.
    """
    part = Part(name, folder, corpus_root(folder))
    audio, text = child(folder, "audio"), child(folder, "text")
    if audio is None or text is None:
        raise RecipeError(f"{folder}: no folder {'Text' if audio else 'Audio'}; there is: {_listing(folder)}")
    label_files = _label_files(part, text)
    folders: dict[str, list[Path]] = {}  # two of them may look alike
    there = subfolders(audio, part.problems)
    for problem in part.problems:
        if problem.kind == UNREADABLE:  # nothing is known of this speaker's clips
            label_files.pop(plain_name(os.path.basename(problem.file)), None)
    for path in there:
        if _nameable(part, speaker := tidy_name(part.problems, path.name, path), path):
            folders.setdefault(speaker, []).append(path)
    if not folders:
        raise RecipeError(f"{audio}: no speaker's folder in it; expected {audio}/<speaker>/<utterance>.wav")
    if not label_files:
        raise RecipeError(f"{text}: no label file; expected <speaker>_label.txt; there is: {_listing(text)}")
    _list_stray_audio(part, audio)
    part.speakers = sorted({*folders, *label_files})
    clips = {speaker: _clips(part, paths) for speaker, paths in folders.items()}
    labels = {speaker: _labels(part, files) for speaker, files in label_files.items()}
    for speaker in part.speakers:
        if speaker not in labels:
            where = os.path.dirname(next(iter(clips[speaker].values()), str(folder / "Audio" / speaker / "")))
            detail = f"no {speaker}_label.txt: the speaker's {len(clips[speaker])} clips are left out"
            part.problems.add(ERROR, "no label file", where, detail)
    _join(part, clips, {speaker: own for speaker, own in sorted(labels.items()) if own})
    _make_keys_unique(part)
    return part


def read_parts(root: Path, names: Sequence[str]) -> list[Part]:
    """Read the named parts of the CDSD that ``root`` holds or is a folder of. RecipeError where one is not there."""
    if challenge := cdsd_challenge.find(root):
        return [cdsd_challenge.read(challenge)]
    return [read_part(find_part(root, name), name) for name in names]


def _nameable(part: Part, speaker: str, where: Path) -> bool:
    """Return whether a speaker may be called so; list why not."""
    if reason := unsafe_name(speaker):
        kind = "name not UTF-8" if "UTF-8" in reason else "unsafe name"
        part.problems.add(ERROR, kind, where, f"left out: {reason}; rename the speaker's folder and label file")
    return not reason


def _label_files(part: Part, text: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    folders = (os.path.realpath(part.root), os.path.realpath(text))
    for path in sorted(text.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        match, real = _LABEL_FILE.fullmatch(plain_name(path.name)), os.path.realpath(path)
        if not match:
            part.problems.add(NOTE, "other file", path, "not called <speaker>_label.txt, so not read")
        elif not _nameable(part, match[1], path):
            continue
        elif not any(os.path.commonpath([real, folder]) == folder for folder in folders):
            # a link elsewhere could bring any file into the manifests
            detail = f"refused: it points outside the corpus, to {real}; put the file itself here"
            part.problems.add(ERROR, "label file outside the corpus", path, detail)
        else:
            files.setdefault(match[1], []).append(path)
    return files


def _list_stray_audio(part: Part, audio: Path) -> None:
    for path in sorted(audio.iterdir()):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and not path.is_dir():
            detail = "in Audio itself, not in a speaker's folder, so not read"
            part.problems.add(WARNING, "audio without speaker", path, detail, key=path.stem)


def _clips(part: Part, folders: Sequence[Path]) -> dict[str, str]:
    """Return {id: path} of a speaker's clips. Of one id in several formats the first of EXTENSIONS is taken."""
    clips: dict[str, str] = {}
    by_format: dict[str, list[str]] = {extension: [] for extension in EXTENSIONS}
    for folder in folders:
        where = os.path.join(folder, "")
        for name in sorted(os.listdir(folder)):
            extension = os.path.splitext(plain_name(name))[1].lower()
            if extension in by_format and not name.startswith("."):
                by_format[extension].append(where + name)
    for extension, paths in by_format.items():
        for path in paths:
            utt = tidy_name(part.problems, os.path.basename(path), path)[: -len(extension)]
            if utt in clips:
                detail = f"{os.path.basename(clips[utt])} is taken"
                part.problems.add(WARNING, "clip in two formats", path, detail, key=utt)
            else:
                clips[utt] = path
    return clips


def _labels(part: Part, files: list[Path]) -> Labels | None:
    """Return all labels of a speaker; None if a file is broken."""
    labels = Labels(files[0], {}, set())
    for file in files:
        try:
            lines, problems = read_label_file(file)
        except LabelFileError as error:
            part.problems.add(ERROR, "broken label file", error.file, error.reason, error.line)
            part.faults.append(str(error))
            return None
        part.problems += problems
        labels.refused.update(problem.key for problem in problems)
        for label in lines:
            labels.by_utt.setdefault(label.utt, []).append(label)
    return labels


def _join(part: Part, clips: dict[str, dict[str, str]], labels: dict[str, Labels]) -> None:
    """Put together what has both a clip and a transcript; whatever has only one is a problem."""
    for speaker, (file, by_utt, refused) in labels.items():
        own = clips.get(speaker, {})
        for utt, path in own.items():
            if utt not in by_utt and utt not in refused:
                part.problems.add(WARNING, "wav without transcript", path, f"its id is not in {file.name}", key=utt)
        for utt, same in by_utt.items():
            if utt not in own:
                _list_without_wav(part, speaker, same, labels, own)
            elif len(same) == 1 or _agree(part, same):
                part.clips.append(Clip(utt, speaker, own[utt], same[0].text, same[0].file, same[0].line))


def _list_without_wav(
    part: Part, speaker: str, same: list[Label], labels: dict[str, Labels], own: dict[str, str]
) -> None:
    utt = same[0].utt
    others = [own.by_utt[utt][0] for other, own in labels.items() if other != speaker and utt in own.by_utt]
    kind, detail = "transcript without wav", f"no {utt}.wav (or flac, ogg, opus, mp3) in Audio/{speaker}"
    if cause := likely_cause(utt, (child(part.folder, "audio") or part.folder) / speaker, own):
        detail += f"; {cause}"
    elif others:
        also = f"{os.path.basename(others[0].file)}:{others[0].line}"
        kind, detail = "id in two label files", f"{detail}; the id is in {also} too"
    for label in same:
        part.problems.add(ERROR, kind, label.file, detail, label.line, utt)


def _agree(part: Part, same: list[Label]) -> bool:
    """Return whether the labels of one id agree. Where they do not, nobody knows which is right; all are left out."""
    agree = len({label.text for label in same}) == 1
    severity = WARNING if agree else ERROR
    for label in same[1:]:
        also = f"also in {os.path.basename(same[0].file)}:{same[0].line}"
        detail = f"{also}, with the same text" if agree else f"{also}, with another text: the id is left out"
        kind = "duplicate id" if label.file == same[0].file else "id in two label files"
        part.problems.add(severity, kind, label.file, detail, label.line, label.utt)
    return agree


def _make_keys_unique(part: Part) -> None:
    """Make an id that two speakers have ``<speaker>-<id>`` for both; any other id is the key."""
    uses = Counter(clip.key for clip in part.clips)
    for number, clip in enumerate(part.clips):
        if uses[clip.key] > 1:
            key = f"{''.join(clip.speaker.split())}-{clip.key}"
            detail = f"{uses[clip.key]} speakers have this id: the key is {key}"
            part.problems.add(WARNING, "id of two speakers", clip.file, detail, clip.line, clip.key)
            part.clips[number] = clip._replace(key=key)


CDSD = HomeCorpus("CDSD", SPLIT_FILES, read_parts)
