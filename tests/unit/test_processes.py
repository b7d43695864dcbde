"""Work that other processes share: the same results as alone, and a failure in one of them is never silent."""

import os
import signal
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.processes import Helper, beside, halves
from asr.preparation import utterances
from asr.preparation.prepare import Options, prepare
from cdsd import read_parts
from tests import cdsd_tree, faults


def test_two_processes_read_a_corpus_as_one_does(tmp_path, monkeypatch):
    corpus = cdsd_tree.small(tmp_path / "corpus", speakers=24, utterances=8)
    part = corpus / "after_catting/1h"
    planted = (
        faults.truncated,
        faults.stereo,
        faults.full_width,
        faults.marks_alone,
        faults.no_sound_file,
        faults.digits,
    )
    for number, fault in enumerate((*planted, faults.marks)):
        fault(faults.Place(part, f"{2 * number + 1:02d}", "24"))
    found = []
    for worth, cores in ((1, 2), (10**9, 2)):
        monkeypatch.setattr(utterances, "_WORTH_SHARING", worth)
        monkeypatch.setattr(utterances, "cores", lambda cores=cores: cores)
        made = prepare(Options(corpus, ("1h",), None, read_parts, check_only=True))
        rows = {change: (row.occurrences, row.utterances, row.first) for change, row in made.texts.rows.items()}
        extra = {item.key: dict(item.extra) for items in made.splits.values() for item in items}
        found.append((made.splits, sorted(made.problems, key=str), made.to_convert, rows, extra))
    assert found[0] == found[1]
    assert len(found[0][1]) >= len(planted)


def test_halves_come_back_in_order_and_an_exception_comes_back_too():
    assert halves(sum, [1, 2, 3, 4, 5]) == [3, 12]
    parent = os.getpid()

    def fails(_):
        if os.getpid() != parent:
            raise RecipeError("the clip is broken")

    with pytest.raises(RecipeError, match="the clip is broken"):
        halves(fails, [1, 2])


def test_a_killed_half_is_one_line():
    parent = os.getpid()

    def dies(_):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RecipeError, match="a process was killed"):
        halves(dies, [1, 2])


def test_a_helper_gets_ready_does_its_task_and_tells_when_it_failed(tmp_path, capfd):
    with Helper(lambda: None, Path.write_text) as helper:
        helper.ask(tmp_path / "a", "done")
        helper.wait()
    assert (tmp_path / "a").read_text() == "done"
    with Helper(lambda: None, Path.write_text):
        pass  # without a task it is ended, not waited for
    with pytest.raises(RuntimeError, match="ended with status 1"), beside(Path.read_text, tmp_path / "nowhere"):
        pass
    assert "No such file" in capfd.readouterr().err
