"""Attacks by what a system writes: nothing that a scorer might take for an alternative, a tag or nothing is a gain.

Each attack rewrites every hypothesis of a system, knowing the reference too. The errors of the rewritten system are at
least those of the honest one; where a listed reading of a number counts instead, that is said.
"""

import json

import pytest

from asr.scoring import Request, score_hypotheses, total
from tests.attacked import Scored
from tests.unit.test_scoring import write_hypotheses

TRADITIONAL = str.maketrans("气开厅灯两点电话儿长见过连", "氣開廳燈兩點電話兒長見過連")
RADICALS = str.maketrans("长见门车风食", "⻓⻅⻔⻋⻛⻝")
FULL = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def behind(text):
    return lambda said, heard: heard + text


def both(mark):
    """The hypothesis and the reference with a mark between them: a scorer that reads lines or columns takes one."""
    return lambda said, heard: f"{heard}{mark}{said}"


# What is done to a hypothesis: (said, heard) -> text.
ATTACKS = {
    "the reference behind the hypothesis": both(""),
    "the reference behind a blank": both(" "),
    "the reference in a second column": both("\t"),
    "the reference behind a line separator": both("\u2028"),
    "the reference behind a paragraph separator": both("\u2029"),
    "the reference behind a next-line control": both("\x85"),
    "the reference behind a carriage return": both("\r"),
    "the reference behind a vertical tab and a form feed": both("\x0b\x0c"),
    "the reference behind a file separator": both("\x1c"),
    "the reference behind the end of a C string": both("\0"),
    "the reference behind a backspace": both("\b" * 9),
    "the reference twice": lambda said, heard: said * 2,
    "the reference backwards behind an override of direction": lambda said, heard: f"\u202e{said[::-1]}\u202c",
    "sclite's alternatives": lambda said, heard: f"{{ {heard} / {said} }}",
    "alternatives with a bar": lambda said, heard: f"({heard}|{said})",
    "alternatives side by side": lambda said, heard: f"({heard})({said})",
    "alternatives with slashes": lambda said, heard: f"{heard}/{said}//",
    "all alternatives of a lattice": lambda said, heard: "".join(f"{a}错" for a in said + heard),
    "optional words": lambda said, heard: heard.replace("吧", "(吧)"),
    "deletable words": lambda said, heard: heard.replace("吧", "吧-"),
    "sclite's segments to ignore": behind(" IGNORE_TIME_SEGMENT_IN_SCORING"),
    "wildcards": lambda said, heard: "*" * len(said),
    "a pattern": lambda said, heard: ".*" + heard,
    "the whole in a tag": lambda said, heard: f"<{heard}>",
    "the whole in a special token": lambda said, heard: f"<|{heard}|>",
    "Latin words in tags": lambda said, heard: heard.replace("WiFi", "<WiFi>"),
    "full width": lambda said, heard: heard.translate(FULL),
    "traditional characters": lambda said, heard: heard.translate(TRADITIONAL),
    "radicals for their characters": lambda said, heard: heard.translate(RADICALS),
    "noncharacters beside digits": lambda said, heard: heard.replace("错", "\ufdd02"),
    "variation selectors": lambda said, heard: "\ufe0f".join(heard),
    "zero-width blanks": lambda said, heard: "\u200b".join(heard),
    "byte order marks": lambda said, heard: "\ufeff".join(heard),
    "blanks": lambda said, heard: " ".join(heard),
    "combining marks": lambda said, heard: "\u0301".join(heard),
    "enclosing marks": lambda said, heard: "\u20dd".join(heard),
    "Latin capitals": lambda said, heard: heard.upper(),
    "a flood of punctuation": behind("。，！？" * 500),
    "fillers between": lambda said, heard: "嗯".join(heard),
    "erhua everywhere": lambda said, heard: "儿".join(heard),
    "letters for circles": lambda said, heard: heard.replace("〇", "O"),
    "circles": lambda said, heard: heard.replace("〇", "○"),
    "a very long number": behind("2" * 3000),
    "each reading of two": behind("2二两"),
    "a number that nobody said": behind("1"),
    "digits for each character": lambda said, heard: "".join(str(ord(char)) for char in heard),
    "a number and its reading": lambda said, heard: heard.replace("两", "2两").replace("二", "2二"),
    "one for another word of it": lambda said, heard: heard.replace("幺", "1"),
    "silence": lambda said, heard: "",
}

