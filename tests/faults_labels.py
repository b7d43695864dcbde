"""Faults of labels (tests/faults.py): PAIRS of clips and labels, LABELS, and BROKEN, which --check-only lists."""

from __future__ import annotations

import os

from tests import cdsd_tree
from tests.faults import Place, Row

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
