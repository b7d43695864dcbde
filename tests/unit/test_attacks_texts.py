"""Attacks by what a system writes: nothing that a scorer might take for an alternative, a tag or nothing is a gain.

Each attack rewrites every hypothesis of a system, knowing the reference too. The rewritten system has errors more, or
as many where the text is the same in scoring form; where a listed reading of a number counts instead, that is said.
"""

import pytest

from asr.scoring.score import Request, score_hypotheses, total
from tests.attacked import Scored
from tests.unit.test_scoring import write_hypotheses

TRADITIONAL = str.maketrans("气开厅灯两点电话儿长见过连", "氣開廳燈兩點電話兒長見過連")
RADICALS = str.maketrans("长见门车风食", "⻓⻅⻔⻋⻛⻝")
FULL = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def behind(text):
    return lambda said, heard: heard + text


def both(mark):
    """The hypothesis between two references, with marks between: a reader that takes one of them takes the better."""
    return lambda said, heard: f"{said}{mark}{heard}{mark}{said}"


# What is done to a hypothesis: (said, heard) -> text. These are errors more.
COUNTED = {
    "the reference on both sides": both(""),
    "the reference beside a blank": both(" "),
    "the reference in a second column": both("\t"),
    "the reference beside a line separator": both("\u2028"),
    "the reference beside a paragraph separator": both("\u2029"),
    "the reference beside a next-line control": both("\x85"),
    "the reference beside a carriage return": both("\r"),
    "the reference beside a vertical tab and a form feed": both("\x0b\x0c"),
    "the reference beside a file separator": both("\x1c"),
    "the reference beside the end of a C string": both("\0"),
    "the reference beside a backspace": both("\b" * 9),
    "the reference twice": lambda said, heard: said * 2,
    "the reference backwards behind an override of direction": lambda said, heard: f"\u202e{said[::-1]}\u202c",
    "sclite's alternatives": lambda said, heard: f"{{ {heard} / {said} }}",
    "alternatives with a bar": lambda said, heard: f"({heard}|{said})",
    "alternatives side by side": lambda said, heard: f"({heard})({said})",
    "alternatives with slashes": lambda said, heard: f"{heard}/{said}//",
    "all alternatives of a lattice": lambda said, heard: "".join(f"{a}错" for a in said + heard),
    "sclite's segments to ignore": behind(" IGNORE_TIME_SEGMENT_IN_SCORING"),
    "wildcards": lambda said, heard: "*" * len(said),
    "errors in entities": lambda said, heard: heard.replace("错", "&#38169;").replace("吧", "&#21543;"),
    "Latin words in tags": lambda said, heard: heard.replace("WiFi", "<WiFi>"),
    "noncharacters beside digits": lambda said, heard: heard.replace("错", "\ufdd02"),
    "combining marks": lambda said, heard: "\u0301".join(heard),
    "fillers between": lambda said, heard: "嗯".join(heard),
    "erhua everywhere": lambda said, heard: "儿".join(heard),
    "letters for circles": lambda said, heard: heard.replace("〇", "O"),
    "a very long number": behind("2" * 3000),
    "each reading of two": behind("2二两"),
    "a number that nobody said": behind("1"),
    "digits for each character": lambda said, heard: "".join(str(ord(char)) for char in heard),
    "a number and its reading": lambda said, heard: heard.replace("两", "2两").replace("二", "2二"),
    "one for another word of it": lambda said, heard: heard.replace("幺", "1"),
    "silence": lambda said, heard: "",
}
# These are the hypothesis as it was.
ALIKE = {
    "optional words": lambda said, heard: heard.replace("吧", "(吧)"),
    "deletable words": lambda said, heard: heard.replace("吧", "吧-"),
    "a pattern": lambda said, heard: ".*" + heard,
    "the whole in a tag": lambda said, heard: f"<{heard}>",
    "errors in tags": lambda said, heard: heard.replace("错", "<错>").replace("吧", "<吧>"),
    "errors in special tokens": lambda said, heard: heard.replace("错", "<|错|>").replace("吧", "<|吧|>"),
    "errors in square brackets": lambda said, heard: heard.replace("错", "[错]").replace("吧", "[吧]"),
    "errors in braces": lambda said, heard: heard.replace("错", "{错}").replace("吧", "{吧/}"),
    "the whole in a special token": lambda said, heard: f"<|{heard}|>",
    "full width": lambda said, heard: heard.translate(FULL),
    "traditional characters": lambda said, heard: heard.translate(TRADITIONAL),
    "radicals for their characters": lambda said, heard: heard.translate(RADICALS),
    "variation selectors": lambda said, heard: "\ufe0f".join(heard),
    "zero-width blanks": lambda said, heard: "\u200b".join(heard),
    "byte order marks": lambda said, heard: "\ufeff".join(heard),
    "blanks": lambda said, heard: " ".join(heard),
    "enclosing marks": lambda said, heard: "\u20dd".join(heard),
    "Latin capitals": lambda said, heard: heard.upper(),
    "a flood of punctuation": behind("。，！？" * 500),
    "circles": lambda said, heard: heard.replace("〇", "○"),
}

