"""A plain sentence where a system's errors are mostly silence, in English and Chinese: its CER can mislead then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {"baseline": ("base model", "基础模型"), "tuned": ("tuned model", "微调后的模型")}
_MANY_EMPTY = 0.1  # of the hypotheses
_MANY_DELETIONS = 0.05  # of the references' characters; below it most errors may be deletions by chance


def is_silent(row: Mapping[str, Any]) -> bool:
    """Return whether most errors of a system of score.json are deletions, or many of its hypotheses are empty."""
    most = row["del"] > row["sub"] + row["ins"] and row["del"] >= _MANY_DELETIONS * row["ref_len"]
    return most or row["n_empty"] >= max(1, _MANY_EMPTY * row["n_utt"])


def silence_note(systems: Mapping[str, Mapping[str, Any]]) -> dict[str, str] | None:
    """``en`` and ``zh``: which systems write too little, and what that does to their CER; None where none does."""
    english, chinese = [], []
    for name, row in systems.items():
        if is_silent(row):
            errors = f"{row['sub'] + row['del'] + row['ins']:,}"
            english.append(
                f"The {_NAMES[name][0]} writes too little: {row['del']:,} of its {errors} errors are deletions, and"
                f" {row['n_empty']:,} of its {row['n_utt']:,} hypotheses are empty."
            )
            chinese.append(
                f"{_NAMES[name][1]}输出过少：{errors} 个错误中有 {row['del']:,} 个是删除，"
                f"{row['n_utt']:,} 条识别结果中有 {row['n_empty']:,} 条为空。"
            )
    if not english:
        return None
    english.append(
        "Silence costs a deletion a character and no insertion: a CER that silence lowers is no recognition."
    )
    chinese.append("不输出只计删除，不会有插入错误：靠少输出降低的字错率，并不说明识别变好。")
    return {"en": " ".join(english), "zh": "".join(chinese)}
