"""report.html in a browser: its error browser sorts, filters, plays and asks the network for nothing."""

import pytest

from tests import report_example as example
from tests.report_look import column, field, focused, head, sideways, until
from tests.unit.test_html_report import HOSTILE, hostile_run, page

SPEAKERS = ["02", "08", "16", "18", "41"]
SIMULATED = {"corpus": {"name": "mini", "simulated": True}}
BY_KEY = "#sort=key"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rows = example.lines(240, SPEAKERS)
    exp = example.run(tmp_path_factory.mktemp("run"), rows, clips=20, curves=True)
    page(exp)
    return exp


def test_a_page_of_utterances_is_shown(look, run):
    view = look(run)
    assert view.title() == "Results: made"
    assert view.locator(".count").inner_text() == "240 of 240 utterances"
    assert view.locator(".utterances tbody").count() == 50
    assert view.locator("svg").count() == 12


def test_headers_sort_one_way_and_the_other(look, run):
    view = look(run)
    button = head(view, "errors, tuned").get_by_role("button")
    assert head(view, "errors, tuned").get_attribute("aria-sort") == "descending"
    assert head(view, "speaker").get_attribute("aria-sort") == "none"
    errors = list(map(int, column(view, "tuned")))
    assert errors == sorted(errors, reverse=True)
    button.press("Enter")
    assert head(view, "errors, tuned").get_attribute("aria-sort") == "ascending"
    assert set(column(view, "tuned")) == {"0"}
    for name, words, kind in (("duration", "seconds", float), ("length", "characters", int), ("key", "utterance", str)):
        head(view, words).get_by_role("button").click()
        values = list(map(kind, column(view, name)))
        assert values == sorted(values, reverse=name != "key")
    head(view, "change").get_by_role("button").click()
    changes = [int(value.replace("−", "-")) for value in column(view, "change")]
    assert changes == sorted(changes)


def test_filters_narrow_what_is_shown_and_count_it(look, run):
    view = look(run, BY_KEY)
    rows = example.lines(240, SPEAKERS)
    field(view, "speaker").select_option("16")
    assert set(column(view, "speaker")) == {"16"}
    assert view.locator(".count").inner_text() == "48 of 240 utterances"
    field(view, "text").select_option("seen")
    seen = [row for row in rows if row.speaker == "16" and row.text == "seen"]
    assert view.locator(".count").inner_text() == f"{len(seen)} of 240 utterances"
    field(view, "kind").select_option("got worse")
    worse = [row.key for row in seen if row.hypotheses[1].errors > row.hypotheses[0].errors]
    assert column(view, "key") == worse
    view.get_by_role("button", name="show all", exact=True).click()
    assert view.locator(".count").inner_text() == "240 of 240 utterances"
    field(view, "kind").select_option("missing or empty hypothesis")
    lost = [row.key for row in rows if any(one.status != "ok" for one in row.hypotheses)]
    assert column(view, "key") == lost


def test_search_finds_references_hypotheses_and_keys(look, run):
    view = look(run)
    rows = example.lines(240, SPEAKERS)
    search = view.get_by_role("searchbox")
    search.fill("s08t010e000n00050")  # in any case
    assert column(view, "key") == ["S08T010E000N00050"]
    search.fill("谢")
    found = [row for row in rows if "谢" in row.ref or any("谢" in one.hyp for one in row.hypotheses)]
    assert view.locator(".count").inner_text() == f"{len(found)} of 240 utterances"
    search.fill("nothing has this")
    assert view.locator(".count").inner_text() == "0 of 240 utterances"
    assert view.locator(".utterances tbody").count() == 0


def test_the_address_keeps_what_is_shown(look, run):
    view = look(run)
    field(view, "speaker").select_option("41")
    head(view, "errors, baseline").get_by_role("button").click()
    fragment = view.evaluate("location.hash")
    keys = column(view, "key")
    other = look(run, fragment)
    assert column(other, "key") == keys
    assert field(other, "speaker").input_value() == "=41"
    assert head(other, "errors, baseline").get_attribute("aria-sort") == "descending"
    other.evaluate("location.hash = '#speaker=%3D02&kind=nonsense&sort=nonsense&page=-7'")
    until(other, "document.querySelector('.is-speaker bdi').textContent === '02'")


