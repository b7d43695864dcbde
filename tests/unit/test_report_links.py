"""report.html leads to its utterances, by cards, groups and confusions, and shows other runs beside them."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.pages.html import Link, filtered
from asr.pages.svg import Pen, drawing
from asr.pages.words import Words
from asr.progress import record as progress_file
from asr.reporting import curve_figure
from asr.reporting.figures import Row, confusions, rates
from asr.reporting.others import read_others
from asr.reporting.page_parts import transposed
from asr.reporting.rows import Syllables, browser_data
from asr.reporting.view import systems
from asr.reporting.write import write_report
from asr.scoring import mandarin
from tests import report_example as example
from tests.unit.test_html_report import EVIL, SPEAKERS, data, page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return example.run(tmp_path_factory.mktemp("run"), example.lines(120, SPEAKERS), curves=True)


@pytest.fixture(scope="module")
def html(run):
    return page(run)


def addresses(html):
    return set(re.findall(r'<a href="#([^"]*)"', html))


def test_cards_rows_and_confusions_lead_to_their_utterances(html):
    found = addresses(html)
    cards = {
        "sort=baseline&amp;down=1",
        "sort=tuned&amp;down=1",
        "text=unseen",
        "kind=better&amp;sort=change",
        "kind=worse",
        "kind=same",
    }
    rows = {"speaker=%3D08", "text=seen", "group=length%3A3-5", "group=duration%3A2%2B", "group=rate%3A0-2"}
    assert cards | rows <= found
    characters = {address for address in found if address.startswith("words=char%3A")}
    assert any(address.endswith("%3E&amp;system=tuned") for address in characters)  # deleted
    assert any(address.startswith("words=char%3A%3E") for address in characters)  # inserted
    cells = set(re.findall(r'data-go="#([^"]*)"', html))
    for kind in ("tone", "initial", "final"):
        assert any(address.startswith(f"words={kind}%3A") and address.endswith("system=baseline") for address in cells)


def test_anchors_of_the_page_are_there(html):
    for name in addresses(html):
        assert "=" in name or html.count(f' id="{name}"') == 1, name


def test_the_card_of_unseen_text_is_score_json_s(run, html):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    row = score["groups"]["text"]["unseen"]["tuned"]
    card = re.search(r"<div[^>]*><dt>[^/]*CER on unseen text.*?</div>", html)[0]
    assert f"{100 * row['cer']:.2f} %</a>" in card
    assert "What the speakers can show" in html


def test_where_texts_are_not_told_apart_there_is_no_card_of_them(run):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    score["groups"]["text"] = None
    assert "CER on unseen text" not in page(run, score)


def test_the_headline_has_a_row_a_figure_so_that_it_fits_every_screen(run):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    wide, tall = systems(score), transposed(systems(score))
    assert [str(name) for name in tall.columns] == ["system", "baseline", "tuned"]
    assert [row[1] for row in tall.rows] == list(wide.rows[0][1:])
    assert [row[2] for row in tall.rows] == list(wide.rows[1][1:])


def test_a_group_without_an_utterance_is_no_row_and_is_named(run):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    score["groups"]["length"] = {
        "0": {"n_utt": 0, "n_speakers": 0, "ref_len": 0, "baseline": None, "tuned": None},
        **score["groups"]["length"],
    }
    html = page(run, score)
    assert "length%3A0" not in html
    assert "Without an utterance, so not shown: 0." in html
    assert "Without an utterance" not in page(run)


def test_words_of_a_speaker_table_are_chinese_where_they_are_known(run):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    rows = {"mild": score["by_speaker"]["02"], EVIL: score["by_speaker"]["08"]}
    score["groups"]["speaker_table"] = {"severity": rows}
    html = page(run, score)
    assert '<span class="zh" lang="zh-Hans">轻度</span>' in html
    assert '<span class="zh" lang="zh-Hans">严重程度</span>' in html
    assert EVIL not in html
    assert "picture-table_1" in html


def test_marks_say_their_figures_and_what_they_say_is_escaped(run, html):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    cer = 100 * score["by_speaker"]["08"]["tuned"]["cer"]
    assert re.search(rf'data-go="#speaker=%3D08"><title data-text-en="08, tuned: {cer:.2f} % \([^"]*n 24"', html)
    matrix = score["mandarin"]["systems"]["tuned"]["confusions"]["initial"]
    count, total = matrix["matrix"][1][1], sum(matrix["matrix"][1])
    assert f"<title>b → b: {count} / {total} = {100 * count / total:.1f} %</title>" in html
    score["by_speaker"] = {'"><b>': score["by_speaker"]["08"]}
    assert '"><b>' not in page(run, score).replace('"><b>What', "").replace('class="showing"><b>', "")


def test_a_rare_confusion_has_its_number_too():
    table = {"labels": ["1", "2"], "matrix": [[999, 1], [0, 5]]}
    with drawing(Pen("en")):
        axis = confusions({"tuned": table}, Pen("en")).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert texts[:3] == ["100", "<1", "100"]
    assert {"1,000", "5", "n"} <= set(texts)


def test_axes_end_at_a_tick_beyond_every_mark(run):
    with drawing(Pen("en")):
        axis = rates([Row(Words("a", "a"), 3, {"tuned": (0.94, [0.5, 0.99])})], Pen("en")).axes[0]
    assert axis.get_xlim()[1] == axis.get_xticks()[-1] >= 99


def test_confused_sounds_of_the_rows_are_those_that_score_json_counts():
    rows = example.lines(200, SPEAKERS)
    for place in (0, 1):
        pairs = [("".join(run[1] for run in row.hypotheses[place].runs if run[0] != "i"),
                  "".join(run[-1] for run in row.hypotheses[place].runs if run[0] != "d")) for row in rows]  # fmt: skip
        counted = mandarin.analyse(pairs)["confusions"]
        syllables, found = Syllables(), {kind: Counter() for kind in counted}
        for row in rows:
            for pair in filter(None, syllables.hypothesis(row.hypotheses[place].runs)[1].split(" ")):
                one, two = pair.split(">")
                first, second = one[:-1], two[:-1]
                found["tone"][one[-1], two[-1]] += first == second
                for at, kind in enumerate(("initial", "final")):
                    found[kind][syllables.parts[first][at], syllables.parts[second][at]] += 1
        for kind, table in counted.items():
            for said, row in zip(table["labels"], table["matrix"], strict=True):
                for heard, count in zip(table["labels"], row, strict=True):
                    assert said == heard or found[kind][said, heard] == count, (kind, said, heard)


def test_readings_are_the_dictionary_s_and_only_where_they_are_not_the_reference_s(run):
    syllables = Syllables()
    assert syllables.reference([["=", "今天"], ["s", "气a", "汽"], ["i", "好"]]) == "jin1 tian1 qi4 "
    reading, confused = syllables.hypothesis([["=", "银"], ["s", "行", "航"], ["i", "好"]])
    assert (reading, confused) == ("hang2 hao3", "")  # 行 is read hang2 in 银行
    assert syllables.hypothesis([["s", "爸", "大"]]) == ("da4", "ba4>da4")
    assert syllables.parts == {"ba": ("b", "a"), "da": ("d", "a")}


def test_averaged_checkpoints_are_marked_as_in_curves_png(tmp_path):
    example.training_record(tmp_path)
    chosen = curve_figure.Chosen("cer", ["model.pt.ep350", "model.pt.ep300"])
    with drawing(Pen("en")):
        axes = curve_figure.curves(progress_file.read(tmp_path), Pen("en"), chosen).axes
    loss, _, cer, *_ = axes
    assert len(loss.lines) == 2  # as logged, smoothed
    rings = [line.get_xdata()[0] for line in cer.lines if line.get_markersize() == 9]
    stars = [line.get_xdata()[0] for line in cer.lines if line.get_marker() == "*"]
    assert (sorted(rings), stars) == ([300, 350], [350])


def other(folder, name, seed=1, **changed):
    """A run of the same test set (or, with another seed, of other texts), with hypotheses of its own."""
    rows = example.lines(120, SPEAKERS, seed=seed)
    exp = example.run(folder / name, rows)
    write_json(exp / "score/score.json", example.score(rows, **changed))
    return exp.rename(exp.parent / name)


def test_other_runs_stand_beside(tmp_path):
    run = other(tmp_path, "mine")
    loras = [other(tmp_path, name) for name in ("lora", "sense")]
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    found = browser_data(
        run, run / "score/per_utterance.tsv", ["baseline", "tuned"], False, read_others(run, score, loras)
    )
    assert (found["systems"], found["own"]) == (["baseline", "tuned", "lora", "sense"], 2)
    assert all(len(row) == 12 for row in found["rows"])
    command = [sys.executable, "-m", "asr.report", "--exp", str(run), "--with", *map(str, loras)]
    subprocess.run(command, check=True, capture_output=True)
    assert data((run / "report.html").read_text(encoding="utf-8"))["systems"][2:] == ["lora", "sense"]
    write_report(run)
    assert data((run / "report.html").read_text(encoding="utf-8"))["systems"] == ["baseline", "tuned"]


def test_other_runs_must_be_of_the_same_test_set(run, tmp_path):
    score = json.loads((run / "score/score.json").read_text(encoding="utf-8"))
    reference = {**score["reference"], "digest": "1" * 64}
    with pytest.raises(RecipeError, match=r"another: another test set than .* \(111111111111, not 000000000000\)"):
        read_others(run, score, [other(tmp_path, "another", reference=reference)])
    with pytest.raises(RecipeError, match="another normaliser"):
        read_others(run, score, [other(tmp_path, "older", normalizer="zh-2")])
    twice = other(tmp_path, "twice")
    for named in ([run], [twice, twice]):
        with pytest.raises(RecipeError, match="already shown"):
            read_others(run, score, named)
    with pytest.raises(RecipeError, match="run stage 5"):
        read_others(run, score, [tmp_path / "nothing"])


def test_a_link_is_a_text_where_there_are_no_links():
    link = Link("<b>", filtered(speaker="=a&b"))
    assert str(link) == "<b>"
    assert link.__html__() == '<a href="#speaker=%3Da%26b">&lt;b&gt;</a>'
