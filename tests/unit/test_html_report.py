"""report.html and the figures: sound, quiet, the same for the same run, and with nothing in it that could run."""

import base64
import io
import json
import re
import xml.etree.ElementTree
from collections import Counter

import pytest
import soundfile
import yaml
from fontTools.ttLib import TTFont

from asr.core.errors import RecipeError
from asr.core.files import write_json, write_text
from asr.pages.html import part
from asr.pages.svg import FONT, PRINT, Pen
from asr.pages.words import STRINGS
from asr.progress import record as progress_file
from asr.progress.record import ProgressFile
from asr.reporting import curve_figure
from asr.reporting import page as html_report
from asr.reporting.page import FIGURES
from asr.reporting.results_md import results
from asr.reporting.view import plots
from asr.reporting.write import write_report
from tests import report_example as example
from tests.unit.test_statistics_page import NAMESPACES, Sound

SPEAKERS = ["02", "08", "16", "18", "41"]
EVIL = "<script>alert(1)</script>"
HOSTILE = [
    EVIL,
    "\"'`&amp;$x$",
    "👩‍👩‍👧\u202e反\u200f",
    "e\u0301\u0301\u0301",
    "</script><!--",
    "长" * 10_000,
    "\t\n\r\\n",
    "<!--<script>",
]


PROVENANCE = {**example.PROVENANCE, "language": example.LANGUAGE}


def page(exp, score=None, provenance=PROVENANCE, embed_audio=False):
    """report.html of a run, written."""
    score = score or json.loads((exp / "score" / "score.json").read_text(encoding="utf-8"))
    html = html_report.page(exp, exp.name, score, provenance, embed_audio)
    write_text(exp / "report.html", html)
    return html


def everything(exp):
    """Page and figures as they are on disk, by name."""
    score = json.loads((exp / "score" / "score.json").read_text(encoding="utf-8"))
    html_report.write_html(exp, exp.name, score, PROVENANCE)
    return {file.name: file.read_bytes() for file in (exp / "report.html", *(exp / "figures").iterdir())}


