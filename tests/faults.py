"""Faults to plant in a small corpus laid out as CDSD is: each one says what stage 1 must answer.

A fault is a function of a place in the corpus that damages the clips or labels of one speaker and returns the row that
problems.tsv must then hold: (severity, kind, the end of the file's name, line, key, a piece of the detail).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests import cdsd_tree

Row = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Place:
    """Where a fault is planted: a part of a corpus, one of its speakers, and another one."""

    part: Path
    speaker: str = "04"
    other: str = "05"

    def utt(self, number: int = 2) -> str:
        return cdsd_tree.utt_id(self.speaker, number)

    def clip(self, number: int = 2) -> Path:
        return self.part / "Audio" / self.speaker / f"{self.utt(number)}.wav"

    @property
    def labels(self) -> Path:
        return self.part / "Text" / f"{self.speaker}_label.txt"

    def edit_line(self, number: int, change: Callable[[str], str], encoding: str = "utf-8") -> None:
        """Change line ``number`` of the speaker's label file."""
        lines = self.labels.read_text(encoding="utf-8").split("\n")
        lines[number - 1] = change(lines[number - 1])
        self.labels.write_bytes("\n".join(lines).encode(encoding))

    def add_line(self, line: str, speaker: str = "") -> int:
        """Append a line to a label file; its number is returned."""
        path = self.part / "Text" / f"{speaker or self.speaker}_label.txt"
        raw = path.read_bytes()
        path.write_bytes(raw + line.encode() + b"\n")
        return raw.count(b"\n") + 1


def tone(seconds: float, rate: int = 16000, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


# What is wrong with a clip --------------------------------------------------------------------------------------------


def truncated(at: Place) -> Row:
    os.truncate(at.clip(), at.clip().stat().st_size - 100)
    return "error", "truncated audio", at.clip().name, "", at.utt(), "bytes of sound, the file has"


def no_bytes(at: Place) -> Row:
    os.truncate(at.clip(), 0)
    return "error", "zero-length audio", at.clip().name, "", at.utt(), "0 bytes"


def no_samples(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(0))
    return "error", "zero-length audio", at.clip().name, "", at.utt(), "0 samples"


def length_never_written(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(0) + bytes(range(100, 200)) * 320)
    return "error", "header disagrees with size", at.clip().name, "", at.utt(), "32,000 bytes"


def more_sound_than_the_header_says(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(16000) + bytes(range(100, 200)) * 640)
    return "warning", "header disagrees with size", at.clip().name, "", at.utt(), "32,000 bytes"


def no_sound_file(at: Place) -> Row:
    at.clip().write_text("this is no sound")
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def a_web_page(at: Place) -> Row:
    at.clip().write_text("<html>404 Not Found</html>" * 99)
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def a_folder_for_a_clip(at: Place) -> Row:
    at.clip().unlink()
    at.clip().mkdir()
    return "error", "unreadable audio", at.clip().name, "", at.utt(), "directory"


def a_link_to_nowhere(at: Place) -> Row:
    at.clip().unlink()
    at.clip().symlink_to("gone.wav")
    return "error", "unreadable audio", at.clip().name, "", at.utt(), "No such file"


def no_rate(at: Place) -> Row:
    raw = bytearray(cdsd_tree.wav_header(16000) + bytes(32000))
    struct.pack_into("<I", raw, 24, 0)
    at.clip().write_bytes(raw)
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def too_short(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(), 0.024)
    return "error", "too short audio", at.clip().name, "", at.utt(), "24.0 ms"


def too_long_for_funasr(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(), 20.49)
    return "note", "clip above 20.48 s", at.clip().name, "", at.utt(), "20.49 s"


def too_short_for_its_text(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(1), 0.2)
    return "warning", "more characters than frames", at.clip(1).name, "", at.utt(1), "6 characters, but 0.20 s carry 3"


def telephone_rate(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, 8000), 8000)
    return "note", "rate not 16 kHz", at.clip().name, "", at.utt(), "8000 Hz"


def studio_rate(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, 48000), 48000)
    return "note", "rate not 16 kHz", at.clip().name, "", at.utt(), "48000 Hz"


def stereo(at: Place) -> Row:
    soundfile.write(at.clip(), np.stack([tone(2), tone(2)], axis=1), 16000)
    return "note", "not mono", at.clip().name, "", at.utt(), "2 channels"


def a_damaged_flac_header(at: Place) -> Row:
    path = at.clip().with_suffix(".flac")
    soundfile.write(path, tone(2), 16000)
    at.clip().unlink()
    path.write_bytes(b"fLaX" + path.read_bytes()[4:])
    return "error", "unreadable audio", path.name, "", at.utt(), ""


def two_formats(at: Place) -> Row:
    soundfile.write(at.clip().with_suffix(".flac"), tone(2), 16000)
    return "warning", "clip in two formats", ".flac", "", at.utt(), ".wav is taken"


