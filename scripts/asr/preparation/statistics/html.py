"""Pieces of HTML of data_statistics.html alone; the rest are the package's (asr.pages.html)."""

from __future__ import annotations

from html import escape

from asr.pages.html import both

_SPLIT_ZH = {"train": "训练集", "val": "验证集", "test": "测试集"}


def split_name(name: str) -> str:
    """``train`` as the files are called; in Chinese with the word for it."""
    return both(name, f"{_SPLIT_ZH[name]} {name}") if name in _SPLIT_ZH else escape(name)
