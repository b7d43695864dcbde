"""report.html in a browser: its keys, links, searches by pinyin and confusion, notes, and what is played next."""

import re

import pytest

from asr.reporting.others import read_others
from asr.reporting.page import write_html
from asr.scoring.files import read_score
from tests import report_example as example
from tests.report_look import column, count, field, focused, sideways, until
from tests.unit.test_html_report import SPEAKERS, data, page

LONG = "a_name_of_a_run_that_has_no_room_on_a_telephone"
ROWS = (
    ("a", "今天", "经天"),
    ("b", "爸爸", "大爸"),
    ("c", "西安", "先"),
    ("d", "绿的", "绿的好"),
    ("e", "长大", "成大"),
)


def exactly(folder, rows=ROWS, **more):
    """A run of these utterances; the baseline has them right, but for the first, which it lacks."""
    lines = []
    for key, ref, hyp in rows:
        length = min(len(ref), len(hyp))
        runs = [["=", ref[at]] if ref[at] == hyp[at] else ["s", ref[at], hyp[at]] for at in range(length)]
        runs += [["d", ref[length:]]] if len(ref) > length else []
        runs += [["i", hyp[length:]]] if len(hyp) > length else []
        base = (
            example.Hypothesis("missing", [["d", ref]], "")
            if key == "a"
            else example.Hypothesis("ok", [["=", ref]], ref)
        )
        audio = f"../../clips/02/{key}.wav"
        lines.append(example.Line(key, "02", "seen", 1.0, ref, audio, (base, example.Hypothesis("ok", runs, hyp))))
    exp = example.run(folder, lines, **more)
    page(exp)
    return exp


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return exactly(tmp_path_factory.mktemp("few"), clips=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    exp = example.run(tmp_path_factory.mktemp("run"), example.lines(240, SPEAKERS), clips=240, curves=True)
    page(exp)
    return exp


def found(view, words):
    view.get_by_role("searchbox").fill(words)
    return sorted(column(view, "key"))


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("jin tian", "a"), ("jintian", "a"), ("jin1tian1", "a"), ("tiān", "a"), ("jing", "a"), ("ji", ""),
        ("tian2", ""), ("xian", "c"), ("xi an", "c"), ("lü", "d"),
        ("lv4de", "d"), ("zhang3", "e"), ("chang", ""),
        ("b>d", "b"), ("initial:b>d", "b"), ("final:b>d", ""), ("ba>da", "b"), ("bà→dà", "b"), ("in>ing", "a"),
        ("爸>大", "b"), ("char:爸>大", "b"), ("initial:爸>大", ""), ("安>", "c"), (">好", "d"), ("＞好", "d"),
        ("天>", "a"), ("zh>ch", "e"), ("3>2", ""), ("nothing>like it", ""),
    ],
)  # fmt: skip
def test_search_by_pinyin_and_by_what_was_taken_for_what(look, few, words, keys):
    assert found(look(few), words) == list(keys)


def test_a_search_may_be_of_one_system(look, few):
    view = look(few)
    field(view, "in the hypotheses of").select_option("tuned")
    assert found(view, "天>") == []
    field(view, "in the hypotheses of").select_option("baseline")
    assert found(view, "天>") == ["a"]
    assert found(view, "b>d") == []


def test_readings_stand_under_characters_with_their_tones(look, few):
    view = look(few, "#sort=key")
    script = "all => all.map(one => [...one.children].map(cell => cell.dataset.pinyin ?? ''))"
    rows = [view.locator(f"tbody[data-key={key}] .alignment .column").evaluate_all(script) for key in "ad"]
    assert rows[0] == [["jīn", "", "jīng"], ["tiān", "", ""]]
    assert rows[1] == [["lǜ", "", ""], ["de", "", ""], ["", "", "hǎo"]]
    style = "getComputedStyle(document.querySelector('[data-pinyin]'), '::after').display"
    assert view.evaluate(style) == "block"
    view.get_by_label("pinyin").uncheck()
    assert view.evaluate(style) == "none"


def test_the_worst_come_first_and_every_row_has_its_cer(look, run):
    view = look(run)
    errors = list(map(int, column(view, "tuned")))
    assert errors == sorted(errors, reverse=True)
    rates, lengths = column(view, "cer"), map(int, column(view, "length"))
    assert rates == [f"{100 * wrong / length:.1f}" for wrong, length in zip(errors, lengths, strict=True)]
    pairs = list(zip(errors, map(float, rates), strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[0], -pair[1]))


def test_links_open_the_list_filtered(look, run):
    view = look(run)
    rows = example.lines(240, SPEAKERS)
    worse = sum(row.hypotheses[1].errors > row.hypotheses[0].errors for row in rows)
    view.get_by_role("link", name=f"worse {worse}").click()
    assert count(view) == f"{worse} of 240 utterances"
    assert view.evaluate("location.hash") == "#kind=worse"
    top = "document.getElementById('utterance-list').getBoundingClientRect().top"
    assert -1 <= view.evaluate(top) < 100
    view.get_by_role("region", name="speaker").get_by_role("link", name="16", exact=True).click()
    assert count(view) == "48 of 240 utterances"
    assert field(view, "speaker").input_value() == "=16"
    view.get_by_role("link", name="3-5", exact=True).click()
    assert count(view) == f"{sum(3 <= len(row.ref) <= 5 for row in rows)} of 240 utterances"
    view.go_back()
    until(view, "document.querySelector('.count').textContent.startsWith('48 ')")
    view.locator("[data-go*='initial%3Ab%3Ed'][data-go*='tuned']").locator("path").click(force=True)
    assert view.get_by_role("searchbox").input_value() == "initial:b>d"
    assert field(view, "in the hypotheses of").input_value() == "tuned"
    view.get_by_role("navigation").get_by_text("Contents").click()
    view.get_by_role("navigation").get_by_role("link", name="Training").click()
    assert view.get_by_role("searchbox").input_value() == "initial:b>d"  # other links leave the list as it is
    fresh = look(run, "#kind=worse")
    assert -1 <= fresh.evaluate(top) < 100