def test_the_alignment_marks_what_was_misheard_and_not_by_colour_alone(look, tmp_path):
    tuned = example.Hypothesis("ok", [["=", "今"], ["s", "天", "田"], ["d", "气"], ["i", "好"]], "今田好")
    base = example.Hypothesis("missing", [["d", "今天气"]], "")
    exp = example.run(tmp_path, [example.Line("a", "02", "seen", 1.0, "今天气", "", (base, tuned))])
    page(exp)
    view = look(exp)
    script = "all => all.map(one => [...one.children].map(cell => [cell.textContent, cell.className]))"
    columns = view.locator(".alignment .column").evaluate_all(script)
    assert columns == [
        [["今", ""], ["今", "del"], ["今", "equal"]],
        [["天", ""], ["天", "del"], ["田", "sub"]],
        [["气", ""], ["气", "del"], ["气", "del"]],
        [["", ""], ["", "gap"], ["好", "ins"]],
    ]
    style = "all => all.map(one => [getComputedStyle(one).textDecorationLine, getComputedStyle(one).fontWeight])"
    assert view.locator(".alignment .del").evaluate_all(style)[0][0] == "line-through"
    assert view.locator(".alignment .ins").evaluate_all(style) == [["underline", "700"]]
    assert view.locator(".alignment .sub").evaluate_all(style) == [["none", "700"]]
    assert "missing hypothesis" in view.locator(".written").inner_text()
    assert view.get_by_role("button", name="a: no clip").get_attribute("aria-disabled") == "true"


@pytest.mark.parametrize("embed", [False, True])
def test_a_clip_is_played_from_disk_and_out_of_the_page(look, run, embed, tmp_path):
    exp = run
    if embed:
        exp = example.run(tmp_path, example.lines(20, SPEAKERS), clips=20)
        page(exp, provenance=SIMULATED, embed_audio=True)
    view = look(exp, BY_KEY)
    view.get_by_role("button", name="play S02T010E000N00000").click()
    until(view, "document.querySelector('audio').currentTime > 0.05")
    assert view.locator("audio").evaluate("audio => audio.duration") == pytest.approx(0.6, abs=0.15)
    assert view.locator("tbody.playing").get_attribute("data-key") == "S02T010E000N00000"
    until(view, "document.querySelector('audio').ended")
    assert view.locator("audio").count() == 1


def test_a_clip_that_is_gone_is_said_to_be_gone(look, run):
    view = look(run, BY_KEY)
    view.get_by_role("button", name="play S02T010E000N00030").click()
    view.locator(".failed", has_text="cannot be played").wait_for()
    # the browser itself reports the file, and only that
    assert [text for text in look.complaints if "ERR_FILE_NOT_FOUND" not in text] == []
    look.complaints.clear()


def test_a_clip_s_name_may_hold_what_means_something_in_an_address(look, tmp_path):
    (row,) = example.lines(1, ["02"])
    name = "S037T2，3E0 #1?%41&"
    exp = example.run(tmp_path, [row._replace(key=name, audio=f"../../clips/{name}.wav")], clips=1)
    page(exp)
    view = look(exp)
    view.get_by_role("button", name=f"play {name}").click()
    until(view, "document.querySelector('audio').currentTime > 0.05")


def test_it_works_by_keyboard(look, run):
    view = look(run, BY_KEY)
    view.locator(".play").first.focus()
    for key in ("ArrowDown", "j", "ArrowUp", "j"):
        view.keyboard.press(key)
    assert focused(view) == "S02T010E000N00002"
    assert view.locator(".play[tabindex='0']").count() == 1
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert view.evaluate(outline) == "solid"
    view.keyboard.press(" ")
    until(view, "document.querySelector('audio').currentTime > 0.05")
    view.keyboard.press("Escape")
    assert view.locator("audio").evaluate("audio => audio.paused") is True
    view.keyboard.press("k")
    view.keyboard.press("Enter")
    until(view, "document.querySelector('audio').src.includes('N00001')")
    view.keyboard.press("End")
    view.keyboard.press("ArrowDown")
    assert focused(view) == "S08T010E000N00050"  # on the next page
    view.keyboard.press("k")
    assert focused(view) == "S08T010E000N00049"
    view.keyboard.press("/")
    assert view.evaluate("document.activeElement.type") == "search"
    view.keyboard.type("jk")
    assert view.get_by_role("searchbox").input_value() == "jk"


def test_the_language_can_be_switched_everywhere(look, run):
    view = look(run, BY_KEY)
    view.get_by_role("button", name="中文").click()
    assert view.title() == "结果：made"
    assert view.evaluate("document.documentElement.lang") == "zh-Hans"
    drawn = view.locator("svg").first.locator("text").all_text_contents()
    shown = view.locator("svg").first.locator("text:visible").all_text_contents()
    assert "CER, %" in drawn
    assert "CER, %" not in shown
    assert "字错误率（%）" in shown
    view.evaluate("for (const one of document.querySelectorAll('svg')) one.remove()")  # they have both languages
    words = view.locator("main").inner_text()
    for chinese in ("各说话人", "有多可靠", "240 条语句中的 240 条", "训练过程", "显示全部", "没见过", "第 1 / 5 页"):
        assert chinese in words
    for english in ("speaker", "utterance", "baseline", "tuned", "seconds", "said", "training", "show all", "page 1"):
        assert english not in words.replace("CDSD paper", "").split("如何得到")[0]
    assert view.get_by_role("searchbox").get_attribute("placeholder") == "文本、编号、拼音，或 b>d"
    assert view.locator("option").all_inner_texts()[0] == "全部"
    assert view.locator(".play").first.get_attribute("aria-label") == "播放 S02T010E000N00000"
    view.get_by_role("button", name="下一页 ›").first.click()
    assert "speaker" not in view.locator("#browser").inner_text()
    assert look(run, locale="zh-CN").title() == "结果：made"


