"""Every planted fault (tests/faults.py) is found, named with file and line, and makes no other noise."""

import re
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.preparation.prepare import Options, prepare
from asr.preparation.problems import Problem, tsv_field
from asr.preparation.target_text import SUSPECT
from cdsd import CDSD
from tests import cdsd_tree
from tests.faults import Place
from tests.faults_clips import CLIPS, SOUND, truncated
from tests.faults_labels import BROKEN, LABELS, PAIRS, a_character_the_model_lacks
from tests.stage1 import ROOT, problems, refused
from tests.stage1 import prepare as run_stage_1

ALL = (*CLIPS, *PAIRS, *LABELS, *SOUND)

BASE = ROOT / "mini/base"


@pytest.fixture
def part(tmp_path) -> Path:
    """The 1h part of a small whole corpus whose characters the bundled base model has, but for those in faults."""
    return cdsd_tree.small(tmp_path / "corpus", said="今天天气很好") / "after_catting" / "1h"


def rows_of(part: Path, **more) -> list[tuple[str, ...]]:
    options = Options(part.parents[1], ("1h",), None, CDSD, check_only=True, **more)
    found = prepare(options).problems
    return [tuple(map(tsv_field, item)) for item in found]


def matches(row, wanted) -> bool:
    """Whether a problem is the one that was planted; both as problems.tsv shows them."""
    severity, kind, file, line, key, detail = map(tsv_field, wanted)
    same = row[:2] == (severity, kind) and row[3:5] == (line, key)
    return same and row[2].endswith(file) and detail in row[5]


def test_there_are_enough_of_them_and_a_whole_corpus_has_none(part):
    assert len({*ALL, *BROKEN}) >= 50
    assert rows_of(part, tokens=BASE) == []


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_and_named(part, fault):
    wanted = fault(Place(part))
    tokens = BASE if fault is a_character_the_model_lacks else None
    rows = rows_of(part, check_audio=fault in SOUND, tokens=tokens)
    if fault in SOUND:  # the tree's other clips are all silent
        rows = [row for row in rows if row[4] == wanted[4]]
    assert any(matches(row, wanted) for row in rows), rows
    assert {row[1] for row in rows} == {wanted[1]}


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.__name__)
def test_a_broken_label_file_stops_stage_1_and_is_one_of_many_for_check_only(part, fault):
    wanted = fault(Place(part))
    truncated(Place(part, "05"))
    rows = rows_of(part)
    assert any(matches(row, wanted) for row in rows), rows
    assert {row[1] for row in rows} == {"broken label file", "truncated audio"}
    with pytest.raises(RecipeError, match=re.escape(wanted[5])):
        prepare(Options(part.parents[1], ("1h",), part.parents[2] / "data", CDSD))


def test_all_at_once_are_all_listed_by_one_run_and_the_rest_of_the_corpus_goes_on(tmp_path):
    """Each fault with a speaker of its own, through the command; only what is an error is left out."""
    planted = [fault for fault in ALL if fault not in SOUND]
    corpus = cdsd_tree.small(tmp_path / "corpus", speakers=2 * len(planted) + 2, said="今天天气很好")
    names = [f"{number:02d}" for number in range(1, 2 * len(planted) + 1)]
    places = [Place(corpus / "after_catting/1h", *names[at : at + 2]) for at in range(0, len(names), 2)]
    wanted = [fault(place) for fault, place in zip(planted, places, strict=True)]
    out = tmp_path / "data"
    done = run_stage_1(corpus, out, "--tokens", BASE, "--split", "seeded")
    assert done.returncode == 0, done.stderr
    rows = {tuple(row[name] for name in Problem._fields) for row in problems(out)}
    for fault, one in zip(planted, wanted, strict=True):
        assert any(matches(row, one) for row in rows), fault.__name__
    assert {row[1] for row in rows} == {row[1] for row in wanted}
    strict = refused(run_stage_1(corpus, tmp_path / "strict", "--strict", "--split", "seeded"))
    assert re.search(r"--strict: \d+ errors and \d+ warnings, first .*; no data was written", strict)
    assert not (tmp_path / "strict").exists()


def test_every_kind_of_problem_is_explained_in_the_documentation():
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    paths = [*(ROOT / "local").glob("*.py"), *(ROOT / "scripts/asr").rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in paths)
    kinds = set(re.findall(r"""(?:ERROR|WARNING|NOTE|severity), "([a-z0-9][^"{}]+)",""", source))
    kinds |= set(re.findall(r"""AudioError\(\s*"([^"]+)",""", source))
    kinds |= {kind for kind, *_ in SUSPECT}
    assert len(kinds) > 30
    assert [kind for kind in sorted(kinds) if f"| {kind} |" not in page] == []