@pytest.mark.parametrize("group", ["length:1", "length:3-5", "length:11+", "duration:0-2", "duration:2+"])
def test_a_group_s_utterances_are_as_many_as_score_json_counts(look, run, group):
    kind, name = group.split(":")
    score = example.score(example.lines(240, SPEAKERS))["groups"][kind]
    assert count(look(run, f"#group={group.replace('+', '%2B')}")) == f"{score[name]['n_utt']} of 240 utterances"


def test_keys_work_from_anywhere(look, run):
    view = look(run)
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.textContent").startswith("Skip to the utterances")
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.type") == "search"
    view.get_by_role("button", name="中文").focus()
    view.keyboard.press("/")
    view.keyboard.type("谢")
    view.keyboard.press("Enter")
    keys = column(view, "key")
    assert focused(view) == keys[0]
    view.keyboard.press("j")
    assert focused(view) == keys[1]
    view.evaluate("scrollTo(0, 0), document.activeElement.blur()")
    view.keyboard.press("k")
    assert focused(view) == keys[1]  # back to where the reader was
    view.keyboard.press("PageDown")
    assert focused(view) == keys[11]
    view.keyboard.press("Enter")
    until(view, "document.querySelector('audio').currentTime > 0.05")
    view.get_by_role("button", name="中文").focus()
    view.keyboard.press("Escape")
    assert view.locator("audio").evaluate("audio => audio.paused") is True
    view.get_by_role("searchbox").focus()
    view.keyboard.press("j")
    assert view.get_by_role("searchbox").input_value().endswith("j")
    view.keyboard.press("Control+j")


def test_notes_are_kept_found_and_saved(look, few):
    view = look(few, "#sort=key")
    view.keyboard.press("j")
    view.keyboard.press("n")
    view.keyboard.type("=1+1, j")
    view.keyboard.press("Enter")
    assert focused(view) == "a"
    view.locator("tbody[data-key=c] .note").fill("slurred;\tj / n")
    with view.expect_download() as download:
        view.get_by_role("button", name="save notes (2)").click()
    assert download.value.suggested_filename == "notes-made.tsv"
    text = download.value.path().read_text(encoding="utf-8")
    assert text == "key\tnote\na\t=1+1, j\nc\tslurred; j / n\n"
    view.reload()
    assert view.locator("tbody[data-key=c] .note").input_value() == "slurred;\tj / n"
    field(view, "kind").select_option("with a note")
    assert sorted(column(view, "key")) == ["a", "c"]
    view.locator("tbody[data-key=c] .note").fill("")
    view.get_by_role("button", name="save notes (1)").wait_for()


def test_the_next_clip_is_played_only_if_that_is_wanted(look, few):
    view = look(few, "#sort=key")
    view.get_by_role("button", name="play a").click()
    until(view, "document.querySelector('audio').ended")
    assert view.locator("tbody.playing").get_attribute("data-key") == "a"
    view.get_by_label("then play the next one").check()
    view.get_by_role("button", name="play a").click()
    until(view, "document.querySelector('tbody.playing').dataset.key === 'c'")
    assert view.locator(".player .length").inner_text() == "1.00 s"


def test_three_systems_of_one_utterance(look, few, tmp_path):
    other = exactly(tmp_path, [(key, ref, f"{ref}吗") for key, ref, _ in ROWS])
    score = example.score(example.lines(5, SPEAKERS))
    write_html(
        few,
        "made",
        read_score(few / "score"),
        {},
        others=read_others(few, score, [other.rename(other.parent / LONG)]),
    )
    view = look(few, "#sort=key")
    names = view.locator("tbody[data-key=b] .alignment .names span").all_inner_texts()
    assert names == ["reference", "baseline", "tuned", LONG]
    assert found(view, ">吗") == list("abcde")
    field(view, "in the hypotheses of").select_option("tuned")
    assert found(view, ">吗") == []
    assert set(column(view, "with-2")) == set()
    view.get_by_role("button", name="show all", exact=True).click()
    assert set(column(view, "with-2")) == {"1"}
    assert sideways(look(few, viewport={"width": 390, "height": 800})) <= 0
    page(few)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    exp = example.run(tmp_path_factory.mktemp("large"), example.lines(6064, SPEAKERS), curves=True)
    page(exp)
    return exp


@pytest.mark.parametrize("width", [320, 390, 820, 1400])
def test_the_headline_fits_and_boxes_that_scroll_can_be_reached(look, large, width):
    view = look(large, viewport={"width": width, "height": 900})
    assert sideways(view) <= 0
    scrolls = "box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight"
    boxes = f"all => all.map(box => [{scrolls}, box.tabIndex])"
    found = view.locator(".box").evaluate_all(boxes)
    assert all((tab == 0) == scrolls for scrolls, tab in found)
    headline = view.locator(".beside .box").first
    assert headline.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert view.locator(".cards div").evaluate_all(cut) == 0


def test_the_data_of_the_page_says_what_it_is_of(few):
    kept = data((few / "report.html").read_text(encoding="utf-8"))
    assert (kept["run"], kept["digest"], kept["own"]) == ("made", "0" * 12, 2)
    assert re.fullmatch(r"[a-z]+", next(iter(kept["syllables"])))
