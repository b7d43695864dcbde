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

from asr.audio.headers import EXTENSIONS
from asr.core.errors import RecipeError
from asr.core.names import plain_name
from asr.preparation.corpus import UNREADABLE, Clip, Part, absolute, subfolders, tidy_name, unsafe_name
from asr.preparation.home_corpus import HomeCorpus
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem
from cdsd_facts import PARTS, SPLIT_FILES
from labels import Label, LabelFileError, read_label_file

LAYOUT = "after_catting/{part}/Audio"
_LABEL_FILE = re.compile(r"(.+?)[_-]label\.txt", re.IGNORECASE)  # speaker 20 of 10h has a dash


def find_part(corpus: str | os.PathLike[str], part: str) -> Path:
    """Return the folder of ``part`` (the one that holds Audio), also from one or two levels too high or too low."""
    root = absolute(corpus)
    if not root.is_dir():
        there = "is not a folder" if root.exists() else "no such folder"
        raise RecipeError(f"{root}: {there}; --corpus must name CDSD's folder (the one that holds after_catting)")
    for level in _candidates(root, part):
        found = [folder for folder in level if child(folder, "audio")]
        if len(found) > 1:
            names = " and ".join(map(str, found[:3]))
            raise RecipeError(f"{root}: several corpora below it: {names}; give one of them as --corpus")
        if found:
            return found[0]
    looked = f"looked for {LAYOUT.format(part=part)}, {part}/Audio and Audio, here and up to two levels up and down"
    unread: list[Problem] = []
    subfolders(root, unread)
    but = "".join(f"; {problem.file} cannot be read" for problem in unread[:1])
    raise RecipeError(f"{root}: no part {part} of CDSD; {looked}; there is: {_listing(root)}{but}")


def corpus_root(folder: Path) -> Path:
    """Return the corpus's own folder, given a part's: above after_catting and 1h where they are there."""
    root = folder.parent if folder.name in PARTS else folder
    return root.parent if root.name == "after_catting" else root


def child(folder: Path, name: str) -> Path | None:
    """Return the subfolder called ``name`` in any case (some copies have text/ for Text/)."""
    found = [entry for entry in _folders(folder) if entry.name.lower() == name]
    if len(found) > 1:
        raise RecipeError(f"{folder}: both {found[0].name}/ and {found[1].name}/ are there; keep one of them")
    return found[0] if found else None


def _candidates(root: Path, part: str) -> Iterator[list[Path]]:
    others = [name for name in PARTS if name != part]
    yield [root / "after_catting" / part]
    yield [root / part]
    yield [root] if root.name not in others else [root.parent / part]
    if root.name.lower() in ("audio", "text"):
        yield [root.parent] if root.parent.name not in others else [root.parent.parent / part]
    below = _folders(root)
    yield [folder / "after_catting" / part for folder in below] + [folder / part for folder in below]
    below = [inner for folder in below for inner in _folders(folder)]
    yield [folder / "after_catting" / part for folder in below] + [folder / part for folder in below]


def _folders(folder: Path) -> list[Path]:
    try:
        return subfolders(folder)
    except OSError:
        return []


def _listing(folder: Path, most: int = 8) -> str:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


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
    there = subfolders(audio, part.problems)
    for problem in part.problems:
        if problem.kind == UNREADABLE:  # nothing is known of this speaker's clips
            label_files.pop(plain_name(os.path.basename(problem.file)), None)
    folders: dict[str, list[Path]] = {}  # two of them may look alike
    for folder_ in there:
        if _nameable(part, speaker := tidy_name(part.problems, folder_.name, folder_), folder_):
            folders.setdefault(speaker, []).append(folder_)
    if not folders:
        raise RecipeError(f"{audio}: no speaker's folder in it; expected {audio}/<speaker>/<utterance>.wav")
    if not label_files:
        raise RecipeError(f"{text}: no label file; expected <speaker>_label.txt; there is: {_listing(text)}")
    _stray_audio(part, audio)
    part.speakers = sorted({*folders, *label_files})
    clips = {speaker: _clips(part, paths) for speaker, paths in folders.items()}
    read = {speaker: _labels(part, files) for speaker, files in label_files.items()}
    for speaker in part.speakers:
        if speaker not in read:
            _without_label_file(part, speaker, clips[speaker])
    _join(part, clips, {speaker: found for speaker, found in read.items() if found})
    _make_keys_unique(part)
    return part


def read_parts(root: Path, names: Sequence[str]) -> list[Part]:
    """Read the named parts of the CDSD that ``root`` holds or is a folder of. RecipeError where one is not there."""
    return [read_part(find_part(root, name), name) for name in names]


def _nameable(part: Part, speaker: str, where: Path) -> bool:
    reason = unsafe_name(speaker)
    if reason:
        kind = "name not UTF-8" if "UTF-8" in reason else "unsafe name"
        detail = f"left out: {reason}; rename the speaker's folder and label file"
        part.problems.append(Problem(ERROR, kind, str(where), None, "", detail))
    return not reason