def a_stray_clip(at: Place) -> Row:
    cdsd_tree.write_wav(at.part / "Audio/lost.wav")
    return "warning", "audio without speaker", "Audio/lost.wav", "", "lost", "not read"


# What is wrong between clips and labels -------------------------------------------------------------------------------


def no_wav(at: Place) -> Row:
    at.clip().unlink()
    return "error", "transcript without wav", f"{at.speaker}_label.txt", "2", at.utt(), f"no {at.utt()}.wav"


def no_transcript(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(99))
    return "warning", "wav without transcript", at.clip(99).name, "", at.utt(99), f"not in {at.speaker}_label.txt"


def the_same_twice(at: Place) -> Row:
    line = at.labels.read_text(encoding="utf-8").splitlines()[1]
    number = at.add_line(line)
    return "warning", "duplicate id", f"{at.speaker}_label.txt", str(number), at.utt(), "with the same text"


def two_texts_for_one_id(at: Place) -> Row:
    number = at.add_line(f"{at.utt()} 完全不同的话")
    return "error", "duplicate id", f"{at.speaker}_label.txt", str(number), at.utt(), "another text: the id is left out"


def an_id_in_two_label_files(at: Place) -> Row:
    number = at.add_line(f"{at.utt()} 不是我说的", at.other)
    return (
        "error",
        "id in two label files",
        f"{at.other}_label.txt",
        str(number),
        at.utt(),
        f"in {at.speaker}_label.txt:2 too",
    )


def an_id_of_two_speakers(at: Place) -> Row:
    number = at.add_line(f"{at.utt()} 是我说的", at.other)
    cdsd_tree.write_wav(at.part / "Audio" / at.other / at.clip().name, 1)
    return (
        "warning",
        "id of two speakers",
        f"{at.other}_label.txt",
        str(number),
        at.utt(),
        f"the key is {at.other}-{at.utt()}",
    )


def no_label_file(at: Place) -> Row:
    at.labels.unlink()
    return "error", "no label file", f"Audio/{at.speaker}", "", "", "4 clips are left out"


def labels_without_clips(at: Place) -> Row:
    (at.part / "Text/nobody_label.txt").write_text("S777T010E000N00001 没有人\n", encoding="utf-8")
    return "error", "transcript without wav", "nobody_label.txt", "1", "S777T010E000N00001", "in Audio/nobody"


def a_file_that_is_no_label_file(at: Place) -> Row:
    (at.part / "Text/readme.doc").touch()
    return "note", "other file", "readme.doc", "", "", "not read"


def labels_from_elsewhere(at: Place) -> Row:
    outside = at.part.parents[2] / "outside.txt"
    outside.write_text("a 机密\n", encoding="utf-8")
    (at.part / "Text/spy_label.txt").symlink_to(outside)
    return "error", "label file outside the corpus", "spy_label.txt", "", "", "refused"


def a_name_that_is_not_utf8(at: Place) -> Row:
    os.mkdir(os.fsencode(at.part / "Audio") + b"/\xd5\xc5")
    return "error", "name not UTF-8", "Audio/\udcd5\udcc5", "", "", "rename"


def a_name_with_a_bell(at: Place) -> Row:
    (at.part / "Audio/0\a9").mkdir()
    return "error", "unsafe name", "Audio/0\a9", "", "", "U+0007"


# What is wrong with a label file --------------------------------------------------------------------------------------


def no_words(at: Place) -> Row:
    at.edit_line(2, lambda line: line.split()[0] + "  ")
    return "error", "empty transcript", f"{at.speaker}_label.txt", "2", at.utt(), "no words"


def marks_alone(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} ，。……")
    return "error", "empty transcript", f"{at.speaker}_label.txt", "2", at.utt(), "no word is left"


def _refused(at: Place, name: str, reason: str) -> Row:
    number = at.add_line(f"{name} 你好")
    return "error", "unsafe id", f"{at.speaker}_label.txt", str(number), name, reason


def an_id_that_leads_out(at: Place) -> Row:
    return _refused(at, "../../../etc/passwd", "slash")


def an_id_with_a_slash(at: Place) -> Row:
    return _refused(at, "04/S004", "slash")


def an_id_with_a_backslash(at: Place) -> Row:
    return _refused(at, "04\\S004", "slash")


def an_id_with_dots(at: Place) -> Row:
    return _refused(at, "S004..x", "'..'")


def an_id_with_a_nul(at: Place) -> Row:
    return _refused(at, "S004\0x", "U+0000")


def an_id_with_an_escape(at: Place) -> Row:
    return _refused(at, "S004\x1b[2J", "U+001B")


def a_byte_order_mark(at: Place) -> Row:
    at.edit_line(1, lambda line: "\ufeff" + line)
    return "note", "byte-order mark", f"{at.speaker}_label.txt", "1", "", "removed"


def a_byte_order_mark_inside(at: Place) -> Row:
    at.edit_line(3, lambda line: line.replace(" ", " \ufeff"))
    return "note", "byte-order mark", f"{at.speaker}_label.txt", "3", "", "removed"


