"""The listening test's page: what it draws, that it holds no text, and a listener's way through it in Chromium."""

from __future__ import annotations

import collections
import json
import re
import shutil

import pytest

from asr.core.errors import RecipeError
from asr.core.run_folder import RunFolder
from asr.reporting import listening_page
from tests import report_example as example

SPEAKERS = ["02", "08", "16"]


def rows_of(**counts: int) -> list[dict[str, str]]:
    """Rows of per_utterance.tsv: speaker_seen=3 is three clips of that speaker with seen text."""
    rows = []
    for name, count in counts.items():
        speaker, text = name.split("_")
        rows += [{"key": f"{speaker}-{text}-{number}", "speaker": speaker, "text": text} for number in range(count)]
    return rows


def counted(rows) -> dict[str, int]:
    return dict(collections.Counter(f"{row['speaker']}_{row['text']}" for row in rows))


def test_speakers_and_seen_and_unseen_texts_are_drawn_alike():
    rows = rows_of(a_seen=90, a_unseen=10, b_seen=5, b_unseen=5, c_seen=1)
    assert counted(listening_page.draw(rows, 13, 0)) == {
        "a_seen": 3,
        "a_unseen": 3,
        "b_seen": 3,
        "b_unseen": 3,
        "c_seen": 1,
    }
    assert len(listening_page.draw(rows, 1000, 0)) == len(rows)


def test_a_draw_is_in_random_order_and_the_same_for_a_seed():
    rows = rows_of(a_seen=20, b_unseen=20)
    first = [row["key"] for row in listening_page.draw(rows, 20, 1)]
    assert first == [row["key"] for row in listening_page.draw(rows, 20, 1)]
    assert first != [row["key"] for row in listening_page.draw(rows, 20, 2)]
    assert [key[0] for key in first] not in (list("ab" * 10), sorted(key[0] for key in first))


@pytest.fixture
def made(tmp_path):
    """A run's page of eight clips, and the clips' rows."""
    lines = example.lines(30, SPEAKERS)
    exp = example.run(tmp_path, lines)
    for number, line in enumerate(lines, 1):
        example.clip((exp / "score" / line.audio).resolve(), 0.1 * number)
    html, chosen = listening_page.page(exp, 8, 0)
    path = RunFolder(exp).listening_test
    path.write_text(html, encoding="utf-8")
    return path, chosen


def test_no_text_speaker_or_path_is_in_the_page(made, tmp_path):
    path, chosen = made
    html = path.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    assert [key for key, _ in data["clips"]] == [row["key"] for row in chosen]
    assert all(list(clip) == [clip[0], clip[1]] and clip[1].startswith("data:audio/") for clip in data["clips"])
    assert set(data) == {"schema_version", "manifest", "clips"}
    for row in chosen:
        for text in (row["ref"], row["tuned_hyp"], row["baseline_hyp"]):
            assert len(text) < 3 or text not in html
    assert str(tmp_path) not in html


def test_a_run_that_is_not_scored_or_has_no_clips_is_refused(tmp_path):
    exp = example.run(tmp_path, example.lines(5, SPEAKERS))  # without clips
    with pytest.raises(RecipeError, match="no such file"):
        listening_page.page(exp, 3, 0)
    with pytest.raises(RecipeError, match="stage 5"):
        listening_page.page(tmp_path / "exp/other", 3, 0)


@pytest.fixture
def browser():
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield launched.new_context(accept_downloads=True)


def begin(browser, path, code="L1"):
    page = browser.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.fill("#code", code)
    page.check("#consent")
    page.click("#begin button")
    return page, asked, errors


def answer(page, text: str | None, plays: int = 1) -> None:
    for _ in range(plays):
        page.click("#play")
    if text is None:
        page.check("#unclear")
    else:
        page.fill("#text", text)
    page.click("#next")


def saved(page, button: str = "#save") -> dict:
    with page.expect_download() as download:
        page.click(button)
    assert download.value.suggested_filename == "listening-L1.json"
    return json.loads(open(download.value.path(), encoding="utf-8").read())


def test_a_listener_answers_stops_goes_on_and_saves(made, browser):
    path, chosen = made
    page, asked, errors = begin(browser, path)
    assert page.inner_text("#where") == "Clip 1 of 8"
    page.fill("#text", "没有播放")
    page.click("#next")  # nobody writes down what was not played
    assert page.is_visible("#needs")
    assert page.inner_text("#where") == "Clip 1 of 8"
    answer(page, "第一条", plays=3)
    answer(page, None)
    half = saved(page, "#save_now")
    assert [(one["text"], one["replays"], one["cannot_understand"]) for one in half["answers"]].count(
        ("", 0, True)
    ) == 1
    page.close()
    page, asked_again, _ = begin(browser, path)  # closed, and opened again
    assert page.inner_text("#where") == "Clip 3 of 8"
    page.click("#back")
    assert page.is_checked("#unclear")
    page.click("#next")  # still needs to have been played, which it was before
    for number in range(3, 9):
        answer(page, f"第{number}条")
    assert page.is_visible("#end")
    whole = saved(page)
    assert errors == []
    assert [url for url in asked + asked_again if not url.startswith(("file:", "data:", "blob:"))] == []
    assert (whole["schema_version"], whole["listener"]) == (1, "L1")
    assert {one["key"] for one in whole["answers"]} == {row["key"] for row in chosen}
    by_text = {one["text"]: one for one in whole["answers"]}
    assert by_text["第一条"]["replays"] == 2
    assert all(set(one) == {"key", "text", "replays", "cannot_understand"} for one in whole["answers"])


def test_listeners_have_orders_of_their_own(made, browser):
    path, _ = made

    def first(code: str) -> list[str]:
        page, *_ = begin(browser, path, code)
        clips = []
        for _ in range(4):
            clips.append(page.get_attribute("#audio", "src"))
            answer(page, "好")
        page.close()
        return clips

    orders = [first(code) for code in ("A", "B", "C")]
    assert len({tuple(order) for order in orders}) == 3