def _label_files(part: Part, text: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    inside = (os.path.realpath(part.root), os.path.realpath(text))
    for path in sorted(text.iterdir()):
        match = _LABEL_FILE.fullmatch(plain_name(path.name))
        if path.name.startswith(".") or not path.is_file():
            continue
        if not match:
            detail = "not called <speaker>_label.txt, so not read"
            part.problems.append(Problem(NOTE, "other file", str(path), None, "", detail))
        elif _nameable(part, match[1], path) and _lies_in(part, path, inside):
            files.setdefault(match[1], []).append(path)
    return files


def _lies_in(part: Part, path: Path, folders: tuple[str, ...]) -> bool:
    """Return whether a label file is within the corpus: a link elsewhere could bring any file into the manifests."""
    real = os.path.realpath(path)
    within = any(os.path.commonpath([real, folder]) == folder for folder in folders)
    if not within:
        detail = f"refused: it points outside the corpus, to {real}; put the file itself here"
        part.problems.append(Problem(ERROR, "label file outside the corpus", str(path), None, "", detail))
    return within


def _stray_audio(part: Part, audio: Path) -> None:
    detail = "in Audio itself, not in a speaker's folder, so not read"
    for path in sorted(audio.iterdir()):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and not path.is_dir():
            part.problems.append(Problem(WARNING, "audio without speaker", str(path), None, path.stem, detail))


def _clips(part: Part, folders: Sequence[Path]) -> dict[str, str]:
    """Return {id: path} of a speaker's clips. Of one id in several formats the first of EXTENSIONS is taken."""
    clips: dict[str, str] = {}
    by_format: dict[str, list[str]] = {extension: [] for extension in EXTENSIONS}
    for folder in folders:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        where = os.path.join(folder, "")
        for name in names:
            by_format.get(f".{plain_name(name).rpartition('.')[2]}".lower(), []).append(where + name)
    for extension, found in by_format.items():
        for path in found:
            utt = tidy_name(part.problems, os.path.basename(path), path)[: -len(extension)]
            if utt in clips:
                detail = f"{os.path.basename(clips[utt])} is taken"
                part.problems.append(Problem(WARNING, "clip in two formats", path, None, utt, detail))
            else:
                clips[utt] = path
    return clips


Labels = dict[str, list[Label]]  # by id; a duplicate id has two


def _labels(part: Part, files: list[Path]) -> tuple[Path, Labels, set[str]] | None:
    """Return a speaker's first label file, all labels, and the ids of lines that are none. None if one is broken."""
    labels: Labels = {}
    named: set[str] = set()
    for file in files:
        try:
            found, problems = read_label_file(file)
        except LabelFileError as error:
            part.problems.append(Problem(ERROR, "broken label file", error.file, error.line, "", error.reason))
            part.faults.append(str(error))
            return None
        part.problems += problems
        named.update(problem.key for problem in problems)
        for label in found:
            labels.setdefault(label.utt, []).append(label)
    return files[0], labels, named


def _join(part: Part, clips: dict[str, dict[str, str]], labels: dict[str, tuple[Path, Labels, set[str]]]) -> None:
    """Put together what has both a clip and a transcript; whatever has only one is a problem."""
    for speaker, (file, said, named) in sorted(labels.items()):
        own = clips.get(speaker, {})
        for utt, path in own.items():
            if utt not in said and utt not in named:
                detail = f"its id is not in {file.name}"
                part.problems.append(Problem(WARNING, "wav without transcript", path, None, utt, detail))
        for utt, same in said.items():
            if utt not in own:
                _without_wav(part, speaker, same, labels)
            elif len(same) == 1 or _unambiguous(part, same):
                part.clips.append(Clip(utt, speaker, own[utt], same[0].text, same[0].file, same[0].line))


def _without_label_file(part: Part, speaker: str, clips: dict[str, str]) -> None:
    where = os.path.dirname(next(iter(clips.values()), str(part.folder / "Audio" / speaker / "")))
    detail = f"no {speaker}_label.txt: the speaker's {len(clips)} clips are left out"
    part.problems.append(Problem(ERROR, "no label file", where, None, "", detail))


def _without_wav(part: Part, speaker: str, same: list[Label], labels: dict[str, tuple[Path, Labels, set[str]]]) -> None:
    utt = same[0].utt
    others = [labels[other][1][utt][0] for other in labels if other != speaker and utt in labels[other][1]]
    kind, detail = "transcript without wav", f"no {utt}.wav (or flac, ogg, opus) in Audio/{speaker}"
    if others:
        also = f"{os.path.basename(others[0].file)}:{others[0].line}"
        kind, detail = "id in two label files", f"{detail}; the id is in {also} too"
    part.problems += [Problem(ERROR, kind, at.file, at.line, utt, detail) for at in same]


def _unambiguous(part: Part, same: list[Label]) -> bool:
    """Return whether the labels of one id agree. Where they do not, nobody knows which is right; all are left out."""
    agree = len({label.text for label in same}) == 1
    severity = WARNING if agree else ERROR
    for label in same[1:]:
        also = f"also in {os.path.basename(same[0].file)}:{same[0].line}"
        detail = f"{also}, with the same text" if agree else f"{also}, with another text: the id is left out"
        kind = "duplicate id" if label.file == same[0].file else "id in two label files"
        part.problems.append(Problem(severity, kind, label.file, label.line, label.utt, detail))
    return agree


def _make_keys_unique(part: Part) -> None:
    """The id is the key; an id that two speakers have becomes ``<speaker>-<id>`` for both."""
    uses = Counter(clip.key for clip in part.clips)
    if len(uses) == len(part.clips):
        return
    for number, clip in enumerate(part.clips):
        if uses[clip.key] > 1:
            key = f"{''.join(clip.speaker.split())}-{clip.key}"
            detail = f"{uses[clip.key]} speakers have this id: the key is {key}"
            part.problems.append(Problem(WARNING, "id of two speakers", clip.file, clip.line, clip.key, detail))
            part.clips[number] = clip._replace(key=key)


CDSD = HomeCorpus("CDSD", "cdsd", SPLIT_FILES, read_parts)
