"""One person's recordings as a corpus that stage 1 takes: CDSD's layout, and nothing in it that is half there.

    DIR/after_catting/1h/Audio/01/S001T000E000N00001.wav
    DIR/after_catting/1h/Text/01_label.txt               "<id> <text>" a line

A clip and its label are two files, so what is to be done is written into DIR/.pending first. A server that is killed in
between leaves that, and the next one finishes it.
"""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open, sweep, write_text
from asr.core.locks import lock
from asr.core.made_by import claim, refuse_others

COMMAND = "asr.serve"  # .made_by_asr.serve marks the folder
SPEAKER = "01"
PROMPT, CORRECTION = 0, 1  # the id's T: a prompt that was read, or a text that was corrected on the speaking page
MAX_SECONDS = 120  # of a clip
MAX_CHARACTERS = 100  # of a text
LOWEST_RATE = 8000


class BadClipError(RecipeError):
    """A recording or a text that is not taken; the message is the reason, for the person at the page."""


class Clip(NamedTuple):
    """A clip of the corpus; ``seconds`` is 0 where somebody has taken its file away."""

    id: str
    text: str
    seconds: float


class VoiceCorpus:
    """The corpus in ``folder``, held by this process alone until ``close``.

    RecipeError where the folder holds something else, another process records into it, or its labels are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        part = folder / "after_catting" / "1h"
        self._audio, self._labels = part / "Audio" / SPEAKER, part / "Text" / f"{SPEAKER}_label.txt"
        self._pending = folder / ".pending"
        self._turn = threading.Lock()
        refuse_others(folder, COMMAND)
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        claim(folder, COMMAND)
        self._lock = open(folder / ".lock", "a", encoding="utf-8")  # noqa: SIM115 - held as long as the corpus
        try:
            note = lock(self._lock)
        except BlockingIOError:
            self._lock.close()
            raise RecipeError(
                f"{folder}: another server is recording into it; use its page, or end it (Ctrl-C) first"
            ) from None
        if note:
            print(f"note: {folder} {note}: let no other server record into it")
        for made in (self._audio, self._labels.parent, self._pending):
            made.mkdir(parents=True, mode=0o700, exist_ok=True)
            sweep(made)
        try:
            self._texts = _read_labels(self._labels)
            self._recover()
        except BaseException:
            self.close()
            raise
        self._seconds = {path.stem: _seconds(path) for path in self._audio.glob("*.wav")}

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    @property
    def clips(self) -> list[Clip]:
        """The clips in the order in which they were labelled."""
        return [Clip(utt, text, self._seconds.get(utt, 0.0)) for utt, text in self._texts.items()]

    def add(self, wav: bytes, text: str, kind: int = PROMPT) -> Clip:
        """Keep a WAV file (PCM, one channel) and what was said in it. BadClipError where either cannot be one."""
        text, (samples, rate) = _checked_text(text), _read_wav(wav)
        with self._turn:
            utt = f"S{int(SPEAKER):03d}T{kind:03d}E000N{self._next_number():05d}"
            with atomic_open(self._pending / f"{utt}.wav", "wb") as stream:
                stream.write(_wave_file(samples, rate))  # libsndfile would not say that the disk is full
            write_text(self._pending / f"{utt}.add", text)  # from here on the clip is kept, whatever happens
            self._finish_add(utt, text)
            self._seconds[utt] = len(samples) / rate
            return Clip(utt, text, self._seconds[utt])

    def remove_last(self, utt: str) -> bool:
        """Take the newest clip away again; return whether ``utt`` is that one: two pages may be open."""
        with self._turn:
            if not self._texts or utt != next(reversed(self._texts)):
                return False
            write_text(self._pending / f"{utt}.remove", "")
            self._finish_remove(utt)
            self._seconds.pop(utt, None)
            return True

    def _next_number(self) -> int:
        ids = [*self._texts, *(path.stem for path in self._audio.iterdir())]
        return max((int(match[1]) for utt in ids if (match := re.search(r"N(\d{5})$", utt))), default=0) + 1

    def _finish_add(self, utt: str, text: str) -> None:
        if (pending := self._pending / f"{utt}.wav").exists():
            pending.chmod(0o600)
            pending.replace(self._audio / pending.name)
        self._texts[utt] = text
        self._write_labels()
        (self._pending / f"{utt}.add").unlink()

    def _finish_remove(self, utt: str) -> None:
        self._texts.pop(utt, None)
        self._write_labels()
        (self._audio / f"{utt}.wav").unlink(missing_ok=True)
        (self._pending / f"{utt}.remove").unlink()

    def _write_labels(self) -> None:
        write_text(self._labels, "".join(f"{utt} {text}\n" for utt, text in self._texts.items()))
        self._labels.chmod(0o600)

    def _recover(self) -> None:
        """Finish what a killed server had begun; a recording that had not become a clip yet is taken away."""
        for path in sorted(self._pending.glob("*.add")):
            self._finish_add(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(self._pending.glob("*.remove")):
            self._finish_remove(path.stem)
        for path in self._pending.glob("*.wav"):
            path.unlink()


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file, one a line; empty lines and those that begin with # are none.

    RecipeError, with the line, where it is not UTF-8, or a prompt is too long, cannot be read aloud or comes twice.
    """
    first: dict[str, int] = {}
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}; --prompts takes a text file, a prompt a line") from None
    for number, raw in enumerate(lines, 1):
        try:
            prompt = raw.decode("utf-8").strip()
            if not prompt or prompt.startswith("#"):
                continue
            prompt = _checked_text(prompt)
        except UnicodeDecodeError:
            raise RecipeError(f"{at(path, number)}: not UTF-8; save the file as UTF-8") from None
        except BadClipError as error:
            raise RecipeError(f"{at(path, number)}: {error}") from None
        if prompt in first:
            raise RecipeError(f"{at(path, number)}: {prompt} is line {first[prompt]} already; remove one of them")
        first[prompt] = number
    if not first:
        raise RecipeError(f"{path}: no prompts in it; write one a line")
    return list(first)