def test_dark_and_light_have_looks_of_their_own(look, run):
    colours = []
    for scheme in ("light", "dark"):
        view = look(run, color_scheme=scheme)
        script = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        colours.append(view.evaluate(script))
        ink = view.locator("svg text").first.evaluate("text => getComputedStyle(text).fill")
        assert ink == colours[-1][1]
    assert colours[0] != colours[1]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_a_phone(look, run, width, locale):
    view = look(run, BY_KEY, viewport={"width": width, "height": 700}, locale=locale)
    assert sideways(view) <= 0
    view.locator(".play").nth(3).click()
    assert sideways(view) <= 0
    until(view, "document.querySelector('audio').currentTime > 0.05")


def test_one_heat_map_of_initials_is_shown_at_a_time(look, run):
    view = look(run)
    box = view.locator(".choices").first
    tuned, baseline = (box.locator(f"[data-choice={name}]") for name in ("tuned", "baseline"))
    assert tuned.is_visible()
    assert not baseline.is_visible()
    box.get_by_role("button", name="baseline", exact=True).click()
    assert baseline.is_visible()
    assert not tuned.is_visible()


def test_a_table_of_the_page_is_sorted_by_its_header(look, run):
    view = look(run)
    table = view.get_by_role("region", name="speaker").locator("table")
    table.get_by_role("button", name="tuned CER %").click()
    rates = [float(text) for text in table.locator("tbody tr td:nth-child(6)").all_inner_texts()]
    assert rates == sorted(rates)


def test_hostile_names_and_texts_run_nothing_and_break_nothing(look, tmp_path):
    exp = hostile_run(tmp_path)
    page(exp)
    view = look(exp, BY_KEY)
    assert view.locator(".utterances tbody").count() == len(HOSTILE)
    assert view.locator("script").count() == 2
    assert view.evaluate("typeof alerted") == "undefined"
    keys = view.locator(".is-key bdi").evaluate_all("all => all.map(one => one.textContent)")
    assert sorted(keys) == sorted(f"{text[:40]}-{number}" for number, text in enumerate(HOSTILE))
    assert sideways(view) <= 0
    long = view.locator(".utterances tbody").nth(next(at for at, key in enumerate(keys) if key.startswith("长")))
    assert long.locator(".column").count() == 120
    long.get_by_role("button", name="show all 10,000 characters").click()
    assert long.locator(".column").count() == 10_000
    assert sideways(view) <= 0
    long.get_by_role("button", name="show less").click()
    assert long.locator(".column").count() == 120
    isolated = view.locator(".is-key bdi, .is-speaker bdi, .alignment bdi, .written bdi")
    assert set(isolated.evaluate_all("all => all.map(one => getComputedStyle(one).unicodeBidi)")) == {"isolate"}
    field(view, "speaker").select_option(index=1)
    assert view.locator(".utterances tbody").count() == 1


def test_a_script_that_got_in_would_not_run(look, run):
    view = look(run)
    view.evaluate(
        "const one = document.createElement('script'); one.textContent = 'ran = 1'; document.body.append(one)"
    )
    assert view.evaluate("typeof window.ran") == "undefined"
    assert any("Content Security Policy" in text for text in look.complaints)
    look.complaints.clear()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    exp = example.run(tmp_path_factory.mktemp("large"), example.lines(6064, SPEAKERS))
    page(exp)
    return exp


def test_6064_utterances_are_as_light_as_sixty(look, large):
    assert (large / "report.html").stat().st_size < 4_000_000
    view = look(large)
    assert view.locator(".count").inner_text() == "6,064 of 6,064 utterances"

    def few():
        elements = view.evaluate("document.querySelectorAll('*').length")
        return view.locator(".utterances tbody").count() <= 50 and elements < 15_000

    assert few()
    head(view, "errors, tuned").get_by_role("button").click()
    assert few()
    view.get_by_role("searchbox").fill("谢")
    assert few()
    view.get_by_role("button", name="show all", exact=True).click()
    pages = 0
    while view.get_by_role("button", name="next ›").first.is_enabled() and pages < 5:
        view.get_by_role("button", name="next ›").first.click()
        pages += 1
    assert pages == 5
    assert few()
    view.mouse.wheel(0, 30_000)
    assert few()
    longest = view.evaluate(
        """() => { // every page once, so that no utterance is one that cannot be drawn
          let most = 0;
          for (let page = 1; page <= 122; page++) {
            location.hash = `#page=${page}`; dispatchEvent(new HashChangeEvent('hashchange'));
            most = Math.max(most, document.querySelectorAll('*').length);
          }
          return most; }"""
    )
    assert longest < 15_000
    assert view.locator(".utterances tbody").count() == 6064 % 50