def data(html):
    """What the error browser reads."""
    return json.loads(re.search(r'<script type="application/json" id="utterances">(.*?)</script>', html, re.DOTALL)[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return example.run(tmp_path_factory.mktemp("run"), example.lines(60, SPEAKERS), clips=60, curves=True)


@pytest.fixture(scope="module")
def html(run):
    return page(run)


def hostile_run(folder):
    """Speakers, keys and texts that a page must survive."""
    rows = []
    for number, text in enumerate(HOSTILE):
        hypotheses = (
            example.Hypothesis("ok", [["=", text]], text),
            example.Hypothesis("ok", [["s", text, text[::-1]]], text[::-1]),
        )
        rows.append(
            example.Line(
                f"{text[:40]}-{number}", f"{text[:20]}{number}", "seen", 1.0, text, f"{text[:9]}.wav", hypotheses
            )
        )
    return example.run(folder, rows)


def test_it_is_sound_html_with_every_id_once(html):
    parsed, drawn = Sound(html), len(re.findall("<g[^>]*><title", html))
    tags = Counter(tag for tag, _ in parsed.elements)
    assert tags["h1"] == tags["main"] == tags["title"] - drawn == tags["style"] == 1
    assert set(Counter(attributes["id"] for _, attributes in parsed.elements if "id" in attributes).values()) == {1}
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        xml.etree.ElementTree.fromstring(svg)


def test_every_picture_says_what_it_shows(html):
    elements = Sound(html).elements
    captions = {attributes.get("id") for tag, attributes in elements if tag == "figcaption"}
    named = [attributes["aria-labelledby"] for tag, attributes in elements if tag == "svg"]
    assert sorted(named) == sorted(captions) == sorted(f"picture-{name}" for name in FIGURES)


def test_nothing_is_asked_of_the_network(html):
    assert set(re.findall(r"https?://[^\s\"'<>)]*", html)) <= NAMESPACES
    for tag, attributes in Sound(html).elements:
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
    assert re.findall(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", html) == []
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none';")
    assert re.search(r"script-src 'sha256-[\w+/]+='", policy)
    assert "media-src 'self' file: data:" in policy


def test_both_languages_are_everywhere(html):
    assert html.count('class="en"') == html.count('class="zh"') > 100
    script = "".join(map(part, ("report.js", *(f"report_{name}.js" for name in html_report.BROWSER))))
    assert re.findall(r'textContent = "\w', script) == []


def test_the_headline_is_score_json_s(run, html):
    score = json.loads((run / "score" / "score.json").read_text(encoding="utf-8"))
    text = "".join(Sound(html).text)
    for name in ("baseline", "tuned"):
        assert f"{100 * score['systems'][name]['cer']:.2f} %" in text
    assert score["speaker_note"]["en"] in text
    assert score["speaker_note"]["zh"] in text
    assert "95 %: " in text


def test_the_reference_lines_are_no_test_that_was_passed(html):
    drawn = re.search(r'<svg[^>]*picture-speakers".*?</svg>', html, re.DOTALL)[0]
    assert "human listeners: 20.45 % (other clips, other listeners)" in drawn
    assert "人类听写：20.45 %（其他录音，其他听者）" in drawn
    assert "other clips, other listeners. A reference, never a test that was passed." in html


def test_simulated_speech_is_said_to_be_simulated(run, html):
    assert "no clinical claim" not in html
    corpus = {**example.PROVENANCE["corpus"], "simulated": True}
    simulated = page(run, provenance={**example.PROVENANCE, "corpus": corpus})
    assert "The speech of this corpus is simulated." in simulated
    assert "模拟语音" in simulated


@pytest.mark.parametrize("simulated", [True, False, None])
def test_pictures_of_simulated_speech_say_so_wherever_they_go(tmp_path, simulated):
    """matplotlib names the text that it draws as outlines in a comment."""
    rows = example.lines(12, SPEAKERS)
    exp = example.run(tmp_path, rows)
    html_report.write_html(exp, exp.name, example.score(rows), {"corpus": {"name": "mini", "simulated": simulated}})
    pictures = {file.name: file.read_text(encoding="utf-8") for file in (exp / "figures").glob("*.svg")}
    assert len(pictures) >= 10
    for name, picture in pictures.items():
        word = "模拟语音" if ".zh." in name else "simulated speech"
        assert (f"<!-- {word} -->" in picture) is (simulated is True), name


@pytest.mark.parametrize(
    ("corpus", "embed", "words"),
    [
        ({"name": "CDSD"}, False, ("links to the clips by relative path", "CDSD’s terms apply", "本页含有转写文本")),
        ({"name": "ours"}, True, ("holds copies of the clips", "The corpus’s own terms apply", "并含音频片段的副本")),
        ({}, False, ("CDSD’s terms apply",)),
        ({"name": "mini", "simulated": True}, True, ("This corpus may be given away",)),
    ],
)
def test_it_says_what_it_holds_and_whose_terms_apply(run, corpus, embed, words):
    html = page(run, provenance={"corpus": corpus}, embed_audio=embed)
    said = re.search(r'<p class="note" id="holds">.*?</p>', html)[0]
    assert all(word in said for word in words)


def test_clips_are_linked_by_paths_relative_to_the_page(run, html):
    rows = data(html)["rows"]
    assert all((run / row[6]).is_file() for row in rows)
    assert rows[0][6].startswith("../clips/")
    assert "base64" not in html.replace("data:,", "")
    assert str(run.parent) not in html


def test_embedded_clips_can_be_played_and_are_the_same_every_time(run):
    found = data(page(run, embed_audio=True))
    assert found["embedded"] is True
    assert found == data(page(run, embed_audio=True))
    clip = found["rows"][0][6]
    assert clip.startswith("data:audio/mpeg;base64,")
    sound = soundfile.info(io.BytesIO(base64.b64decode(clip.partition(",")[2])))
    assert (sound.format, sound.samplerate, sound.channels) == ("MP3", 16000, 1)
    assert sound.duration == pytest.approx(0.6, abs=0.1)
    assert len(clip) < 10_000


def test_a_clip_that_is_gone_is_named_where_it_should_be_embedded(tmp_path):
    exp = example.run(tmp_path, example.lines(5, SPEAKERS))
    with pytest.raises(RecipeError, match=r"N00000\.wav: no such file"):
        page(exp, embed_audio=True)
    page(exp)


@pytest.fixture(scope="module")
def files(run):
    return everything(run)


def test_the_same_run_gives_the_same_bytes(run, html, files):
    assert files["report.html"].decode() == html
    assert everything(run) == files


def test_the_figures_are_there_for_a_paper_without_a_font_being_needed(files):
    kinds = [f"{language}.{kind}" for language in ("en", "zh") for kind in ("svg", "png")]
    assert files.keys() == {"report.html", *(f"{name}.{kind}" for name in FIGURES for kind in kinds)}
    for name, content in files.items():
        if name.endswith(".svg"):
            xml.etree.ElementTree.fromstring(content)
            assert b"<text" not in content
            assert b"#0102" not in content
        elif name.endswith(".png"):
            assert content.startswith(b"\x89PNG")


def test_a_figure_that_a_run_has_no_more_is_removed(tmp_path):
    old, other = tmp_path / "initial_baseline.en.png", tmp_path / "mine.en.png"
    old.touch()
    other.touch()
    html_report.write_figures(tmp_path, {})
    assert not old.exists()
    assert other.exists()


def test_the_font_has_what_figures_need_its_own_name_and_its_licence():
    font = TTFont(FONT)
    characters = font.getBestCmap()
    words = "字错误率未微调后语句声母韵调训练步数损失学习其他录音听者见过没 āǎàü%∅0Az"
    assert set(words) - {"∅"} <= set(map(chr, characters))
    assert sum(0x4E00 <= code <= 0x9FFF for code in characters) == 6763  # the Han of GB 2312
    assert font["name"].getDebugName(1) == "Recipe CJK"
    assert "Adobe" in font["name"].getDebugName(0)
    licence = (FONT.parent / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert font["name"].getDebugName(0).removeprefix("© ") in licence
    assert FONT.stat().st_size < 1_600_000


def test_print_colours_are_the_light_looks():
    style = part("page.css") + part("report.css")
    for name in ("ink", "muted", "rule", "pale", "bad", "card", "baseline", "tuned", "several"):
        colours = re.findall(rf"--{name}: (#\w+);", style)
        assert colours[0] == PRINT[name]
        assert len(colours) == 2


def test_hostile_names_and_texts_stay_text(tmp_path):
    html = page(hostile_run(tmp_path))
    parsed = Sound(html)
    scripts = [attributes for tag, attributes in parsed.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "utterances"}, {}]
    rows = data(html)["rows"]
    assert [row[5] for row in rows] == HOSTILE
    assert [row[9][3] for row in rows] == [text[::-1] for text in HOSTILE]
    assert EVIL not in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        xml.etree.ElementTree.fromstring(svg)


def test_without_a_baseline_there_is_nothing_to_compare_with(tmp_path):
    exp = example.run(tmp_path, example.lines(20, SPEAKERS, systems=["tuned"]), ["tuned"])
    html = page(exp)
    assert "No baseline was scored" in html
    assert "relative reduction" not in html
    assert data(html)["systems"] == ["tuned"]


def test_what_is_missing_is_said(tmp_path):
    exp = example.run(tmp_path, example.lines(20, ["02", "08"]))
    rows = example.lines(20, ["02", "08"])
    score = example.score(rows, mandarin=None, reference_lines=[], speaker_note=None)
    score["groups"] = {"text": None, "length": {}, "duration": {}, "rate": {}, "speaker_table": None}
    html = page(exp, score, provenance={})
    for words in (
        "no interval",
        "No curves",
        "not recorded",
        "the scorer was not given the train manifest",
        "没有记录",
    ):
        assert words in html
    assert "human listeners" not in html
    assert "Syllables" not in html


def test_groups_without_an_utterance_are_not_drawn(tmp_path):
    rows = example.lines(20, SPEAKERS)
    exp, score = example.run(tmp_path, rows), example.score(rows)
    empty = {"n_utt": 0, "n_speakers": 0, "ref_len": 0, "baseline": None, "tuned": None}
    score["groups"]["text"]["unseen"] = empty
    html = page(exp, score)
    drawn = re.search(r'<svg[^>]*picture-text".*?</svg>', html, re.DOTALL)[0]
    assert ">seen<" in drawn
    assert ">unseen<" not in drawn


def test_columns_of_a_speaker_table_are_shown(tmp_path):
    rows = example.lines(20, SPEAKERS)
    exp, score = example.run(tmp_path, rows), example.score(rows)
    score["groups"]["speaker_table"] = {
        "severity": {"mild": score["by_speaker"]["02"], EVIL: score["by_speaker"]["08"]}
    }
    text = Sound(page(exp, score)).text
    assert {"By what the speaker table says", "severity", "mild", EVIL} <= set(text)


def test_eight_hundred_speakers_are_readable(tmp_path):
    speakers = [f"{number:03d}" for number in range(800)]
    html = page(example.run(tmp_path, example.lines(1600, speakers)))
    assert "Highest first; names are in the table." in html
    drawn = re.search(r'<svg[^>]*picture-speakers".*?</svg>', html, re.DOTALL)[0]
    assert ">123<" not in drawn


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("tuned_alignment", "tuned_something"), "1: no column tuned_alignment; score again"),
        (lambda text: text.replace('[["', '[["x', 1).replace('"]]', '"', 1), "2: .*not a number or an alignment"),
    ],
)
def test_a_table_of_another_kind_is_named_with_its_line(tmp_path, change, words):
    exp = example.run(tmp_path, example.lines(5, SPEAKERS))
    file = exp / "score" / "per_utterance.tsv"
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RecipeError, match=rf"per_utterance\.tsv:{words}"):
        page(exp)


