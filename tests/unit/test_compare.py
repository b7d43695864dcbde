"""--compare: runs on one test set in one table, and what cannot be compared is refused."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.scoring.compare_runs import compare, read_runs, tables, write
from asr.scoring.files import write_per_utterance
from asr.scoring.score import Request, score, score_hypotheses
from asr.scoring.speaker_interval import interval, rate, reduction
from tests.patience import PATIENCE
from tests.stage1 import ROOT, environment

TEXT = "今天天气很好我们出去走走"


def references(size=60, speakers=5) -> list[Utterance]:
    return [
        Utterance(f"k{n:03d}", "/no.wav", TEXT[: n % 9 + 3], 100, n % 9 + 3, f"s{n % speakers}", 1.5, 24000)
        for n in range(size)
    ]


def run(
    folder: Path, name: str, wrong: float, base: float = 0.6, items: list[Utterance] | None = None, **options
) -> Path:
    """exp/NAME with a score folder; ``wrong`` of the tuned characters are substituted, and of the base's."""
    items = items or references()
    exp, systems, request = folder / name, {}, Request(replicates=200, **options)
    for system, share in (("baseline", base), ("tuned", wrong)):
        chance = random.Random(f"{system} {share}")
        heard = ["".join("错" if chance.random() < share else char for char in item.target) for item in items]
        lines = [f"{item.key} {text}\n" for item, text in zip(items, heard, strict=True)]
        exp.mkdir(exist_ok=True)
        (exp / f"{system}.txt").write_text("".join(lines), encoding="utf-8")
        systems[system] = score_hypotheses(items, exp / f"{system}.txt", request)
    write_per_utterance(exp / "score/per_utterance.tsv", systems)
    (exp / "score/score.json").write_text(json.dumps(score(items, systems, request)), encoding="utf-8")
    return exp


def test_the_best_comes_first_and_the_shared_base_once(tmp_path):
    runs = [run(tmp_path, name, wrong) for name, wrong in (("poor", 0.5), ("good", 0.1), ("middle", 0.3))]
    found = compare(read_runs(runs), seed=3, count=300)
    assert [row["name"] for row in found["systems"]] == ["good", "middle", "poor", "untouched base"]
    best, second, *_ = found["systems"]
    assert best["behind_best"] is None
    assert second["behind_best"] == pytest.approx(second["cer"] - best["cer"])
    low, high = second["behind_best_ci95"]
    assert low <= second["behind_best"] <= high
    assert (second["sign_flip_p"], second["sign_flip_smallest_p"]) == (0.0625, 0.0625)  # all 5 of 2^5 patterns one way
    assert [row["sign_flip_p_adjusted"] for row in found["systems"]] == [None, *[pytest.approx(3 * 0.0625)] * 3]
    assert second["mapsswe"]["mean_difference"] > 0
    tests = [row["mapsswe"]["p"] for row in found["systems"][1:]]
    adjusted = [row["p_adjusted"] for row in found["systems"][1:]]
    assert all(one <= two for one, two in zip(tests, adjusted, strict=True))
    for row in found["systems"][:-1]:
        scored = json.loads((tmp_path / row["name"] / "score/score.json").read_text(encoding="utf-8"))
        assert scored["systems"]["tuned"]["cer"] == row["cer"]


def test_other_bases_have_a_row_each(tmp_path):
    runs = [run(tmp_path, "a", 0.1), run(tmp_path, "b", 0.2, base=0.7)]
    names = [row["name"] for row in compare(read_runs(runs), count=50)["systems"]]
    assert names == ["a", "b", "a (untouched base)", "b (untouched base)"]


def test_the_order_of_the_runs_changes_nothing(tmp_path):
    runs = [run(tmp_path, "a", 0.1), run(tmp_path, "b", 0.2)]
    assert compare(read_runs(runs), count=100) == compare(read_runs(runs[::-1]), count=100)