def _checked_text(text: str) -> str:
    text = " ".join(text.split())
    if not any(char.isalpha() for char in text):
        raise BadClipError("the text has no word in it; write what is said, numbers as words (三十, not 30)")
    if not text.replace(" ", "").isprintable():
        raise BadClipError("the text holds a character that cannot be printed; write it anew")
    if len(text) > MAX_CHARACTERS:
        raise BadClipError(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}; make several of it")
    return text


def _read_wav(wav: bytes) -> tuple[np.ndarray, int]:
    """Return samples, int16 [samples], and their rate in hertz."""
    try:
        with soundfile.SoundFile(io.BytesIO(wav)) as file:
            if file.format != "WAV" or file.subtype != "PCM_16" or file.channels != 1:
                raise BadClipError("the recording is not a WAV file of 16-bit PCM with one channel")
            rate, length = file.samplerate, file.frames
            if rate < LOWEST_RATE or length > MAX_SECONDS * rate:
                raise BadClipError(
                    f"the recording is longer than {MAX_SECONDS} s, or its rate is below {LOWEST_RATE} Hz"
                )
            samples = file.read(dtype="int16")
    except soundfile.LibsndfileError:
        raise BadClipError("the recording is not a sound file, or a damaged one") from None
    if not len(samples):
        raise BadClipError("the recording is empty: no sound came from the microphone")
    return samples, rate


def _wave_file(samples: np.ndarray, rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def _seconds(path: Path) -> float:
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return 0.0  # stage 1 names it


def _read_labels(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
        try:
            utt, text = line.decode("utf-8").split(maxsplit=1)
        except ValueError:  # UnicodeDecodeError is one
            reason = "no '<id> <text>' in UTF-8"
        else:
            if utt not in texts:
                texts[utt] = text.strip()
                continue
            reason = f"{utt} is labelled twice"
        raise RecipeError(f"{at(path, number)}: {reason}; correct this line, or restore the file, and start again")
    return texts