def training_figure(exp):
    """The training figure's points, as (tone, steps, values) of every line."""
    return [axis for axis in curve_figure.curves(progress_file.read(exp), Pen("en")).axes if axis.get_visible()]


def test_curves_of_a_run_that_was_resumed_have_every_step_once(tmp_path):
    example.training_record(tmp_path, range(10, 210, 10))
    file = ProgressFile(tmp_path)
    file.add({"kind": "start", "resumed_at": 140})
    file.close()
    example.training_record(tmp_path, range(150, 400, 10))
    loss, _, cer, _ = training_figure(tmp_path)
    assert list(loss.lines[0].get_xdata()) == list(range(10, 400, 10))
    assert list(cer.lines[0].get_xdata()) == list(range(50, 400, 50))


def test_a_record_cut_off_by_a_kill_is_read_as_far_as_it_goes(tmp_path):
    example.training_record(tmp_path, range(10, 210, 10))
    file = tmp_path / "progress.jsonl"
    file.write_bytes(file.read_bytes()[:-7])
    assert list(training_figure(tmp_path)[0].lines[0].get_xdata()) == list(range(10, 210, 10))
    assert "training" not in plots(example.score(example.lines(5, SPEAKERS)), progress_file.read(tmp_path / "nowhere"))


def test_a_long_curve_is_thinned():
    line = curve_figure.thinned([(step, float(step)) for step in range(1, 2001)])
    assert len(line) == 400
    assert line[-1] == (2000, 1998.0)  # the mean of its five steps