def test_few_speakers_are_said_to_be_few(tmp_path):
    items = references(speakers=2)
    runs = [run(tmp_path, name, wrong, items=items) for name, wrong in (("a", 0.1), ("b", 0.2))]
    found = compare(read_runs(runs), count=100)
    assert found["resampled"] == "utterances"
    shown = tables(found)
    assert "Intervals are over utterances (bootstrap, 100 replicates" in shown
    assert "no interval over speakers: 2 speakers, at least 4 are needed" in shown
    assert "sign-flip test takes speakers as the unit (it cannot be below 0.5)" in shown
    assert "P(best" not in shown
    header = [cell.strip() for cell in shown.splitlines()[0].split("  ") if cell.strip()]
    assert header[-4:] == ["sign-flip p", "adjusted", "MAPSSWE p", "adjusted"]


@pytest.mark.parametrize("speakers", [2, 5])
def test_a_runs_interval_is_the_same_whatever_it_is_compared_with(tmp_path, speakers):
    items = references(speakers=speakers)
    a, b, c = (run(tmp_path, name, wrong, items=items) for name, wrong in (("a", 0.2), ("b", 0.1), ("c", 0.4)))
    systems = [compare(read_runs(runs), count=100)["systems"] for runs in ([a, b], [a, c], [c, a, b])]
    assert len({tuple(row["ci95"]) for rows in systems for row in rows if row["name"] == "a"}) == 1


def test_the_interval_of_a_difference_is_that_over_speakers(tmp_path):
    runs = [run(tmp_path, name, wrong) for name, wrong in (("good", 0.1), ("poor", 0.5))]
    found = compare(read_runs(runs))
    errors = {name: [0] * 5 for name in ("good", "poor")}
    lengths = [0] * 5
    for name in errors:
        scored = json.loads((tmp_path / name / "score/score.json").read_text(encoding="utf-8"))["by_speaker"]
        lengths = [row["ref_len"] for row in scored.values()]
        errors[name] = [sum(row["tuned"][key] for key in ("sub", "del", "ins")) for row in scored.values()]
    sums = np.array([lengths, errors["poor"], errors["good"]]).T
    row = next(row for row in found["systems"] if row["name"] == "poor")
    assert row["behind_best_ci95"] == pytest.approx(interval(sums, reduction(0, 1)))
    assert row["ci95"] == pytest.approx(interval(sums, rate(0), 0.0))
    assert "Intervals are over speakers (jackknife, Student's t)" in tables(found)


def test_written_files_hold_the_table(tmp_path):
    found = compare(read_runs([run(tmp_path, "a", 0.1), run(tmp_path, "b", 0.2)]), count=50)
    write(tmp_path / "compared", found)
    assert json.loads((tmp_path / "compared/compare.json").read_text()) == found
    assert "| a " in (tmp_path / "compared/COMPARED.md").read_text(encoding="utf-8")


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = run(tmp_path, "one", 0.1)
    other = run(tmp_path, "other", 0.1, items=references(50))
    with pytest.raises(RecipeError, match="scored on another test set than"):
        read_runs([one, other])
    without = run(tmp_path, "without", 0.1, without=frozenset({"fillers"}))
    with pytest.raises(RecipeError, match="normalised by zh-3, without fillers"):
        read_runs([one, without])
    with pytest.raises(RecipeError, match="needs two runs or more"):
        read_runs([one])
    with pytest.raises(RecipeError, match="one is named twice"):
        read_runs([one, one / "score"])
    (tmp_path / "x").mkdir()
    names = [item.name for item in read_runs([one, run(tmp_path / "x", "one", 0.2)]).systems]
    assert names == ["untouched base", "1/one", "2/one"]  # no folder above is named
    with pytest.raises(RecipeError, match="no such file; run stage 5"):
        read_runs([one, tmp_path / "none"])


def crashed(exp: Path, keys: set[str], system: str = "tuned", items: list[Utterance] | None = None) -> None:
    """Score a run again without the hypotheses of ``keys``."""
    items, request, systems = items or references(), Request(replicates=200), {}
    path = exp / f"{system}.txt"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.split()[0] not in keys]
    path.write_text("".join(lines), encoding="utf-8")
    for name in ("baseline", "tuned"):
        systems[name] = score_hypotheses(items, exp / f"{name}.txt", request)
    write_per_utterance(exp / "score/per_utterance.tsv", systems)
    (exp / "score/score.json").write_text(json.dumps(score(items, systems, request)), encoding="utf-8")


