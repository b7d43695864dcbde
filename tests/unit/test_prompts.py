"""The prompts that ship: all sounds of Mandarin early, and each of them readable."""

from __future__ import annotations

from pypinyin import Style, lazy_pinyin

from asr.serving.recording import SHIPPED_PROMPTS
from asr.serving.voice_corpus import read_prompts

PROMPTS = read_prompts(SHIPPED_PROMPTS)
# GB/T 16159's initials and finals; v is ü, and i stands for the three vowels of 七, 四 and 十.
INITIALS = {*"bpmfdtnlgkhjqxrzcs", "zh", "ch", "sh"}
WRITTEN = """a o e i u v ai ei ao ou an en ang eng ong er ia ie iao iou ian in iang ing iong
ua uo uai uei uan uen uang ueng ve van vn"""
FINALS = set(WRITTEN.split())


def sounds(prompts: list[str], style: Style) -> list[str]:
    return [
        sound for text in prompts for sound in lazy_pinyin(text, style=style, strict=True, neutral_tone_with_five=True)
    ]


def test_all_initials_finals_and_tones_are_in_the_first_sixty():
    early = PROMPTS[:60]
    assert set(sounds(early, Style.INITIALS)) - {""} == INITIALS
    assert set(sounds(early, Style.FINALS)) == FINALS
    assert {syllable[-1] for syllable in sounds(early, Style.TONE3)} == set("12345")


def test_all_of_them_hold_every_initial_in_every_tone():
    said = set(zip(sounds(PROMPTS, Style.INITIALS), (one[-1] for one in sounds(PROMPTS, Style.TONE3)), strict=True))
    assert {(initial, tone) for initial in INITIALS for tone in "1234"} - said == set()


def test_they_are_short_and_of_han_characters_alone():
    assert 150 <= len(PROMPTS) <= 220
    assert {len(prompt) for prompt in PROMPTS} <= set(range(2, 13))
    assert all("\u4e00" <= char <= "\u9fff" for char in "".join(PROMPTS))