def gbk(at: Place) -> Row:
    at.edit_line(1, lambda line: line, "gbk")
    return "warning", "label file not UTF-8", f"{at.speaker}_label.txt", "", "", "GB18030"


def full_width(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} ＫＴＶ")
    return "note", "full-width letter or digit", f"{at.speaker}_label.txt", "2", at.utt(), "Ｋ -> k, Ｔ -> t, Ｖ -> v"


def marks(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} 你好，吗？")
    return "note", "transcript normalised", f"{at.speaker}_label.txt", "2", at.utt(), "， -> removed, ？ -> removed"


def digits(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} 第1次")
    return "warning", "digits in transcript", f"{at.speaker}_label.txt", "2", at.utt(), "第1次"


def an_empty_cell(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} nan")
    return "warning", "missing value as transcript", f"{at.speaker}_label.txt", "2", at.utt(), "nan -> nan"


def a_character_the_model_lacks(at: Place) -> Row:
    at.edit_line(2, lambda line: f"{line.split()[0]} 你好龘")
    return "warning", "character not in vocabulary", at.clip().name, "", at.utt(), "龘: becomes <unk>"


# Label files with which nothing can be prepared: listed by --check-only -----------------------------------------------


def an_empty_label_file(at: Place) -> Row:
    at.labels.write_bytes(b"\xef\xbb\xbf \r\n\n")
    return "error", "broken label file", f"{at.speaker}_label.txt", "", "", "the label file is empty"


def a_label_file_of_bytes(at: Place) -> Row:
    at.labels.write_bytes(b"a ok\nb \xff\xff\n")
    return "error", "broken label file", f"{at.speaker}_label.txt", "2", "", "neither UTF-8 nor GB18030"


def a_damaged_line(at: Place) -> Row:
    at.labels.write_bytes(at.labels.read_bytes() + b"c \xe4\xbd\xe5\xa5\n")
    return "error", "broken label file", f"{at.speaker}_label.txt", "5", "", "not UTF-8, while other lines"


# What only decoding shows: --check-audio ------------------------------------------------------------------------------


def clipped(at: Place) -> Row:
    soundfile.write(at.clip(), np.clip(tone(2, level=3.0), -1, 1), 16000)
    return "warning", "clipping", at.clip().name, "", at.utt(), ""


def silent(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, level=0.0001), 16000)
    return "warning", "silence", at.clip().name, "", at.utt(), ""


def not_a_number(at: Place) -> Row:
    sound = tone(2)
    sound[1000] = np.nan
    soundfile.write(at.clip(), sound, 16000, subtype="FLOAT")
    return "error", "samples not finite", at.clip().name, "", at.utt(), "at 0.06 s"


def integers_stored_as_floats(at: Place) -> Row:
    soundfile.write(at.clip(), 32768 * tone(2), 16000, subtype="FLOAT")
    return "error", "samples out of range", at.clip().name, "", at.utt(), "times full scale"


def a_header_that_counts_itself(at: Place) -> Row:
    raw = bytearray(at.clip().read_bytes())
    raw[40:44] = struct.pack("<I", len(raw))
    at.clip().write_bytes(raw)
    return "warning", "header disagrees with size", at.clip().name, "", at.utt(), "44 bytes more than there are"


def a_flac_that_breaks_off(at: Place) -> Row:
    path = at.clip().with_suffix(".flac")
    soundfile.write(path, tone(2) + 0.1 * np.random.default_rng(0).standard_normal(32000), 16000)
    at.clip().unlink()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "error", "unreadable audio", path.name, "", at.utt(), ""


CLIPS = (
    *(
        truncated,
        no_bytes,
        no_samples,
        length_never_written,
        more_sound_than_the_header_says,
        no_sound_file,
        a_web_page,
        not_a_number,
        integers_stored_as_floats,
        a_header_that_counts_itself,
    ),
    *(a_folder_for_a_clip, a_link_to_nowhere, no_rate, too_short, too_long_for_funasr, too_short_for_its_text),
    *(telephone_rate, studio_rate, stereo, a_damaged_flac_header, two_formats, a_stray_clip),
)
PAIRS = (
    *(no_wav, no_transcript, the_same_twice, two_texts_for_one_id, an_id_in_two_label_files, an_id_of_two_speakers),
    *(no_label_file, labels_without_clips, a_file_that_is_no_label_file, labels_from_elsewhere),
    *(a_name_that_is_not_utf8, a_name_with_a_bell),
)
LABELS = (
    *(no_words, marks_alone, an_id_that_leads_out, an_id_with_a_slash, an_id_with_a_backslash, an_id_with_dots),
    *(an_id_with_a_nul, an_id_with_an_escape, a_byte_order_mark, a_byte_order_mark_inside, gbk, full_width, marks),
    *(digits, an_empty_cell, a_character_the_model_lacks),
)
BROKEN = (an_empty_label_file, a_label_file_of_bytes, a_damaged_line)
SOUND = (clipped, silent, a_flac_that_breaks_off)