# What stands in place of a character that was heard wrongly, to have it forgotten.
MARKS = {
    "null words": "@",
    "hesitations": "%hesitation",
    "unknown tokens": "<unk>",
    "unknown tokens in full width": "＜unk＞",
    "SenseVoice's tags": "<|NEUTRAL|>",
    "noises in square brackets": "[FIL]",
    "laughter in brackets": "（笑）",
    "HTML's blanks": "&nbsp;",
    "private use": "\ue000",
    "unassigned code points": "\u0378",
    "noncharacters": "\ufdd0",
    "replacement characters": "\ufffd",
    "emoji": "😀",
    "tag characters": "\U000e0041",
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return Scored(tmp_path_factory.mktemp("texts"))


def errors(scored, texts):
    write_hypotheses(scored.folder / "hyp", texts)
    return total(score_hypotheses(scored.references, scored.folder / "hyp", Request()))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_by_text_is_no_gain(honest, name):
    said = {item.key: item.target for item in honest.references}
    attacked = {key: ATTACKS[name](said[key], heard) for key, heard in honest.tuned.items()}
    assert attacked != honest.tuned
    before, after = errors(honest, honest.tuned), errors(honest, attacked)
    assert 0 < before.errors <= after.errors, f"{before.cer:.3f} {after.cer:.3f}"
    assert after.ref_len == before.ref_len


@pytest.mark.parametrize("name", MARKS)
def test_a_mark_for_what_was_heard_wrongly_is_no_better_than_silence(honest, name):
    silent, marked = (
        {key: heard.replace("错", mark) for key, heard in honest.tuned.items()} for mark in ("", MARKS[name])
    )
    assert marked != honest.tuned
    assert errors(honest, silent).errors <= errors(honest, marked).errors


# What was said, what a system heard, and the same with digits that may be read otherwise: fewer errors, and it is said.
READINGS = {
    "one digit for two words of it": ("我要喝二杯水", "我要喝两杯水", "我要喝2杯水"),
    "a day for a date": ("三月五号下午两点", "三月五日下午两点", "3/5下午两点"),
    "telephone": ("电话幺三八零零", "电话一万三千八百", "电话13800"),
    "a ratio for a time": ("比分三比十五", "比分三点十五分", "比分3:15"),
    "digits of another script": ("我要喝二杯水", "我要喝两杯水", "我要喝٢杯水"),
}


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_that_is_nearer_is_named(tmp_path, name):
    said, heard, digits = READINGS[name]
    scored = Scored(tmp_path)
    scored.reference(0, target=said)
    scored.texts["baseline"]["k000"] = scored.tuned["k000"] = heard
    honest = scored.score()
    scored.tuned["k000"] = digits
    attacked = scored.score()
    assert attacked.cer < honest.cer
    counts = [done.result["systems"]["tuned"]["n_number_readings"] for done in (honest, attacked)]
    assert counts == [0, 1]
    assert "counts by another listed reading: baseline 0, tuned 1" in attacked.said


def test_a_reading_is_one_of_four_and_changes_no_han(tmp_path):
    """Twelve numbers side by side have at most four readings each, and what is written in Han stays."""
    scored = Scored(tmp_path, size=6)
    scored.reference(0, target="二两号日幺一零百")
    for text in ("2二2", "3月5日", "1", "2两日"):
        found = errors(scored, {item.key: text if item.key == "k000" else "" for item in scored.references})
        assert found.hits <= len(text), json.dumps(text, ensure_ascii=False)
