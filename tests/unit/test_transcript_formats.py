"""A transcript's formats: golden texts, and names and texts that would break a line."""

import json

import pytest

from asr.decoding import transcript_formats as formats
from asr.decoding.transcript_formats import Segment

SURE = {"confidence": 0.75, "characters": [["早", 0.75, [["找", 0.2]]]], "calibrated": True}
WHOLE = Segment("a.wav", 0.0, 1.504, True, "早", SURE)
PARTS = [
    Segment("long.wav", 0.0, 59.9996, False, "今天\n很 好", {"confidence": 0.5}),
    Segment("long.wav", 59.9996, 61.0, False, "", {"confidence": 0.0}),
    Segment("long.wav", 3600.0, 7322.25, False, "再见", {}),
]


def test_text_has_times_only_for_a_part_of_a_file():
    assert formats.text_lines([WHOLE]) == "a.wav\t早\n"
    assert formats.text_lines(PARTS).splitlines()[0] == "long.wav\t0.00-60.00\t今天 很 好"
    assert formats.plain([WHOLE, *PARTS]) == "早\n今天 很 好\n\n再见\n"


def test_srt_numbers_what_was_said_and_carries_times_over():
    assert formats.srt(PARTS) == (
        "1\n00:00:00,000 --> 00:01:00,000\n今天 很 好\n\n2\n01:00:00,000 --> 02:02:02,250\n再见\n"
    )
    assert formats.srt([PARTS[1]]) == ""


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "00:00:00,000"), (59.9994, "00:00:59,999"), (360000.5, "100:00:00,500")]
)
def test_srt_times(seconds, written):
    assert formats.srt_time(seconds) == written


def test_tsv_is_a_table_whatever_stands_in_a_name():
    odd = Segment("a\tb\n.wav", 0.0, 1.0, True, "早\t安", {})
    rows = [line.split("\t") for line in formats.tsv([WHOLE, *PARTS, odd]).splitlines()]
    assert {len(row) for row in rows} == {5}
    assert rows[1] == ["a.wav", "0.00", "1.50", "0.75", "早"]
    assert rows[-1][3:] == ["", "早 安"]


def test_json_is_an_object_a_line():
    told = [json.loads(line) for line in formats.json_lines([WHOLE, *PARTS]).splitlines()]
    assert told[0] == {"file": "a.wav", "begin": 0.0, "end": 1.5, "text": "早", **SURE}
    assert [one["end"] for one in told] == [1.5, 60.0, 61.0, 7322.25]
    assert told[1]["text"] == "今天\n很 好"