@pytest.mark.parametrize(("system", "stage"), [("tuned", 5), ("baseline", 2)])
def test_a_crashed_decode_is_never_ranked(tmp_path, system, stage):
    """Without its looping hypotheses a run would come first; the command in the error is the run's own."""
    loops = {"k003", "k010", "k017"}
    one, two = run(tmp_path, "good", 0.1), run(tmp_path, "looping", 0.05)
    path = two / f"{system}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line}{'啊' * 90 * (line.split()[0] in loops)}\n" for line in lines), encoding="utf-8")
    crashed(two, set())
    assert compare(read_runs([one, two]), count=50)["systems"][0]["name"] == (
        "good" if system == "tuned" else "looping"
    )
    crashed(two, loops, system)
    (two / "command").write_text("bash run.sh --tag looping ++decode_conf.dither=0\n")
    again = f"decode again: bash run.sh --tag looping ++decode_conf.dither=0 --stage {stage} --stop-stage {stage}"
    with pytest.raises(RecipeError, match=rf"3 hypotheses of {system} are missing, first k010: .* {re.escape(again)}$"):
        read_runs([one, two])


def changed(exp: Path, column: str, value: str, key: str = "k004") -> None:
    path = exp / "score/per_utterance.tsv"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    next(cells for cells in lines if cells[0] == key)[lines[0].index(column)] = value
    path.write_text("".join("\t".join(cells) + "\n" for cells in lines), encoding="utf-8")


def test_a_score_that_is_not_of_its_utterances_is_refused(tmp_path):
    good, exp = run(tmp_path, "good", 0.1), run(tmp_path, "exp", 0.3)
    path = exp / "score/score.json"
    scored, rows = path.read_text(encoding="utf-8"), (exp / "score/per_utterance.tsv").read_text(encoding="utf-8")

    def refused(message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            read_runs([good, exp])
        path.write_text(scored, encoding="utf-8")
        (exp / "score/per_utterance.tsv").write_text(rows, encoding="utf-8")
        read_runs([good, exp])

    for field, value in (("cer", 0.01), ("sub", 3), ("ins", 1), ("n_missing", 1), ("n_utt", 59), ("ser", 0.1)):
        found = json.loads(scored)
        found["systems"]["tuned"][field] = value
        path.write_text(json.dumps(found), encoding="utf-8")
        refused(rf"not of one scoring \(tuned: {field} {value} and .*; score again: bash run.sh --tag exp --stage 5")
    changed(exp, "tuned_sub", "0")
    refused(r"per_utterance.tsv:50: tuned's counts are not those of its alignment")
    changed(exp, "tuned_alignment", '[["=","今天天气很好我"]]')
    refused(r"per_utterance.tsv:50: tuned's counts")
    changed(exp, "ref_len", "9")
    refused(r"per_utterance.tsv:50: baseline's counts")
    changed(exp, "tuned_hits", "")
    refused(r"per_utterance.tsv:50: tuned's counts")
    changed(exp, "tuned_status", "missing")
    refused(r"not of one scoring \(tuned: n_missing 0 and 1\)")
    changed(exp, "key", "k005")
    refused(r"not of one scoring \(other keys\)")
    (exp / "score/per_utterance.tsv").write_text("".join(rows.splitlines(True)[:-1]), encoding="utf-8")
    refused("not of one scoring")
    found = {**json.loads(scored), "schema_version": 1}
    path.write_text(json.dumps(found), encoding="utf-8")
    refused("schema_version 1, not 3: score again: bash run.sh --tag exp --stage 5 --stop-stage 5$")


def test_from_the_command_line(tmp_path):
    run(tmp_path, "a", 0.1), run(tmp_path, "b", 0.2)
    words = [
        sys.executable,
        "local/score.py",
        "--compare",
        tmp_path / "a",
        tmp_path / "b/score",
        "--out",
        tmp_path / "c",
    ]
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert "untouched base" in done.stdout
    assert (tmp_path / "c/compare.json").is_file()
