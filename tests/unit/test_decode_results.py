"""hyp.partial: what a stopped decode has found is found again, whole lines alone, of the same inputs alone."""

import errno
import fcntl
import json
import os
import re

import pytest

from asr.core.errors import RecipeError
from asr.core.locks import alone
from asr.core.nbest import NBest
from asr.decoding.partial import Partial

PARTIAL = "hyp.partial"
INPUTS = {"model": "a1", "manifest": "b2", "dither": 0.0, "method": "m"}
TEXTS = {"S1": "今天 天气", "S2": "", "S3": 'a "b" \\', "S4": "三"}
STEPS = ((("今", -0.125), ("金", -2.1)), (("", -0.5),))


def result(key, text):
    return NBest(key, "positions", text, STEPS)


RESULTS = {key: result(key, text) for key, text in TEXTS.items()}


def write(folder, inputs=INPUTS, results=RESULTS):
    with Partial(folder, inputs, TEXTS) as partial:
        partial.add(results)
    return (folder / PARTIAL).read_bytes()


def read(folder, inputs=INPUTS, keys=TEXTS):
    with Partial(folder, inputs, keys) as partial:
        return partial.results, partial.notes


def test_results_come_back_as_they_were(tmp_path):
    write(tmp_path)
    assert read(tmp_path) == (RESULTS, [])
    assert read(tmp_path) == (RESULTS, [])  # reading takes nothing away


def test_a_file_that_breaks_off_anywhere_keeps_its_whole_lines_and_can_be_gone_on_with(tmp_path):
    whole = write(tmp_path)
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 5
    for length in range(len(whole) + 1):
        (tmp_path / PARTIAL).write_bytes(whole[:length])
        kept = max(sum(end <= length for end in ends) - 1, 0)
        with Partial(tmp_path, INPUTS, TEXTS) as partial:
            assert partial.results == dict(list(RESULTS.items())[:kept]), length
            assert bool(partial.notes) == (length not in (0, *ends)), length
            partial.add(dict(list(RESULTS.items())[kept:]))
        assert (tmp_path / PARTIAL).read_bytes() == whole, length


@pytest.mark.parametrize(
    "damage",
    [
        b"\0" * 40 + b"\n",
        b'[{"key": "S9", "kind": "positions", "greedy": "x", "steps": []}, ""]\n',
        b'["S1"]\n',
        b'{"S1": "x"}\n',
        b'[{"key": "S1", "kind": "positions", "greedy": 3, "steps": []}, ""]\n',
        b"\xff\n",
    ],
)
def test_a_line_that_is_no_result_does_not_count_and_that_is_said(tmp_path, damage):
    whole = write(tmp_path)
    lines = whole.splitlines(keepends=True)
    (tmp_path / PARTIAL).write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))
    results, notes = read(tmp_path)
    assert results == RESULTS
    assert len(notes) == 1
    assert re.fullmatch(rf"{tmp_path / PARTIAL}:4: (S9|the line) is not as it was written; decoded again", notes[0])
    assert (tmp_path / PARTIAL).read_bytes() == whole


def test_lines_that_were_edited_or_exchanged_are_decoded_again_and_named(tmp_path):
    lines = write(tmp_path).decode().splitlines(keepends=True)
    lines[1] = lines[1].replace("天气", "天地")
    lines[3], lines[4] = lines[3].replace("S3", "S4"), lines[4].replace("S4", "S3")
    (tmp_path / PARTIAL).write_text("".join(lines), encoding="utf-8")
    results, notes = read(tmp_path)
    assert results == {"S2": RESULTS["S2"]}
    assert [note.removeprefix(f"{tmp_path / PARTIAL}:") for note in notes] == [
        f"{line}: {key} is not as it was written; decoded again" for line, key in ((2, "S1"), (4, "S4"), (5, "S3"))
    ]


def test_results_of_other_inputs_are_thrown_away_and_that_is_said(tmp_path):
    write(tmp_path)
    results, notes = read(tmp_path, {**INPUTS, "model": "a2"})
    assert results == {}
    assert notes == [f"{tmp_path / PARTIAL}: of another model or other clips; thrown away"]
    assert json.loads((tmp_path / PARTIAL).read_text()) == {**INPUTS, "model": "a2"}
    assert read(tmp_path) == ({}, notes)  # nor are they the first inputs' any more


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_locks_is_told_of_and_worked_on(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    write(tmp_path)
    note = f"cannot be locked here ({os.strerror(number)}): let no second decode write to this folder"
    assert read(tmp_path) == (RESULTS, [f"note: {tmp_path / PARTIAL} {note}"])
    with alone(tmp_path / "data"):
        pass


def test_two_processes_do_not_decode_into_one_folder(tmp_path):
    with Partial(tmp_path, INPUTS, TEXTS) as partial:
        with pytest.raises(RecipeError, match=rf"{PARTIAL}: another process decodes into this folder"):
            Partial(tmp_path, INPUTS, TEXTS)
        partial.add({"S1": RESULTS["S1"]})
    assert read(tmp_path)[0] == {"S1": RESULTS["S1"]}