# What stands in place of a character that was heard wrongly, to have it forgotten. These are as good as silence there,
FORGOTTEN = {
    "null words": "@",
    "unknown tokens": "<unk>",
    "unknown tokens in full width": "＜unk＞",
    "SenseVoice's tags": "<|NEUTRAL|>",
    "replacement characters": "\ufffd",
    "emoji": "😀",
    "tag characters": "\U000e0041",
}
# these worse.
KEPT = {
    "hesitations": "%hesitation",
    "noises in square brackets": "[FIL]",
    "laughter in brackets": "（笑）",
    "HTML's blanks": "&nbsp;",
    "private use": "\ue000",
    "unassigned code points": "\u0378",
    "noncharacters": "\ufdd0",
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return Scored(tmp_path_factory.mktemp("texts"))


def errors(scored, texts):
    write_hypotheses(scored.folder / "hyp", texts)
    return total(score_hypotheses(scored.references, scored.folder / "hyp", Request()))


def rewritten(honest, how):
    """Errors of the honest system, and of the one with each hypothesis rewritten, which are other texts."""
    said = {item.key: item.target for item in honest.references}
    attacked = {key: how(said[key], heard) for key, heard in honest.tuned.items()}
    assert attacked != honest.tuned
    before, after = errors(honest, honest.tuned), errors(honest, attacked)
    assert after.ref_len == before.ref_len
    return before.errors, after.errors


@pytest.mark.parametrize("name", COUNTED)
def test_an_attack_by_text_costs_errors(honest, name):
    before, after = rewritten(honest, COUNTED[name])
    assert 0 < before < after


@pytest.mark.parametrize("name", ALIKE)
def test_an_attack_by_text_is_no_gain(honest, name):
    before, after = rewritten(honest, ALIKE[name])
    assert 0 < before == after


@pytest.mark.parametrize("name", [*FORGOTTEN, *KEPT])
def test_a_mark_for_what_was_heard_wrongly_is_no_better_than_silence(honest, name):
    _, silent = rewritten(honest, lambda _, heard: heard.replace("错", ""))
    _, marked = rewritten(honest, lambda _, heard: heard.replace("错", {**FORGOTTEN, **KEPT}[name]))
    assert marked == silent if name in FORGOTTEN else marked > silent


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


# What was said, what was written, errors: no reading but those that are listed, and Han that was written stays.
GOLDEN = [
    ("幺", "1", 1),
    ("三月五号", "3月5日", 1),
    ("两", "2", 0),
    ("二两", "2二", 1),
    ("二二两", "2二2", 0),
    ("二两百", "200", 1),
]


@pytest.mark.parametrize(("said", "written", "count"), GOLDEN)
def test_no_other_reading_counts(tmp_path, said, written, count):
    scored = Scored(tmp_path, size=1)
    scored.reference(0, target=said)
    assert errors(scored, {"k000": written}).errors == count
