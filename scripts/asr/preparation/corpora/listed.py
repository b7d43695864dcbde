"""Corpora as others lay them out: a list beside the clips, or a text beside each.

    FunASR's lists     train_wav.scp, train_text.txt; val_… and test_…, or wav.scp and text.txt   <key> <path or text>
    Hugging Face's     metadata.csv or metadata.jsonl, in the folder or in one for each set: file_name, transcription
    AISHELL-1          wav/{train,dev,test}/<speaker>/<key>.wav and transcript/aishell_transcript_v0.8.txt
    a text a clip      <name>.wav and <name>.txt, in folders of any depth; a folder is a speaker where there are several

Where the speaker is not named, it is not known.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from asr.audio.headers import EXTENSIONS
from asr.core.errors import RecipeError, at
from asr.preparation.corpus import OWN_SPLITS, UNKNOWN_SPEAKER, Clip, Part, subfolders
from asr.preparation.joining import Clips, RefusedError, audio_path, decoded
from asr.preparation.problems import ERROR, WARNING

TEXT_FIELDS = ("transcription", "transcript", "text", "sentence", "normalized_text")
SPEAKER_FIELDS = ("speaker", "speaker_id", "spk", "client_id")
AISHELL_TEXT = "transcript/aishell_transcript_v0.8.txt"
SAMPLE = 200  # clips that are looked at to tell whether texts lie beside them
METADATA = ("metadata.csv", "metadata.jsonl")
UNPACK = "is still packed: unpack it (Chinese names in a zip: unzip -O GBK), and give the folder"
PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".rar", ".7z")


class Row(NamedTuple):
    """A clip as a list has it."""

    key: str
    audio: str
    text: str
    file: Path
    line: int
    speaker: str = UNKNOWN_SPEAKER
    split: str = ""


def layout_of(root: Path) -> str:
    """Return which of the layouts a folder has, "" where it has none."""
    if not root.is_dir():
        return ""
    if _funasr_lists(root):
        return "funasr"
    if _metadata(root):
        return "metadata"
    if _aishell(root):
        return "aishell"
    clips = list(_clips_below(root, SAMPLE))
    return "texts" if 2 * sum(path.with_suffix(".txt").is_file() for path in clips) > len(clips) else ""


def not_read(path: Path) -> str:
    """Return what to do about a corpus in a form that is known and not read, "" for any other."""
    files = _files(path) if path.is_dir() else [path]
    names = [file.name for file in files]
    if cuts := next((name for name in names if "cuts" in name and ".jsonl" in name), None):
        return f"{cuts} holds lhotse's cuts; make recordings and supervisions of it: lhotse cut decompose {cuts} DIR"
    if "data.list" in names:
        fields = "'{key, source: .wav, target: .txt}'"
        return f"data.list is WeNet's; make a manifest of it: jq -c {fields} data.list > corpus.jsonl"
    tables = (file for file in files if file.suffix == ".tsv" and file.is_file())
    if table := next(
        (file for file in tables if {"client_id", "path", "sentence"} <= {*_first_line(file).split()}), None
    ):
        return (
            f"{table.name} is Common Voice's; write metadata.csv beside the clips, with the columns file_name (its"
            " path), transcription (its sentence) and speaker (its client_id)"
        )
    return ""


def likely_form(path: Path) -> str:
    """Return what a folder that holds no corpus of any form seems to be, and what to do; "" if nobody knows."""
    files = _files(path)
    if file := next((file for file in files if file.name in METADATA), None):
        first = _first_line(file)[:40].strip()
        remedy = "call the columns file_name, transcription and speaker, and save it as UTF-8 (in Excel: as CSV UTF-8)"
        return f"{file.name} has no file_name in its first line, {first!r}: {remedy}"
    clip = next(_clips_below(path, 1), None)
    if clip is None:
        packed = next((file.name for file in files if file.suffix.lower() in PACKED), "")
        return packed and f"{packed} {UNPACK}"
    others = [file.name for file in (*_files(clip.parent), *files) if file.suffix.lower() not in EXTENSIONS]
    there = f"there is {', '.join(dict.fromkeys(others[:3]))}" if others else "there is nothing but clips"
    return (
        f"clips such as {clip.relative_to(path)}, and no transcripts in a form that is read ({there}); write"
        " metadata.csv into this folder: a line file_name,transcription,speaker, and one like it for each clip"
    )


def read_listed(root: Path) -> Part:
    """Read a corpus that has one of the layouts. Audio is not looked at here; RecipeError where no line can be used."""
    readers = {"funasr": _read_funasr, "metadata": _read_metadata, "aishell": _read_aishell, "texts": _read_texts}
    clips = Clips(Part("", root, root))
    for row in readers[layout_of(root)](clips.part, root):
        clips.add(Clip(row.key, row.speaker, row.audio, row.text, str(row.file), row.line, None, row.split))
    part = clips.finish()
    if not part.clips:
        first = next((f"; first {at(one.file, one.line)}: {one.detail}" for one in part.problems), "")
        raise RecipeError(f"{root}: no line that can be used{first}")
    return part


# --- FunASR's lists --------------------


def _funasr_lists(root: Path) -> dict[Path, tuple[Path, str]]:
    """Return {list of clips: (list of texts, set)}."""
    names = {f"{name}_": split for name, split in OWN_SPLITS.items()} | {"": ""}
    pairs = {root / f"{name}wav.scp": (root / f"{name}text.txt", split) for name, split in names.items()}
    return {
        clips: (texts, split)
        for clips, (texts, split) in pairs.items()
        if os.path.isfile(clips) and os.path.isfile(texts)
    }


def _read_funasr(part: Part, root: Path) -> Iterator[Row]:
    for wavs, (texts, split) in _funasr_lists(root).items():
        places = {key: value for _, key, value in _lines(part, wavs)}
        for number, key, text in _lines(part, texts):
            if key in places:
                yield Row(key, audio_path(places.pop(key), root), text, texts, number, split=split)
            else:
                detail = f"its id is not in {wavs.name}"
                part.problems.add(ERROR, "transcript without wav", texts, detail, number, key)
        for key in places:
            part.problems.add(WARNING, "wav without transcript", wavs, f"its id is not in {texts.name}", key=key)


def _lines(part: Part, path: Path) -> Iterator[tuple[int, str, str]]:
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                key, *value = decoded(part, path, number, raw).split(None, 1) or [""]
            except ValueError as error:
                raise RecipeError(f"{at(path, number)}: {error}; save the file as UTF-8") from None
            if key:
                yield number, key, value[0].strip() if value else ""


# --- Hugging Face's audio folders --------------------


def _metadata(root: Path) -> dict[Path, str]:
    """Return {metadata file: set} of the folder, or of its folders that are called as sets are."""
    folders = {root: ""} | {inner: OWN_SPLITS.get(inner.name.lower(), "") for inner in subfolders(root)}
    files = {folder / name: split for folder, split in folders.items() for name in METADATA}
    return {file: split for file, split in files.items() if os.path.isfile(file) and "file_name" in _first_line(file)}


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as stream:
        return stream.readline()


def _read_metadata(part: Part, root: Path) -> Iterator[Row]:
    for file, split in _metadata(root).items():
        for number, row in _rows(part, file):
            name, text = row.get("file_name"), _field(row, TEXT_FIELDS)
            if not name or text is None:
                lacking = "file_name" if not name else " or ".join(TEXT_FIELDS)
                part.problems.add(ERROR, "bad JSONL line", file, f"no {lacking}; it has {', '.join(row)}", number)
                continue
            key = os.path.splitext(name)[0].replace("/", "-")
            where = audio_path(name, file.parent, working_directory=False)
            yield Row(key, where, text, file, number, _field(row, SPEAKER_FIELDS) or UNKNOWN_SPEAKER, split)


def _rows(part: Part, file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{file}: not UTF-8; save it as UTF-8 (in Excel: as CSV UTF-8)") from None
    with io.StringIO(text, newline="") as stream:
        if file.suffix == ".csv":
            separator = max(",;\t", key=text.partition("\n")[0].count)  # Excel's is a semicolon in some countries
            reader = csv.DictReader(stream, delimiter=separator, skipinitialspace=True)
            yield from ((reader.line_num, {name: row[name] or "" for name in row if name}) for row in reader)
            return
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line) if line.strip() else None
            except ValueError:
                part.problems.add(ERROR, "bad JSONL line", file, "not JSON", number)
                continue
            if isinstance(row, dict):
                yield number, {name: str(value) for name, value in row.items() if value is not None}


def _field(row: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((row[name].strip() for name in names if row.get(name, "").strip()), None)


# --- AISHELL-1 --------------------


def _aishell(root: Path) -> Path | None:
    """Return the folder with wav/ and transcript/: ``root``, or data_aishell in it."""
    return next((folder for folder in (root, root / "data_aishell") if os.path.isfile(folder / AISHELL_TEXT)), None)


def _read_aishell(part: Part, root: Path) -> Iterator[Row]:
    folder = _aishell(root)
    assert folder is not None
    places: dict[str, tuple[str, str, str]] = {}
    for split_folder in subfolders(folder / "wav", part.problems):
        for speaker in subfolders(split_folder, part.problems):
            for path in _clips(speaker):
                places[path.stem] = (str(path), speaker.name, OWN_SPLITS.get(split_folder.name, ""))
    texts = folder / AISHELL_TEXT
    for number, key, text in _lines(part, texts):
        if key in places:  # its list names more than its archives hold
            audio, speaker_name, split = places.pop(key)
            yield Row(key, audio, text, texts, number, speaker_name, split)
    for key, (audio, *_) in places.items():
        part.problems.add(WARNING, "wav without transcript", audio, f"its id is not in {texts.name}", key=key)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.is_file()]


def _clips(folder: Path) -> list[Path]:
    return [path for path in _files(folder) if path.suffix.lower() in EXTENSIONS]


# --- a text beside each clip --------------------


def _clips_below(root: Path, most: int | None = None) -> Iterator[Path]:
    """Yield the clips in a folder and in those below it, in order; of a large corpus the first ``most``."""
    found = (Path(folder, name) for folder, _, names in _walk(root) for name in sorted(names))
    clips = (path for path in found if path.suffix.lower() in EXTENSIONS and path.name[0] != ".")
    return itertools.islice(clips, most)


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, inner, names in os.walk(root):
        inner.sort()
        yield folder, inner, names


def _read_texts(part: Part, root: Path) -> Iterator[Row]:
    clips = list(_clips_below(root))
    several = len({clip.parent for clip in clips}) > 1
    folders_of, split_of = {}, {}
    for clip in clips:
        folders = clip.parent.relative_to(root).parts
        split_of[clip] = OWN_SPLITS.get(folders[0].lower(), "") if folders else ""
        folders_of[clip] = folders[split_of[clip] != "" :]
    levels = itertools.zip_longest(*set(folders_of.values()))
    level = next((place for place, names in enumerate(levels) if len(set(names)) > 1), 0)
    for clip in clips:
        text = clip.with_suffix(".txt")
        if not text.is_file():
            part.problems.add(WARNING, "wav without transcript", clip, f"no {text.name} beside it", key=clip.stem)
            continue
        try:
            words = _whole(part, text)
        except RefusedError as error:
            part.problems.add(ERROR, error.kind, text, str(error), key=clip.stem)
            continue
        folders = folders_of[clip]
        speaker = folders[level] if several and level < len(folders) else UNKNOWN_SPEAKER
        key = clip.stem if not several else "-".join((*folders, clip.stem))
        yield Row(key, str(clip), words, text, 1, speaker, split_of[clip])


def _whole(part: Part, path: Path) -> str:
    try:
        return decoded(part, path, 1, path.read_bytes()).strip()
    except ValueError as error:
        raise RefusedError("broken label file", f"{error}; save it as UTF-8") from None
