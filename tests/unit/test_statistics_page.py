"""data_statistics.html: one sound page that asks the network for nothing and says nothing that may not be said."""

import re
import xml.etree.ElementTree
from collections import Counter
from html.parser import HTMLParser

import pytest

from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics.page import page
from tests.unit.test_corpus_statistics import drawn, made, said, tiny

VOID = {"meta", "link", "br", "img", "input", "hr"}
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


class Sound(HTMLParser):
    """Every element is closed in its turn; keeps elements, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)


def whole(splits=None, vocabulary=None, **changed):
    """statistics.json as preparation makes it."""
    found = made(splits or tiny(), vocabulary)
    problems = [{"severity": "warning", "kind": "speaker in no split", "count": 2}]
    found = {**found, "problems": problems, "differences": ["test 4 utterances, -1 against the manual's 5: D -1"]}
    found["corpus"] = {**found["corpus"], **changed}
    return found


@pytest.fixture(scope="module")
def html():
    return page(whole(vocabulary={"今", "天", "好"}))


def test_it_is_sound_html_with_every_id_once(html):
    parsed = Sound(html)
    assert html.startswith("<!DOCTYPE html>")
    tags = Counter(tag for tag, _ in parsed.elements)
    assert tags["h1"] == tags["main"] == tags["title"] == tags["script"] == tags["style"] == 1
    ids = Counter(attributes["id"] for _, attributes in parsed.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        xml.etree.ElementTree.fromstring(svg)


def test_every_picture_says_what_it_shows(html):
    elements = Sound(html).elements
    pictures = [attributes for tag, attributes in elements if tag == "svg"]
    captions = {attributes.get("id") for tag, attributes in elements if tag == "figcaption"}
    assert len(pictures) == 7
    assert all(attributes["role"] == "img" for attributes in pictures)
    assert {attributes["aria-labelledby"] for attributes in pictures} == captions


def test_nothing_is_asked_of_the_network(html):
    assert set(re.findall(r"https?://[^\s\"'<>)]*", html)) <= NAMESPACES
    for tag, attributes in Sound(html).elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
    assert re.findall(r"url\((?!#)|@import|fetch\(|XMLHttpRequest", html) == []
    assert "default-src 'none'" in html


def test_a_speakers_name_is_shown_and_not_run():
    evil = "<script>alert(1)</script>"
    splits = {
        name: [item._replace(speaker=f"{evil}{item.speaker}&$x$") for item in part] for name, part in tiny().items()
    }
    html = page(whole(splits, name=f"{evil} corpus"))
    parsed = Sound(html)
    assert sum(tag == "script" for tag, _ in parsed.elements) == 1
    assert f"{evil}A&$x$" in parsed.text
    assert evil not in html.replace("&lt;", "").replace("&gt;", "")


def test_chinese_names_are_text_in_the_pictures():
    splits = {name: [item._replace(speaker=f"张{item.speaker}") for item in part] for name, part in tiny().items()}
    html = page(whole(splits))
    assert ">张A</text>" in html
    assert "DejaVu" not in html


def test_the_same_statistics_give_the_same_bytes(html):
    assert page(whole(vocabulary={"今", "天", "好"})) == html


def test_a_users_matplotlib_settings_change_nothing(html):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert page(whole(vocabulary={"今", "天", "好"})) == html
        assert matplotlib.rcParams["font.size"] == 30  # and the page leaves them as they are


def test_no_transcript_is_in_it():
    splits = drawn(4)
    html = page(whole(splits, set("一二三")))
    for item in (item for part in splits.values() for item in part if len(item.target) > 1):
        assert item.target not in html
        assert item.source not in html
        assert f">{item.key}<" not in html


def test_both_languages_are_in_it(html):
    text = "".join(Sound(html).text)
    for words in ("Speaking rate by speaker", "各说话人的语速", "Prompt overlap", "文本重合", "not in train"):
        assert words in text
    assert html.count('class="en"') == html.count('class="zh"')


def test_simulated_speech_is_said_to_be_simulated(html):
    assert "no clinical claim" not in html
    simulated = page(whole(simulated=True))
    assert "Simulated speech, no clinical claim" in simulated
    assert "模拟语音" in simulated


def test_it_says_that_speakers_may_be_patients_and_what_was_found(html):
    text = "".join(Sound(html).text)
    assert "speakers may be patients" in text
    assert "speaker in no split" in text
    assert "test 4 utterances, -1 against the manual's 5: D -1" in text


@pytest.mark.parametrize(("differences", "words"), [(None, None), ([], "counts are the manual’s")])
def test_the_comparison_with_the_manual_where_there_is_one(differences, words):
    html = page({**whole(), "differences": differences})
    assert ("the manual’s" in html) is (words is not None)
    assert words is None or words in html


def test_without_a_vocabulary_it_says_that_nothing_was_checked(html):
    assert "tokens were not checked" in page(whole())
    assert "tokens were not checked" not in html


def test_speakers_in_several_splits_have_a_colour_of_their_own():
    splits = {name: [item._replace(speaker="A") for item in part] for name, part in tiny().items()}
    html = page(whole(splits))
    assert "train+val+test" in html
    assert "in several" in html


def test_eight_hundred_speakers_are_readable_and_small():
    splits = {name: [] for name in SPLITS}
    for number in range(800):
        name = SPLITS[min(number % 10, 2)] if number % 10 < 2 else "train"
        name = "test" if number % 10 == 5 else name
        for turn, text in enumerate(("今天", "天", f"{chr(0x4E00 + number)}好")):
            splits[name].append(said(f"{number}-{turn}", f"speaker {number:03d}", text, 1 + number / 400))
    html = page(whole(splits))
    assert len(html.encode()) < 1_000_000
    assert Sound(html).text.count("speaker 123") == 1  # in the table; the pictures have no room for names
    assert "800 speakers, their names are in the table below" in html
