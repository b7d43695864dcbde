"""The groups of the scores: bounds by hand, and speaker tables as people have them."""

import pytest

from asr.core.errors import RecipeError
from asr.scoring.groups import DURATIONS, UNKNOWN, between, length_group, names_between, rate, read_speaker_table

SPEAKERS = {"02", "08", "16", "18", "41"}


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_lengths_and_durations_by_hand():
    assert [length_group(length) for length in (0, 1, 2, 3, 5, 6, 10, 11, 400)] == [
        *("0", "1", "2", "3-5", "3-5", "6-10", "6-10", "11+", "11+")
    ]
    assert names_between(DURATIONS) == ("0-1", "1-2", "2-4", "4-8", "8+")
    assert [between(seconds, DURATIONS) for seconds in (0.2, 1.0, 1.999, 2, 7.9, 8, 300)] == [
        *("0-1", "1-2", "1-2", "2-4", "4-8", "8+", "8+")
    ]
    assert (rate(6, 2.0), rate(6, 0.0)) == (3.0, None)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_columns_become_groups(tmp_path, separator):
    rows = [("speaker", "sex", "severity"), ("02", "f", "mild"), ("08", "m", ""), ("99", "m", "severe")]
    text = "\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n"
    table = read_speaker_table(written(tmp_path / "t", text), SPEAKERS, ["sex", "severity"])
    assert list(table.columns) == ["sex", "severity"]
    assert [table.value("severity", speaker) for speaker in ("02", "08", "16")] == ["mild", UNKNOWN, UNKNOWN]
    assert table.values("sex", sorted(SPEAKERS)) == ["f", "m", UNKNOWN]
    assert table.values("severity", sorted(SPEAKERS)) == ["mild", UNKNOWN]  # 99 is not in the test set


def test_quoted_cells_and_a_column_that_is_asked_for(tmp_path):
    text = 'split,speaker,cause\ntest,02,"stroke, left"\ntest,08,ALS\n'
    path = written(tmp_path / "t.csv", text)
    nothing = read_speaker_table(path, SPEAKERS, [])
    assert (nothing.columns, nothing.others) == ({}, {"split", "cause"})  # unasked, no column is a group
    assert read_speaker_table(path, SPEAKERS, ["split"]).value("split", "02") == "test"
    assert read_speaker_table(path, SPEAKERS, ["cause"]).value("cause", "02") == "stroke, left"


def test_many_numbers_are_halved_at_their_median_few_are_kept(tmp_path):
    ages = dict(zip(sorted(SPEAKERS), (9, 34, 35, 51, 70), strict=True))
    text = "speaker\tage\tlevel\n" + "".join(f"{name}\t{age}\t{age % 2 + 1}\n" for name, age in ages.items())
    table = read_speaker_table(written(tmp_path / "t", text + "77\t1000\t1\n"), SPEAKERS, ["age", "level"])
    assert [table.value("age", name) for name in sorted(SPEAKERS)] == ["up to 35"] * 3 + ["above 35"] * 2
    assert table.values("age", SPEAKERS) == ["up to 35", "above 35"]
    assert table.values("level", SPEAKERS) == ["1", "2"]


def test_what_is_not_known_is_no_number(tmp_path):
    ages = dict(zip(sorted(SPEAKERS), ("9", "34", "NA", "nan", "70"), strict=True))
    text = "speaker\tage\tx\n" + "".join(f"{name}\t{age}\t\n" for name, age in ages.items()) + "50\t1\t\n"
    table = read_speaker_table(written(tmp_path / "t", text), SPEAKERS, ["age", "x"])
    assert [table.value("age", name) for name in sorted(SPEAKERS)] == ["9", "34", UNKNOWN, UNKNOWN, "70"]
    assert table.values("x", SPEAKERS) == [UNKNOWN]


def test_a_quote_in_a_table_with_tabs_is_a_character(tmp_path):
    text = 'speaker\tcause\n02\t"stroke\n08\tALS\n'
    table = read_speaker_table(written(tmp_path / "t", text), SPEAKERS, ["cause"])
    assert [table.value("cause", name) for name in ("02", "08")] == ['"stroke', "ALS"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('speaker,cause\n02,"stroke\n08,ALS\n', "is a quote left open?"),
        ("", "t:1: the first line must name the columns"),
        ("id\tsex\n02\tf\n", "one must be 'speaker'"),
        ("speaker\tsex\tsex\n02\tf\tf\n", "each once"),
        ("speaker\tsex\n02\tf\n08\n", "t:3: 1 cells, the header has 2"),
        ("speaker\tsex\n02\tf\n02\tm\n", "t:3: duplicate speaker 02"),
        ("speaker\tsex\n2\tf\n", "knows none of the test set's speakers, e.g. 02"),
    ],
)
def test_what_is_no_table_is_refused_by_file_and_line(tmp_path, text, message):
    with pytest.raises(RecipeError) as caught:
        read_speaker_table(written(tmp_path / "t", text), SPEAKERS, [])
    assert message in str(caught.value)


def test_other_encodings_columns_and_files_are_named(tmp_path):
    with pytest.raises(RecipeError, match="t: not UTF-8"):
        read_speaker_table(written(tmp_path / "t", "speaker\t性别\n02\t女\n", "gbk"), SPEAKERS, [])
    with pytest.raises(RecipeError, match="t:1: has no column age to group by; it has sex"):
        read_speaker_table(written(tmp_path / "t", "speaker\tsex\n02\tf\n"), SPEAKERS, ["age"])
    with pytest.raises(RecipeError, match="t:1: has no column speaker to group by"):  # these are the names themselves
        read_speaker_table(written(tmp_path / "t", "speaker\tsex\n02\tf\n"), SPEAKERS, ["speaker"])
    with pytest.raises(RecipeError, match="no such speaker table"):
        read_speaker_table(tmp_path / "none", SPEAKERS, [])
