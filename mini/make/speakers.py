"""The voices of every speaker, and which of them a base model may hear.

Names starting with z are Kokoro's Mandarin voices; the others are of other languages, read Mandarin with an
accent, and only colour a blend. RESERVED voices belong to the mini corpus's val and test speakers and
occur in no training material.
"""

from __future__ import annotations

Blend = dict[str, float]

TRAIN_BLENDS: list[Blend] = [
    {"zf_xiaobei": 1.0},
    {"zf_xiaoxiao": 1.0},
    {"zm_yunjian": 1.0},
    {"zm_yunxi": 1.0},
    {"zf_xiaobei": 0.6, "ef_dora": 0.4},
    {"zm_yunjian": 0.65, "em_alex": 0.35},
    {"zm_yunxi": 0.65, "hm_omega": 0.35},
    {"zf_xiaoxiao": 0.6, "hf_alpha": 0.4},
    {"zf_xiaobei": 0.5, "zm_yunjian": 0.5},
    {"zf_xiaoxiao": 0.5, "zm_yunxi": 0.5},
]
VAL_BLENDS: list[Blend] = [{"zm_yunxia": 1.0}, {"zm_yunxia": 0.6, "hf_beta": 0.4}]
TEST_BLENDS: list[Blend] = [
    {"zf_xiaoyi": 1.0},
    {"zm_yunyang": 1.0},
    {"zf_xiaoyi": 0.65, "pf_dora": 0.35},
    {"zm_yunyang": 0.65, "im_nicola": 0.35},
]
TYPICAL_VAL_BLEND: Blend = {"zf_xiaobei": 0.5, "zm_yunxi": 0.5}
RESERVED = {name for blend in VAL_BLENDS + TEST_BLENDS for name in blend}

ESPEAK_TRAIN = [
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *("klatt", "klatt2", "klatt4", "Alex", "Alicia", "Andrea", "Andy", "Annie", "adam", "belinda", "boris"),
    *("caleb", "david", "Denis", "ed", "Gene", "grandma", "john", "Lee", "linda", "Mike", "paul"),
]
ESPEAK_VAL = ["steph"]
ESPEAK_TEST = ["aunty", "travis"]


def describe(blend: Blend) -> str:
    """A blend in one word, such as 0.6*zf_xiaobei+0.4*ef_dora."""
    if len(blend) == 1:
        return next(iter(blend))
    return "+".join(f"{weight:g}*{name}" for name, weight in blend.items())


def voice_groups(blends: list[Blend]) -> list[str]:
    """The group of each blend, A, B, …: blends that share a voice, or share one with others that do, are of one."""
    groups: list[set[int]] = []
    for number, blend in enumerate(blends):
        joined = [group for group in groups if any(blends[other].keys() & blend.keys() for other in group)]
        groups = [group for group in groups if group not in joined] + [{number}.union(*joined)]
    letter = {number: chr(ord("A") + n) for n, group in enumerate(sorted(groups, key=min)) for number in group}
    return [letter[number] for number in range(len(blends))]