def test_a_pooled_score_has_a_report_that_says_what_is_pooled(tmp_path):
    rows = example.lines(12, SPEAKERS)
    exp = example.run(tmp_path, rows)
    pooled = {"folds": 3, "fold_by": None, "seeds": [1, 7], "runs": ["a", "b"], "cer_by_seed": {}}
    score = example.score(rows, pooled=pooled)
    score["groups"]["text"] = None
    write_json(exp / "score" / "score.json", score)
    for tag, split in (("a", "1" * 8), ("b", "2" * 8)):
        corpus = {"name": "CDSD", "digest": "d" * 8, "split_digest": split}
        write_json(tmp_path / tag / "provenance.json", {"commit": "0123abc", "corpus": corpus})
    write_report(exp)
    html, markdown = ((exp / name).read_text(encoding="utf-8") for name in ("report.html", "RESULTS.md"))
    for text in (html, markdown):
        assert "Pooled over 3 folds and 2 seeds: every speaker is tested once a seed" in text
        assert "each fold has a training set of its own" in text
        assert "0123abc" in text
        assert "d" * 8 in text
        assert "1" * 8 not in text
        assert "not the same in all runs" in text
    assert markdown.startswith("# Results of exp/made\n")
    assert "No curves" not in html


def test_warnings_of_the_scorer_are_on_both_pages(tmp_path):
    warning = {"kind": "repeated_clips", "en": "2 of 9 clips <occur> more than once", "zh": "9 条录音中有 2 条重复"}
    score = example.score(example.lines(12, SPEAKERS), warnings=[warning])
    html = "".join(Sound(example.bare_page(score)).text)
    results_md = results("x", score, {})
    assert "Warning: 2 of 9 clips <occur> more than once." in html
    assert "注意：9 条录音中有 2 条重复。" in html
    assert "**Warning: 2 of 9 clips &lt;occur&gt; more than once.**" in results_md


def test_every_phrase_has_both_languages_with_the_same_values():
    strings = yaml.safe_load(STRINGS.read_text(encoding="utf-8"))
    assert all(strings.pop("speaker_table").values())
    phrases = {}
    for key, entry in strings.items():  # a phrase, or a page's group of them
        phrases |= {f"{key}.{name}": pair for name, pair in entry.items()} if isinstance(entry, dict) else {key: entry}
    for key, (english, chinese) in phrases.items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), key
        assert english, key
        assert chinese, key
    lines = STRINGS.read_text(encoding="utf-8").splitlines()
    keys = [line.partition(":")[0] for line in lines if re.match(r"\w+:", line)]
    assert len(keys) == len(set(keys))
